"""Checks of the parameters and gradients passed to an update."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import array_api_compat
import numpy as np

from dlskills.arrays.backend import backend_of, is_dtype, namespace
from dlskills.arrays.operations import repeats_memory


def check_mappings(params: Any, grads: Any) -> None:
    """Raise TypeError unless both are mappings."""
    if not isinstance(params, Mapping) or not isinstance(grads, Mapping):
        raise TypeError(
            "params and grads must be mappings from names to arrays or numbers, got "
            f"{type(params).__name__} and {type(grads).__name__}"
        )


def check_gradients(
    params: Mapping[str, Any], grads: Mapping[str, Any], frozen: Collection[str] = ()
) -> None:
    """Check that each parameter that is not frozen has a gradient that fits it.

    Raises
    ------
    KeyError
        A gradient is missing.
    ValueError, TypeError
        As in :func:`check_gradient`.
    """
    for key, param in params.items():
        if key in frozen:
            continue
        try:
            grad = grads[key]
        except KeyError:
            given = ", ".join(map(str, grads)) or "none"
            raise KeyError(
                f"grads must have a gradient for each parameter; {key!r} is missing, got: {given}"
            ) from None
        check_gradient(key, param, grad)


def check_gradient(key: str, param: Any, grad: Any) -> None:
    """Check that a gradient has the shape, kind, device and dtype of its parameter.

    Raises
    ------
    ValueError
        The shapes differ, or the parameter is read-only or overlaps itself in memory.
    TypeError
        The gradient is None, or of another kind, device or dtype; or the parameter is not
        floating-point.
    """
    if grad is None:
        raise TypeError(
            f"the gradient of {key!r} is None. Compute it before the update, or exclude the "
            "parameter with frozen=..."
        )
    if is_number(param) and is_number(grad):
        return
    shapes = shape_of(grad), shape_of(param)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the gradient of {key!r} must have its parameter's shape {shapes[1]}, got {shapes[0]}"
        )
    if is_number(param) or is_number(grad):
        kinds = type(grad).__name__, type(param).__name__
        raise TypeError(
            f"the gradient of {key!r} and the parameter must both be numbers or both be arrays, "
            f"got a gradient of type {kinds[0]} and a parameter of type {kinds[1]}"
        )
    if backend_of(grad) != backend_of(param):
        raise TypeError(
            f"the gradient of {key!r} must be on its parameter's device {backend_of(param)}, got "
            f"{backend_of(grad)}. Move one of them with dlskills.to_device(...)"
        )
    if grad.dtype != param.dtype:
        raise TypeError(
            f"the gradient of {key!r} must have its parameter's dtype {param.dtype}, got "
            f"{grad.dtype}. Convert one of them with astype(...)"
        )
    if isinstance(param, np.ndarray) and not param.flags.writeable:
        raise ValueError(f"parameter {key!r} is a read-only array. Pass a copy of it")
    if repeats_memory(param):
        raise ValueError(
            f"parameter {key!r} has elements that share memory. Pass a copy of the array"
        )
    if not is_dtype(namespace(param), param.dtype, "real floating"):
        raise TypeError(
            f"parameter {key!r} must have a floating-point dtype, got {param.dtype}. Convert it to "
            "float32 or float64"
        )


def is_number(value: Any) -> bool:
    """Return whether a value is a Python or NumPy scalar; a bool is not."""
    return isinstance(value, int | float | np.generic) and not isinstance(value, bool)


def is_mutable(value: Any) -> bool:
    """Return whether a value is an array that can be changed in place."""
    if type(value) is np.ndarray:
        return True
    return not is_number(value) and array_api_compat.is_writeable_array(value)


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of an array; () for a number."""
    return tuple(getattr(value, "shape", ()))
