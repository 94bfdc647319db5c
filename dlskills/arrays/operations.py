"""What the libraries of arrays spell differently."""

from __future__ import annotations

import numpy as np

from dlskills.arrays.backend import Array, library_of, namespace, sum_dtype


def matmul_into(out: Array, a: Array, b: Array) -> None:
    """``out[...] = a @ b``, without the temporary where the library has a way.

    The standard has no ``out=``; NumPy, CuPy and PyTorch do.
    """
    xp = namespace(out)
    if xp is np:
        np.matmul(a, b, out=out)
    elif library_of(out) in ("cupy", "torch"):
        xp.matmul(a, b, out=out)
    else:
        out[...] = xp.matmul(a, b)


def sum_into(out: Array, array: Array, axis: int | tuple[int, ...] | None) -> None:
    """``out[...] = xp.sum(array, axis=axis)``, without the temporary where there is a way."""
    xp = namespace(out)
    if xp is np:  # which alone adds up half precision in half precision
        np.add.reduce(array, axis=axis, out=out, dtype=sum_dtype(xp, array.dtype))
    elif library_of(out) in ("cupy", "torch"):
        xp.sum(array, axis=axis, out=out)
    else:
        out[...] = xp.sum(array, axis=axis)
