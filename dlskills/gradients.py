"""Numerical gradients, for checking gradients computed by backpropagation."""

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
    r"""Return the gradient of a scalar function with respect to arrays, by central differences.

    :math:`\partial f / \partial w \approx (f(w + h) - f(w - h)) / 2h` takes two calls of `f` per
    element. Use float64 arrays: in float32, rounding leaves at most two correct digits.

    Parameters
    ----------
    f : callable
        Function that returns a number or 0-d array. It is called as ``f()`` if `params` is a
        mapping, and as ``f(x)`` if `params` is an array `x`, as in the book.
    params : mapping of str to array, or array
        Floating-point arrays. Each element is changed during the call and restored afterwards.
    h : float, default 1e-5
        Step size. 1e-5 balances the truncation error (h**2) and the rounding error (1e-16 / h).
        The book uses 1e-4.

    Returns
    -------
    dict of str to array, or array
        The gradient, with the structure, shapes, dtypes and devices of `params`.

    Raises
    ------
    TypeError
        `params` is neither a mapping nor an array, or an array does not hold floating-point
        numbers.
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
        return {name: _central_differences(f, param, h) for name, param in params.items()}
    _check_writable("params", params)
    return _central_differences(lambda: f(params), params, h)


def _check_writable(name: str, array: Any) -> None:
    """Raise an error unless each element of the array can be changed by small steps."""
    try:
        xp = namespace(array)
    except TypeError:
        raise TypeError(
            f"{name} must be an array, got a {type(array).__name__}. Create one with "
            "numpy.asarray(..., dtype='float64')"
        ) from None
    if not is_dtype(xp, array.dtype, "real floating"):
        raise TypeError(
            f"{name} must hold floating-point numbers, got {array.dtype}. Convert it to float64"
        )
    if repeats_memory(array):
        raise ValueError(f"{name} has elements that share memory. Pass a copy of the array")


def _central_differences(f: Callable[[], Any], param: Array, h: float) -> Array:
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
    """Return the relative error of two gradients, ``norm(a - b) / max(norm(a), norm(b))``.

    Parameters
    ----------
    a, b : array or Parameters
        Gradients of the same shape, on any device. They are compared on the host in float64.

    Returns
    -------
    float
        0 if both gradients are zero.
    """
    first, second = (
        np.asarray(to_host(g.flat if isinstance(g, Parameters) else g), dtype=np.float64)
        for g in (a, b)
    )
    scale = max(float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    return float(np.linalg.norm(first - second)) / scale if scale else 0.0


def __getattr__(name: str) -> Any:
    if name == "clip_factor":  # its former location
        return importlib.import_module("dlskills.optimizers.clipping").clip_factor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
