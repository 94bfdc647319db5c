"""Gradients by differences, to check those by backpropagation, and the clipping of gradients."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, overload

import numpy as np

from dlskills.arrays.backend import (
    Array,
    backend_of,
    is_dtype,
    library_of,
    namespace,
    sum_dtype,
    to_host,
)
from dlskills.arrays.operations import repeats_memory
from dlskills.arrays.parameters import Parameters
from dlskills.fusion import elementwise, summed


@overload
def numerical_gradient(
    f: Callable[[], Any], params: Mapping[str, Array], h: float = 1e-5
) -> dict[str, Array]: ...


@overload
def numerical_gradient(f: Callable[[Array], Any], params: Array, h: float = 1e-5) -> Array: ...


def numerical_gradient(f: Callable[..., Any], params: Any, h: float = 1e-5) -> Any:
    r"""Return the gradient of a number by each element of arrays, by central differences.

    :math:`\partial f / \partial w \approx (f(w + h) - f(w - h)) / 2h`: two calls of `f` for each
    element. Rounding limits it to float64 arrays; in float32 expect no more than two digits.

    Parameters
    ----------
    f : callable
        Returns a number or 0-d array. Called as ``f()`` if `params` is a mapping, which it reads
        by itself; as ``f(x)`` if `params` is an array `x`, as in the book.
    params : mapping of str to array, or array
        Floating-point arrays, written element by element during the call and left as they were.
    h : float, default 1e-5
        The step. 1e-5 balances the error of the formula (h**2) and of rounding (1e-16 / h). The
        book takes 1e-4.

    Returns
    -------
    dict of str to array, or array
        As `params`: of the same shapes, dtypes and devices.

    Raises
    ------
    TypeError
        `params` is neither a mapping nor an array, or an array holds integers.
    ValueError
        Elements of an array share memory.

    Examples
    --------
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, np.array([3.0, 4.0]))
    array([6., 8.])
    """
    if isinstance(params, Mapping):
        for name, param in params.items():
            _check_writable(f"parameter {name!r}", param)
        return {name: _by_each_element(f, param, h) for name, param in params.items()}
    _check_writable("params", params)
    return _by_each_element(lambda: f(params), params, h)


def _check_writable(name: str, array: Any) -> None:
    """Refuse what can't take small steps, one element at a time."""
    try:
        xp = namespace(array)
    except TypeError:
        raise TypeError(
            f"{name} must be an array, got a {type(array).__name__}. Make one with "
            "numpy.asarray(..., dtype='float64')"
        ) from None
    if not is_dtype(xp, array.dtype, "real floating"):
        raise TypeError(
            f"{name} must hold floating-point numbers, which can take small steps, got "
            f"{array.dtype}. Convert it to float64"
        )
    if repeats_memory(array):
        raise ValueError(f"{name} has elements that share memory. Give a copy of the array")


def _by_each_element(f: Callable[[], Any], param: Array, h: float) -> Array:
    with backend_of(param).active():
        gradient = namespace(param).zeros_like(param)
        for index in np.ndindex(*param.shape):
            value = float(param[index])
            try:
                param[index] = value + h
                above = float(f())
                param[index] = value - h
                below = float(f())
            finally:
                param[index] = value
            gradient[index] = (above - below) / (2 * h)
    return gradient


def relative_error(a: Array, b: Array) -> float:
    """How far two gradients are apart: ``norm(a - b) / max(norm(a), norm(b))``, 0 for two zeros.

    Parameters
    ----------
    a, b : array or Parameters
        Of one shape, on any device; compared on the host in float64.
    """
    first, second = (
        np.asarray(to_host(g.flat if isinstance(g, Parameters) else g), dtype=np.float64)
        for g in (a, b)
    )
    scale = max(float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    return float(np.linalg.norm(first - second)) / scale if scale else 0.0


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
        sums = [_sum_of_squares(grad) for grad in arrays]
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


def _sum_of_squares(grad: Any) -> Any:
    if not hasattr(grad, "shape"):
        return grad * grad
    xp = namespace(grad)
    flat = xp.astype(xp.reshape(grad, (-1,)), sum_dtype(xp, grad.dtype), copy=False)
    if library_of(flat) == "cupy":
        return _sum_of_squares_on_cuda(flat)
    if not isinstance(flat, np.ndarray):
        return flat @ flat  # unlike the sum of grad * grad, without a temporary of its size
    # BLAS adds up one element after another: with millions of them in float32, that would show
    parts = [flat[start : start + 65_536] for start in range(0, flat.size, 65_536)]
    return sum(float(part @ part) for part in parts)


_ROW = 4096


@summed
def _squares(xp: ModuleType) -> Callable[..., Array]:
    return lambda grad: grad * grad


def _sum_of_squares_on_cuda(flat: Array) -> Array:
    """In rows, each for a block of threads, and without the temporary that CuPy's product takes."""
    whole = flat.shape[0] // _ROW * _ROW
    rest = _squares(flat[whole:], axis=0)
    if not whole:
        return rest
    xp = namespace(flat)
    return rest + xp.sum(_squares(xp.reshape(flat[:whole], (-1, _ROW)), axis=1))
