"""Gradient clipping by the global norm."""

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
    """Return the factor that limits the global norm of gradients to `max_norm`.

    ``scale * min(1, max_norm / norm(scale * grads))``, where the norm is the Euclidean norm over
    all elements of all gradients.

    Parameters
    ----------
    grads : Parameters or mapping of str to array or number
    max_norm : float
    scale : float, default 1.0
        A factor applied to the gradients before their norm is limited.

    Returns
    -------
    float or array, shape ()
        An array on the gradients' device, so that the host does not wait for it; a float for
        NumPy arrays and numbers. NaN if any gradient is NaN. Correct also for gradients whose
        squares overflow or underflow in their dtype, except for float64 arrays of other libraries
        than NumPy: there, sizes above 1e154 give a factor of 0, and sizes below 1e-154 count as 0.
        On a GPU, where CuPy rounds subnormal numbers to 0, float32 gradients below 1.2e-38 count as
        0, and so does a factor below that.

    Raises
    ------
    TypeError
        The gradients are on different devices, or one is None.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio (2013), "On the difficulty of training recurrent neural
    networks", algorithm 1.
    """
    arrays = [grads.flat] if isinstance(grads, Parameters) else list(grads.values())
    if any(grad is None for grad in arrays):
        missing = next(name for name, grad in grads.items() if grad is None)
        raise TypeError(f"the gradient of {missing!r} is None. Compute it before its norm")
    backends = [backend_of(grad) for grad in arrays if hasattr(grad, "shape")]
    backend = backends[0] if backends else None
    for other in backends:
        if other != backend:
            raise TypeError(
                "all gradients must be on one device to clip their global norm, got some on "
                f"{backend} and some on {other}"
            )
    with backend.active() if backend else contextlib.nullcontext():
        if backend is None or backend.name == "numpy":
            norm = abs(scale) * math.hypot(*map(_norm_on_host, arrays))
            return scale if norm <= max_norm else scale * max_norm / norm
        factor = _on_device(arrays, max_norm, scale, _one(backend))
        dtype = next(sum_dtype(backend.xp, g.dtype) for g in arrays if hasattr(g, "dtype"))
        return backend.xp.astype(factor, dtype, copy=False)


def global_norm(grads: Mapping[str, Array]) -> float:
    """Return the Euclidean norm over all elements of all gradients; waits for the device.

    Parameters
    ----------
    grads : Parameters or mapping of str to array or number
    """
    arrays = [grads.flat] if isinstance(grads, Parameters) else list(grads.values())
    norms = []
    for array in arrays:
        if not hasattr(array, "shape") or isinstance(array, np.ndarray):
            norms.append(_norm_on_host(array))
            continue
        backend = backend_of(array)
        with backend.active():
            squares = _sum_of_squares(_one(backend), array, axis=_all_axes(array))
            norms.append(math.sqrt(float(squares)))
    return math.hypot(*norms)


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


_ones: dict[str, Array] = {}  # one per device


def _one(backend: Backend) -> Array:
    """Return 1 in the widest floating-point dtype of a device.

    As a factor in a formula it promotes the sum of squares to that dtype. In float32, 1e20
    squared overflows and 1e-25 squared underflows.
    """
    key = str(backend)  # CuPy's devices are not hashable
    if key not in _ones:
        widest = getattr(backend.xp, "float64", backend.xp.float32)
        _ones[key] = backend.asarray(np.asarray(1.0), widest)
    return _ones[key]


@along
def _sum_of_squares(xp: ModuleType) -> Callable[..., Array]:
    return lambda one, grad, axis: xp.sum(one * grad * grad)


@elementwise
def _factor(xp: ModuleType) -> Callable[..., Array]:
    # NaN must propagate. An infinite norm gives 0, and 0 * inf then makes the gradient NaN.
    return lambda squares, max_norm, scale, size: (
        scale * max_norm / xp.maximum(size * xp.sqrt(squares), max_norm)
    )


@along
def _factor_of(xp: ModuleType) -> Callable[..., Array]:
    """Compute the factor of a single array in one pass."""
    sum_of_squares, factor = _sum_of_squares.function(xp), _factor.function(xp)
    return lambda one, grad, max_norm, scale, size, axis: factor(
        sum_of_squares(one, grad, axis=axis), max_norm, scale, size
    )


def _norm_on_host(grad: Any) -> float:
    """Return the Euclidean norm of a number or of a NumPy array, computed by BLAS."""
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
    # The squares overflow or underflow: rescale to a largest value of 1 first.
    return largest * math.sqrt(_squares(flat / flat.dtype.type(largest)))


def _squares(flat: np.ndarray[Any, Any]) -> float:
    # BLAS accumulates sequentially, which loses precision over millions of float32 elements.
    parts = [flat[start : start + 65_536] for start in range(0, flat.size, 65_536)]
    with np.errstate(all="ignore"):
        return sum(float(part @ part) for part in parts)
