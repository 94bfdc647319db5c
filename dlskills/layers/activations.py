"""Activation functions as layers: each keeps just the array that its derivative needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array, positive_part
from dlskills.checks import check_number
from dlskills.fusion import elementwise
from dlskills.layers.base import Layer, saved

# Numbers are made of comparisons by a product, as NumPy's where() takes seven times as long.


class ReLU(Layer):
    """The rectified linear unit, max(x, 0); its derivative at 0 is taken as 0."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = positive_part(x)
        return self._saved

    def backward(self, dout: Array) -> Array:
        return _relu_gradient(dout, saved(self))


@elementwise
def _relu_gradient(xp: ModuleType) -> Callable[..., Array]:
    # where `dout` is not finite, it is NaN at units that are off: a fault upstream shows
    return lambda dout, y: dout * xp.astype(y > 0, dout.dtype)


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
        return _leaky(x, x, self.slope)

    def backward(self, dout: Array) -> Array:
        return _leaky(dout, saved(self), self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU(slope={self.slope:g})"


@elementwise
def _leaky(xp: ModuleType) -> Callable[..., Array]:
    return lambda value, x, slope: value * (xp.astype(x > 0, x.dtype) * (1 - slope) + slope)


class Sigmoid(Layer):
    """The logistic function 1 / (1 + exp(-x)), without overflow for any x."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = _sigmoid(x)
        return self._saved

    def backward(self, dout: Array) -> Array:
        return _sigmoid_gradient(dout, saved(self))


@elementwise
def _sigmoid(xp: ModuleType) -> Callable[..., Array]:
    def y(x: Array) -> Array:
        small = xp.exp(-xp.abs(x))  # at most 1, where exp(-x) would overflow for large -x
        return xp.maximum(small, xp.astype(x >= 0, x.dtype)) / (1 + small)

    return y


@elementwise
def _sigmoid_gradient(xp: ModuleType) -> Callable[..., Array]:
    return lambda dout, y: dout * y * (1 - y)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = _tanh(x)
        return self._saved

    def backward(self, dout: Array) -> Array:
        return _tanh_gradient(dout, saved(self))


@elementwise
def _tanh(xp: ModuleType) -> Callable[..., Array]:
    return lambda x: xp.tanh(x)


@elementwise
def _tanh_gradient(xp: ModuleType) -> Callable[..., Array]:
    return lambda dout, y: dout * (1 - y * y)


class GELU(Layer):
    r"""The Gaussian error linear unit, in the form with tanh.

    :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\, x^3)))`: Hendrycks & Gimpel
    (2016), "Gaussian error linear units", section 2. The exact form needs erf, which the Array
    API standard lacks; the two differ by less than 5e-4.
    """

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y, tanh = _gelu(x)
        self._saved = x, tanh
        return y

    def backward(self, dout: Array) -> Array:
        return _gelu_gradient(dout, *saved(self))


_STEEPNESS = math.sqrt(2 / math.pi)


@elementwise
def _gelu(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    def y(x: Array) -> tuple[Array, Array]:
        tanh = xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x))
        return 0.5 * x * (1 + tanh), tanh

    return y


@elementwise
def _gelu_gradient(xp: ModuleType) -> Callable[..., Array]:
    def dx(dout: Array, x: Array, tanh: Array) -> Array:
        # x times tanh', which is 0 far out, before x is squared: that may be infinite
        steep = _STEEPNESS * x * (1 - tanh * tanh)
        return dout * 0.5 * (1 + tanh + steep + 3 * 0.044715 * (steep * x) * x)

    return dx


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
}
