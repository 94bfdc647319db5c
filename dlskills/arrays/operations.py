"""Operations whose spelling differs between array libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, library_of, namespace, sum_dtype


def matmul_into(out: Array, a: Array, b: Array) -> None:
    """Compute ``out[...] = a @ b``, without a temporary where the library supports it.

    NumPy, CuPy and PyTorch have ``out=``, which is not part of the standard.
    """
    xp = namespace(out)
    if xp is np:
        np.matmul(a, b, out=out)
    elif library_of(out) in ("cupy", "torch"):
        xp.matmul(a, b, out=out)
    else:
        out[...] = xp.matmul(a, b)


def sum_into(out: Array, array: Array, axis: int | tuple[int, ...] | None) -> None:
    """Compute ``out[...] = xp.sum(array, axis=axis)``, without a temporary where possible."""
    xp = namespace(out)
    if xp is np:  # only NumPy accumulates half precision in half precision
        np.add.reduce(array, axis=axis, out=out, dtype=sum_dtype(xp, array.dtype))
    elif library_of(out) in ("cupy", "torch"):
        xp.sum(array, axis=axis, out=out)
    else:
        out[...] = xp.sum(array, axis=axis)


def repeats_memory(array: Any) -> bool:
    """Return whether elements share memory, as in a broadcast or expanded array.

    Writing one element of such an array changes others. Libraries that don't expose strides have no
    writable arrays of this kind.
    """
    if library_of(array) == "torch":
        strides, reach = array.stride(), 0  # in elements
    else:
        strides, reach = getattr(array, "strides", None), getattr(array, "itemsize", 1) - 1
    if strides is None or 0 in array.shape:
        return False
    axes = zip(map(abs, strides), array.shape, strict=True)
    for stride, size in sorted((stride, size) for stride, size in axes if size > 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False
