"""What an optimizer's update may be given: numbers or arrays, each with a gradient of its kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import array_api_compat
import numpy as np

from dlskills.arrays.backend import backend_of, is_dtype, namespace
from dlskills.arrays.operations import repeats_memory


def check_mappings(params: Any, grads: Any) -> None:
    """Refuse anything but two mappings."""
    if not isinstance(params, Mapping) or not isinstance(grads, Mapping):
        raise TypeError(
            "update takes two mappings, of names to parameters and to gradients, got a "
            f"{type(params).__name__} and a {type(grads).__name__}"
        )


def check_gradients(
    params: Mapping[str, Any], grads: Mapping[str, Any], frozen: Collection[str] = ()
) -> None:
    """Refuse a missing gradient, and what :func:`check_gradient` refuses."""
    for key, param in params.items():
        if key in frozen:
            continue
        try:
            grad = grads[key]
        except KeyError:
            there = ", ".join(map(str, grads)) or "none"
            raise KeyError(
                f"grads has no gradient for parameter {key!r}; it has: {there}"
            ) from None
        check_gradient(key, param, grad)


def check_gradient(key: str, param: Any, grad: Any) -> None:
    """Refuse a gradient of another shape, kind, device or dtype, by its name."""
    if grad is None:
        raise TypeError(
            f"the gradient of {key!r} is None. Compute it before the update, and leave parameters "
            "without a gradient out"
        )
    if is_number(param) and is_number(grad):
        return
    shapes = shape_of(grad), shape_of(param)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the gradient of {key!r} has shape {shapes[0]}, its parameter {shapes[1]}"
        )
    if is_number(param) or is_number(grad):
        kinds = type(grad).__name__, type(param).__name__
        raise TypeError(
            f"the gradient of {key!r} is a {kinds[0]}, its parameter a {kinds[1]}; make both "
            "numbers or both arrays"
        )
    if backend_of(grad) != backend_of(param):
        raise TypeError(
            f"the gradient of {key!r} is on {backend_of(grad)}, its parameter on "
            f"{backend_of(param)}; move one of them with dlskills.to_device(...)"
        )
    if grad.dtype != param.dtype:
        raise TypeError(
            f"the gradient of {key!r} has dtype {grad.dtype}, its parameter {param.dtype}; "
            "convert one of them with astype(...)"
        )
    if isinstance(param, np.ndarray) and not param.flags.writeable:
        raise ValueError(f"parameter {key!r} is a read-only array; give a copy of it")
    if repeats_memory(param):
        raise ValueError(
            f"parameter {key!r} has elements that share memory. Give a copy of the array"
        )
    if not is_dtype(namespace(param), param.dtype, "real floating"):
        raise TypeError(
            f"parameter {key!r} has dtype {param.dtype}; only floating-point numbers can "
            "take small steps: convert it to float32 or float64"
        )


def is_number(value: Any) -> bool:
    """Whether a value is a scalar that can't be changed in place (bool is refused as one)."""
    return isinstance(value, int | float | np.generic) and not isinstance(value, bool)


def is_mutable(value: Any) -> bool:
    """Whether a value is an array that can be changed in place."""
    if type(value) is np.ndarray:
        return True
    return not is_number(value) and array_api_compat.is_writeable_array(value)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array; () for a number."""
    return tuple(getattr(value, "shape", ()))
