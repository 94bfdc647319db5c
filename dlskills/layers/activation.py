"""The base class of activation functions, each defined by a formula and its derivative."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar, TypeAlias

from dlskills.arrays.backend import Array
from dlskills.formulas import along, elementwise
from dlskills.formulas.formula import Function
from dlskills.layers.base import Layer, saved

Formulas: TypeAlias = dict[str, Any]
"""Formulas by what they return."""


class Activation(Layer):
    """Base class for elementwise activation functions.

    A subclass defines two formulas, :meth:`function` and :meth:`derivative`. It may also define the
    numbers that they take, and whether backward needs the output or the input:

    >>> class Bent(Activation):
    ...     keeps = "input"
    ...
    ...     @staticmethod
    ...     def function(xp):
    ...         return lambda x: (xp.sqrt(x * x + 1) - 1) / 2 + x
    ...
    ...     @staticmethod
    ...     def derivative(xp):
    ...         return lambda dout, x: dout * (x / (2 * xp.sqrt(x * x + 1)) + 1)

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

    _own_formulas: ClassVar[Formulas]

    @property
    def _formulas(self) -> Formulas:
        return self._own_formulas

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._own_formulas = formulas_of(cls.__name__, cls.function, cls.derivative, cls.keeps)


def formulas_of(name: str, function: Function, derivative: Function, keeps: str) -> Formulas:
    """Return the formulas of an activation's passes, alone and with the bias before it."""
    formulas: Formulas = {
        "y": elementwise(function),
        "dx": elementwise(derivative),
        "y, biased": elementwise(_biased(function)),
        "dx, biased": along(_biased_derivative(derivative, keeps)),
    }
    for what, formula in formulas.items():
        formula.__name__ = f"{name}: {what}"
    return formulas


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
