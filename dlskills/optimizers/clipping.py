"""Clipping by the norm of all gradients together."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, Backend, backend_of, sum_dtype
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
        Stays on a GPU, so that nothing waits for it. NaN if a gradient is. Right for gradients
        whose squares are infinite, or 0, in their dtype.

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
        if place is None or place.name == "numpy":
            norm = abs(scale) * math.hypot(*map(_norm_on_host, arrays))
            return scale if norm <= max_norm else scale * max_norm / norm
        factor = _on_device(arrays, max_norm, scale, _one(place))
        dtype = next(sum_dtype(place.xp, g.dtype) for g in arrays if hasattr(g, "dtype"))
        return place.xp.astype(factor, dtype, copy=False)


def _on_device(arrays: list[Any], max_norm: float, scale: float, one: Array) -> Array:
    if len(arrays) == 1:
        axes = _all_axes(arrays[0])
        return _factor_of(one, arrays[0], max_norm, scale, abs(scale), axis=axes)
    sums = [
        _sum_of_squares(one, grad, axis=_all_axes(grad)) if hasattr(grad, "shape") else grad**2
        for grad in arrays
    ]
    return _factor(functools.reduce(operator.add, sums), max_norm, scale, abs(scale))


def _all_axes(array: Array) -> tuple[int, ...]:
    return tuple(range(array.ndim))


_ones: dict[str, Array] = {}  # for each device


def _one(place: Backend) -> Array:
    """1 in the widest dtype of a device: as a formula's first operand it has it add up in that.

    In float32 the square of 1e20 is infinite, and that of 1e-25 is 0.
    """
    key = str(place)  # CuPy's devices can't be keys
    if key not in _ones:
        widest = getattr(place.xp, "float64", place.xp.float32)
        _ones[key] = place.asarray(np.asarray(1.0), widest)
    return _ones[key]


@along
def _sum_of_squares(xp: ModuleType) -> Callable[..., Array]:
    return lambda one, grad, axis: xp.sum(one * grad * grad)


@elementwise
def _factor(xp: ModuleType) -> Callable[..., Array]:
    # NaN comes through, to be seen; where the norm is infinite, inf * 0 shows as NaN
    return lambda squares, max_norm, scale, size: (
        scale * max_norm / xp.maximum(size * xp.sqrt(squares), max_norm)
    )


@along
def _factor_of(xp: ModuleType) -> Callable[..., Array]:
    """The factor for one array, in one pass."""
    sum_of_squares, factor = _sum_of_squares.function(xp), _factor.function(xp)
    return lambda one, grad, max_norm, scale, size, axis: factor(
        sum_of_squares(one, grad, axis=axis), max_norm, scale, size
    )


def _norm_on_host(grad: Any) -> float:
    """The norm of a number, or of an array of NumPy's, by BLAS."""
    if not hasattr(grad, "shape"):
        return abs(float(grad))
    flat = grad.reshape(-1).astype(sum_dtype(np, grad.dtype), copy=False)
    squares = _squares(flat)
    limits = np.finfo(flat.dtype)
    if float(limits.tiny) / float(limits.eps) < squares < math.inf:
        return math.sqrt(squares)
    largest = float(np.max(np.abs(flat), initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    # squares that are too large or too small for the dtype: of numbers about 1 they are not
    return largest * math.sqrt(_squares(flat / flat.dtype.type(largest)))


def _squares(flat: np.ndarray[Any, Any]) -> float:
    # BLAS adds up one element after another: with millions of them in float32, that would show
    parts = [flat[start : start + 65_536] for start in range(0, flat.size, 65_536)]
    with np.errstate(all="ignore"):
        return sum(float(part @ part) for part in parts)
