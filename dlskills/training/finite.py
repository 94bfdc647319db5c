"""Checks of data for NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, DType, backend_of, is_dtype, namespace, to_host

_PART = 32 << 20  # approximate number of bytes checked at a time


def check_finite(name: str, array: Array, dtype: DType, computing: Any) -> None:
    """Raise an error for NaN, infinity, and numbers beyond the range of the computing dtype.

    Waits for the device once, after all checks.

    Parameters
    ----------
    name : str
        The array's name in errors.
    array : array, shape (N, ...)
        Of any library and device.
    dtype : dtype
        The dtype that the network computes in.
    computing : module
        The namespace that `dtype` is of.

    Raises
    ------
    ValueError
        The message names the first such row.
    """
    if not is_dtype(namespace(array), array.dtype, "real floating") or 0 in array.shape:
        return
    largest = float(computing.finfo(dtype).max)
    with backend_of(array).active():
        parts = list(_parts(array))
        flags = to_host([_all_within(array[part, ...], largest) for part in parts])
    if not flags.all():
        part = parts[int(np.argmin(flags))]
        _refuse(name, to_host(array[part, ...]), part.start, largest, dtype)


def _parts(array: Array) -> Iterator[slice]:
    size = array.shape[0]
    bytes_a_row = max(math.prod(array.shape[1:]) * 8, 1)
    step = max(_PART // bytes_a_row, 1)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _all_within(part: Array, largest: float) -> Array:
    """Return whether all elements are within the range of the computing dtype; NaN is not."""
    xp = namespace(part)
    if float(xp.finfo(part.dtype).max) <= largest:
        return xp.all(xp.isfinite(part))
    return xp.all(xp.abs(part) <= largest)


def _refuse(
    name: str, rows: np.ndarray[Any, Any], start: int, largest: float, dtype: DType
) -> None:
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(rows.astype(np.float64)) <= min(largest, np.finfo(np.float64).max))
    index = np.argwhere(wrong)[0]
    value = rows[tuple(index)]
    what = f"{name} must be finite, got {value} in row {start + index[0]}"
    if np.isfinite(value):
        kind = getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
        raise ValueError(
            f"{what}, which is infinite in {kind}. Scale the data to a size of about 1"
        )
    raise ValueError(f"{what}. Remove such rows, or replace the values, before training")
