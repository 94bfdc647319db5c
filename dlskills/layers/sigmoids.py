"""Sigmoid-shaped activation functions: the logistic function and the hyperbolic tangent."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.layers.activation import Activation


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
