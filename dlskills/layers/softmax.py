"""Softmax."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array, namespace
from dlskills.formulas import along
from dlskills.layers.base import Layer, saved


class Softmax(Layer):
    r"""Softmax over the last axis: :math:`y_j = e^{x_j} / \sum_k e^{x_k}`.

    The outputs of each line are positive and sum to 1. They are computed from the differences to
    the largest input, so that no input overflows. Inputs have shape (N, ..., C).

    Notes
    -----
    Do not put it before :class:`~dlskills.SoftmaxWithLoss`, which includes softmax. It is not among
    the names for hidden layers, since it combines the units of a layer.
    """

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = _softmax(_lines(x), axis=1)
        self._saved = y
        return _shaped(y, x)

    def backward(self, dout: Array) -> Array:
        return _shaped(_softmax_dx(_lines(dout), saved(self), axis=1), dout)


def _lines(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def _shaped(y: Array, like: Array) -> Array:
    return y if like.ndim == 2 else namespace(y).reshape(y, like.shape)


@along
def _softmax(xp: ModuleType) -> Callable[..., Array]:
    def y(x: Array, axis: int) -> Array:
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    return y


@along
def _softmax_dx(xp: ModuleType) -> Callable[..., Array]:
    """The gradient with respect to the input, from the output."""
    return lambda dout, y, axis: y * (dout - xp.sum(dout * y, axis=axis, keepdims=True))
