"""The max-norm constraint: limits the norm of each unit's incoming weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Array, backend_of
from dlskills.formulas.formula import along
from dlskills.optimizers.arguments import is_mutable, is_number
from dlskills.optimizers.passes import Groups


def limit_norms(params: Any, groups: Groups, limit: float) -> None:
    """Scale down the columns of weights whose Euclidean norm is larger than a limit.

    Parameters
    ----------
    params : Parameters or mutable mapping of str to array or number
        Weights are the arrays of at least 2 dimensions; a column is all elements of one index
        along the last axis. Changed in place, or replaced if they can't be.
    groups : sequence of int or None, or None
        Group of each parameter; None for those that are frozen.
    limit : float

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov (2014), "Dropout: a
    simple way to prevent neural networks from overfitting", section 5.1.
    """
    for name, weights in _weights(params, groups).items():
        axes = tuple(range(weights.ndim - 1))
        with backend_of(weights).active():
            if is_mutable(weights):
                _limited(weights, limit, axis=axes, out=(weights,))
            else:
                params[name] = _limited(weights, limit, axis=axes)


def _weights(params: Mapping[str, Any], groups: Groups) -> dict[str, Array]:
    members = [0] * len(params) if groups is None else groups
    return {
        name: value
        for (name, value), group in zip(params.items(), members, strict=True)
        if group is not None and not is_number(value) and value.ndim > 1
    }


@along
def _limited(xp: ModuleType) -> Callable[..., Array]:
    def limited(weights: Array, limit: float, axis: Any) -> Array:
        norm = xp.sqrt(xp.sum(weights * weights, axis=axis, keepdims=True))
        return weights * (limit / xp.maximum(norm, limit))

    return limited
