"""Clipping by the norm of all gradients together."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, backend_of, library_of, namespace, sum_dtype
from dlskills.arrays.parameters import Parameters
from dlskills.formulas.formula import along, elementwise


def clip_factor(grads: Mapping[str, Array], max_norm: float, scale: float = 1.0) -> Any:
    """The factor that brings gradients, times `scale`, to a norm of at most `max_norm`.

    ``scale * min(1, max_norm / norm(scale * grads))``, with the Euclidean norm of all elements of
    all gradients: Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent
    neural networks", algorithm 1.

    Parameters
    ----------
    grads : Parameters or mapping of str to array or number
    max_norm : float
    scale : float, default 1.0

    Returns
    -------
    float or array, shape ()
        Stays on a GPU, so that nothing waits for it. NaN if a gradient is. For gradients in half
        precision, whose squares soon are infinite in it, it is computed in float32.

    Raises
    ------
    TypeError
        The gradients are not all on one device.
    """
    arrays = [grads.flat] if isinstance(grads, Parameters) else list(grads.values())
    places = [backend_of(grad) for grad in arrays if hasattr(grad, "shape")]
    place = places[0] if places else None
    for other in places:
        if other != place:
            raise TypeError(
                "the norm is that of all gradients together, which must be on one device; some "
                f"are on {place}, some on {other}"
            )
    with place.active() if place else contextlib.nullcontext():
        sums = [_squares_of(grad) for grad in arrays]
        squares = functools.reduce(operator.add, sums or [0.0])
        if hasattr(squares, "shape") and not isinstance(squares, np.ndarray | np.generic):
            return _factor(squares, max_norm, scale, abs(scale))
    norm = abs(scale) * float(squares) ** 0.5
    return scale if norm <= max_norm else scale * max_norm / norm


@elementwise
def _factor(xp: ModuleType) -> Callable[..., Array]:
    # NaN comes through, to be seen; where the norm is infinite, inf * 0 shows as NaN
    return lambda squares, max_norm, scale, size: (
        scale * max_norm / xp.maximum(size * xp.sqrt(squares), max_norm)
    )


@along
def _sum_of_squares(xp: ModuleType) -> Callable[..., Array]:
    return lambda grad, axis: xp.sum(grad * grad)


def _squares_of(grad: Any) -> Any:
    """The sum of the squares of all elements; of half precision, in single precision."""
    if not hasattr(grad, "shape"):
        return grad * grad
    xp = namespace(grad)
    flat = xp.reshape(grad, (-1,))
    if library_of(flat) == "cupy":
        return _sum_of_squares(flat, axis=0)  # one kernel, without temporaries
    # Elsewhere a product is quicker: BLAS on NumPy; and it needs no temporary of this size.
    flat = xp.astype(flat, sum_dtype(xp, grad.dtype), copy=False)
    if not isinstance(flat, np.ndarray):
        return flat @ flat
    # BLAS adds up one element after another: with millions of them in float32, that would show
    parts = [flat[start : start + 65_536] for start in range(0, flat.size, 65_536)]
    return sum(float(part @ part) for part in parts)
