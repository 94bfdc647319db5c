"""Activation functions as layers: each keeps just the array that its derivative needs."""

from __future__ import annotations

import math

from dlskills.backend import Array, namespace, positive_part
from dlskills.checks import check_number
from dlskills.layers.base import Layer, saved


class ReLU(Layer):
    """The rectified linear unit, max(x, 0); its derivative at 0 is taken as 0."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = positive_part(x)
        return self._saved

    def backward(self, dout: Array) -> Array:
        # A product, as NumPy's where() of an array and a number takes seven times as long. Where
        # `dout` is not finite, it is NaN at units that are off: a fault upstream shows.
        dx = namespace(dout).astype(saved(self) > 0, dout.dtype)
        dx *= dout
        return dx


class LeakyReLU(Layer):
    """x where x > 0, else `slope` times x.

    Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models".

    Parameters
    ----------
    slope : float, default 0.01
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = check_number("slope", slope)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = x
        y = self._slopes(x)
        y *= x
        return y

    def backward(self, dout: Array) -> Array:
        dx = self._slopes(saved(self))
        dx *= dout
        return dx

    def _slopes(self, x: Array) -> Array:
        """1 where x > 0, else `slope`; by a product, as in ReLU."""
        slopes = namespace(x).astype(x > 0, x.dtype)
        slopes *= 1 - self.slope
        slopes += self.slope
        return slopes

    def __repr__(self) -> str:
        return f"LeakyReLU(slope={self.slope:g})"


class Sigmoid(Layer):
    """The logistic function 1 / (1 + exp(-x)), without overflow for any x."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        xp = namespace(x)
        small = xp.exp(-xp.abs(x))  # at most 1, where exp(-x) would overflow for large -x
        y = xp.maximum(small, xp.astype(x >= 0, x.dtype))  # 1 where x >= 0, else exp(x)
        small += 1
        y /= small
        self._saved = y
        return y

    def backward(self, dout: Array) -> Array:
        y = saved(self)
        return dout * y * (1 - y)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = namespace(x).tanh(x)
        return self._saved

    def backward(self, dout: Array) -> Array:
        y = saved(self)
        return dout * (1 - y * y)


class GELU(Layer):
    r"""The Gaussian error linear unit, in the form with tanh.

    :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\, x^3)))`: Hendrycks & Gimpel
    (2016), "Gaussian error linear units", section 2. The exact form needs erf, which the Array
    API standard lacks; the two differ by less than 5e-4.
    """

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        tanh = namespace(x).tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
        self._saved = x, tanh
        return 0.5 * x * (1 + tanh)

    def backward(self, dout: Array) -> Array:
        x, tanh = saved(self)
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
        return dout * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * slope)


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
}
