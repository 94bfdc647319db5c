"""Batch Normalization by the statistics of a batch that several processes share.

Each process reduces its own rows; sums of a few numbers per feature are then added up over the
processes, twice in the forward pass and once in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Array, namespace, sum_dtype
from dlskills.arrays.share import Share
from dlskills.formulas import along

Axes = tuple[int, ...]


def mean_and_variance(x: Array, share: Share, count: int, axis: Axes) -> tuple[Array, Array]:
    """Return mean and variance of each feature over the rows of all processes.

    The corrected two-pass algorithm, as for the rows of one process: Chan, Golub & LeVeque (1983),
    "Algorithms for computing the sample variance", equation 1.7.

    Parameters
    ----------
    x : array, shape (N, ...)
        The rows of this process.
    share : Share
        With `add`.
    count : int
        Number of values per feature over all processes.
    axis : tuple of int
        The axes to reduce.

    Returns
    -------
    mean, var : array
        With the reduced axes of length 1, in at least single precision.
    """
    (total,) = _added(share, _sum(x, axis=axis))
    near = total / count
    sums, squares = _added(share, *_deviations(x, near, axis=axis))
    rest = sums / count
    var = squares / count - rest**2
    xp = namespace(var)
    return near + rest, xp.maximum(var, xp.zeros_like(var))


def gradient_sums(
    share: Share, dout: Array, x: Array, mean: Array, var: Array, epsilon: float, axis: Axes
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the gradients by gamma and beta: of this process's rows, and summed over all."""
    own = _gradient_sums(dout, x, mean, var, epsilon, axis=axis)
    dgamma, dbeta = _added(share, *own)
    return own, (dgamma, dbeta)


def _added(share: Share, *sums: Array) -> list[Array]:
    """Add up arrays of one shape over the processes, in one operation."""
    if share.add is None:
        raise ValueError("a share without `add` has no sums over processes")
    xp = namespace(sums[0])
    stacked = xp.stack([xp.astype(part, sum_dtype(xp, part.dtype)) for part in sums])
    if not share.count:  # a row without weight
        stacked = xp.zeros_like(stacked)
    added = share.add(stacked)
    return [added[i, ...] for i in range(len(sums))]


@along
def _sum(xp: ModuleType) -> Callable[..., Array]:
    return lambda x, axis: xp.sum(x, axis=axis, keepdims=True)


@along
def _deviations(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The sums of differences from an approximate mean, and of their squares."""

    def sums(x: Array, near: Array, axis: Any) -> tuple[Array, Array]:
        return (
            xp.sum(x - near, axis=axis, keepdims=True),
            xp.sum((x - near) ** 2, axis=axis, keepdims=True),
        )

    return sums


@along
def _gradient_sums(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    def dgamma_dbeta(
        dout: Array, x: Array, mean: Array, var: Array, epsilon: float, axis: Any
    ) -> tuple[Array, Array]:
        normalized = (x - mean) / xp.sqrt(var + epsilon)
        return (
            xp.sum(dout * normalized, axis=axis, keepdims=True),
            xp.sum(dout, axis=axis, keepdims=True),
        )

    return dgamma_dbeta


@along
def input_gradient(xp: ModuleType) -> Callable[..., Array]:
    """The gradient by x, from the sums of :func:`gradient_sums` over all processes.

    Simplified from Ioffe & Szegedy (2015), section 3. `share` is 1 over the number of values per
    feature.
    """

    def dx(
        dout: Array, x: Array, mean: Array, var: Array, gamma: Array, dgamma: Array, dbeta: Array,
        epsilon: float, share: float, axis: Any,
    ) -> Array:  # fmt: skip
        inverse = 1 / xp.sqrt(var + epsilon)
        through_both = (x - mean) * inverse * (share * dgamma) + share * dbeta
        return (dout - through_both) * (gamma * inverse)

    return dx
