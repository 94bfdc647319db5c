"""Activation functions as layers: each is a formula, and that of its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

from dlskills.arrays.backend import Array
from dlskills.checks import check_number
from dlskills.formulas import along, elementwise
from dlskills.formulas.formula import Function
from dlskills.layers.base import Layer, saved

# Numbers are made of comparisons by a product: NumPy's where() takes seven times as long.


class Activation(Layer):
    """A function of single elements.

    A subclass states two formulas, and perhaps the numbers that they take, and whether backward
    needs the output or the input:

    >>> class Softplus(Activation):
    ...     keeps = "input"
    ...
    ...     @staticmethod
    ...     def function(xp):
    ...         return lambda x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0.0)
    ...
    ...     @staticmethod
    ...     def derivative(xp):
    ...         return lambda dout, x: dout / (1 + xp.exp(-x))

    Attributes
    ----------
    keeps : str
        What `derivative` takes: ``"output"`` (the default) or ``"input"``.
    """

    keeps: ClassVar[str] = "output"

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        """The function: ``y(x, *numbers)``."""
        raise NotImplementedError("an activation must define function(xp)")

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        """The gradient by the input: ``dx(dout, kept, *numbers)``."""
        raise NotImplementedError("an activation must define derivative(xp)")

    def numbers(self) -> tuple[float, ...]:
        """The numbers that both formulas take after their arrays."""
        return ()

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = self._formulas["y"](x, *self.numbers())
        self._saved = y if self.keeps == "output" else x
        return y

    def backward(self, dout: Array) -> Array:
        kept = saved(self)
        if isinstance(kept, tuple):  # a network ran forward, and joined it with the bias
            kept = kept[0] + kept[1]
        return self._formulas["dx"](dout, kept, *self.numbers())

    # For a network that joins an activation with the bias before it.

    def forward_biased(self, x: Array, bias: Array) -> Array:
        """The output for ``x + bias``, in one pass."""
        y = self._formulas["y, biased"](x, bias, *self.numbers())
        self._saved = y if self.keeps == "output" else (x, bias)
        return y

    def backward_biased(self, dout: Array, bias: Array, dbias: Array) -> Array:
        """The gradient by x after :meth:`forward_biased`; that by the bias goes into `dbias`."""
        kept = saved(self)
        operands = dout, kept[0] if self.keeps == "input" else kept, bias, *self.numbers()
        formula = self._formulas["dx, biased"]
        dx, _ = formula(*operands, axis=0, out=(None, dbias))
        return dx

    _formulas: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        biased = _biased_derivative(cls.derivative, cls.keeps)
        cls._formulas = {
            "y": elementwise(cls.function),
            "dx": elementwise(cls.derivative),
            "y, biased": elementwise(_biased(cls.function)),
            "dx, biased": along(biased),
        }
        for what, formula in cls._formulas.items():
            formula.__name__ = f"{cls.__name__}: {what}"


def _biased(function: Function) -> Function:
    def biased(xp: ModuleType) -> Callable[..., Array]:
        y = function(xp)
        return lambda x, bias, *numbers: y(x + bias, *numbers)

    return biased


def _biased_derivative(derivative: Function, keeps: str) -> Function:
    def biased_derivative(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        dx_of = derivative(xp)

        def dx_and_dbias(
            dout: Array, kept: Array, bias: Array, *numbers: float, axis: int
        ) -> tuple[Array, Array]:
            dx = dx_of(dout, kept if keeps == "output" else kept + bias, *numbers)
            return dx, xp.sum(dx, axis=axis, keepdims=True)

        return dx_and_dbias

    return biased_derivative


class ReLU(Activation):
    """The rectified linear unit, max(x, 0); its derivative at 0 is taken as 0."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: xp.maximum(x, 0.0)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        # where `dout` is not finite, it is NaN at units that are off: a fault upstream shows
        return lambda dout, y: dout * xp.astype(y > 0, dout.dtype)


class LeakyReLU(Activation):
    """x where x > 0, else `slope` times x.

    Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models".

    Parameters
    ----------
    slope : float, default 0.01
    """

    keeps = "input"

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = check_number("slope", slope)

    def numbers(self) -> tuple[float, ...]:
        return (self.slope,)

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x, slope: x * (xp.astype(x > 0, x.dtype) * (1 - slope) + slope)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        return lambda dout, x, slope: dout * (xp.astype(x > 0, x.dtype) * (1 - slope) + slope)

    def __repr__(self) -> str:
        return f"LeakyReLU(slope={self.slope:g})"


class Sigmoid(Activation):
    """The logistic function 1 / (1 + exp(-x)), without overflow for any x."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        def y(x: Array) -> Array:
            small = xp.exp(-xp.abs(x))  # at most 1, where exp(-x) would overflow for large -x
            return xp.maximum(small, xp.astype(x >= 0, x.dtype)) / (1 + small)

        return y

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        return lambda dout, y: dout * y * (1 - y)


class Tanh(Activation):
    """The hyperbolic tangent."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: xp.tanh(x)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        return lambda dout, y: dout * (1 - y * y)


class GELU(Activation):
    r"""The Gaussian error linear unit, in the form with tanh.

    :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\, x^3)))`: Hendrycks & Gimpel
    (2016), "Gaussian error linear units", section 2. The exact form needs erf, which the Array
    API standard lacks; the two differ by less than 5e-4.
    """

    keeps = "input"

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: 0.5 * x * (1 + xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x)))

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        def dx(dout: Array, x: Array) -> Array:
            tanh = xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x))
            # x times tanh', which is 0 far out, before x is squared: that may be infinite
            steep = _STEEPNESS * x * (1 - tanh * tanh)
            return dout * 0.5 * (1 + tanh + steep + 3 * 0.044715 * (steep * x) * x)

        return dx


_STEEPNESS = math.sqrt(2 / math.pi)

ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
}
