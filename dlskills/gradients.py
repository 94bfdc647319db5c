"""Gradients by differences, to check those by backpropagation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np

from dlskills.arrays.backend import Array, backend_of, is_dtype, namespace, to_host
from dlskills.arrays.operations import repeats_memory
from dlskills.arrays.parameters import Parameters


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


def __getattr__(name: str) -> Any:
    if name == "clip_factor":  # which has moved up to the optimizers
        return importlib.import_module("dlskills.optimizers.clipping").clip_factor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
