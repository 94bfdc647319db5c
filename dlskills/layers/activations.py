"""Activation functions as layers, each defined by a formula and its derivative."""

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

# Formulas multiply by a cast comparison, since NumPy's where() takes seven times as long.


class Activation(Layer):
    """Base class for elementwise activation functions.

    A subclass defines two formulas, :meth:`function` and :meth:`derivative`. It may also define the
    numbers that they take, and whether backward needs the output or the input:

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
        The array that `derivative` takes: ``"output"`` (the default) or ``"input"``.
    """

    keeps: ClassVar[str] = "output"

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        """Return the function ``y(x, *numbers)``."""
        raise NotImplementedError("an activation must define function(xp)")

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        """Return the gradient with respect to the input, ``dx(dout, kept, *numbers)``."""
        raise NotImplementedError("an activation must define derivative(xp)")

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that both formulas take after their arrays."""
        return ()

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = self._formulas["y"](x, *self.numbers())
        self._saved = y if self.keeps == "output" else x
        return y

    def backward(self, dout: Array) -> Array:
        kept = saved(self)
        if isinstance(kept, tuple):  # the forward pass was fused with the bias
            kept = kept[0] + kept[1]
        return self._formulas["dx"](dout, kept, *self.numbers())

    # With these methods, a network fuses an activation with the bias of the layer before it.

    def forward_biased(self, x: Array, bias: Array) -> Array:
        """Return the output for ``x + bias``, computed in one pass."""
        y = self._formulas["y, biased"](x, bias, *self.numbers())
        self._saved = y if self.keeps == "output" else (x, bias)
        return y

    def backward_biased(self, dout: Array, bias: Array, dbias: Array) -> Array:
        """Return the gradient with respect to x after :meth:`forward_biased`.

        The gradient with respect to the bias is written into `dbias`.
        """
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
    """The rectified linear unit, max(x, 0), with derivative 0 at x = 0."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: xp.maximum(x, 0.0)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        # NaN where `dout` is not finite, also at inactive units, so faults upstream stay visible
        return lambda dout, y: dout * xp.astype(y > 0, dout.dtype)


class LeakyReLU(Activation):
    """The leaky rectified linear unit: x where x > 0, else `slope` times x.

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
    """The logistic function 1 / (1 + exp(-x)), computed without overflow for any x."""

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
    r"""The Gaussian error linear unit, in its tanh approximation.

    :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\, x^3)))`: Hendrycks & Gimpel
    (2016), "Gaussian error linear units", section 2. The exact form needs erf, which is missing
    from the Array API standard; the two forms differ by less than 5e-4.
    """

    keeps = "input"

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: 0.5 * x * (1 + xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x)))

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        def dx(dout: Array, x: Array) -> Array:
            tanh = xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x))
            # multiplying by tanh', which vanishes for large |x|, before x**2 could overflow
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
