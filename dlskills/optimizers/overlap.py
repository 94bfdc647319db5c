"""Parameters that overlap in memory, which must be updated one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, library_of

Bounds = tuple[int, int]


def in_disjoint_parts(
    positions: Sequence[int], params: Sequence[Array], grads: Sequence[Array]
) -> list[list[int]]:
    """Split positions, in order, into parts whose updates can run at the same time.

    Parameters
    ----------
    positions : sequence of int
        Positions in `params` and `grads`, all of arrays of one library.
    params, grads : sequence of array

    Returns
    -------
    list of list of int
        A single part, unless a parameter overlaps in memory with another parameter or with the
        gradient of another.
    """
    if not positions:
        return []
    if library_of(params[positions[0]]) not in _ADDRESS:
        return [list(positions)]  # no engine updates several of these at once
    written = np.array([_bounds(params[i]) for i in positions])
    read = np.array([_bounds(grads[i]) for i in positions])
    if _are_disjoint(written, read):
        return [list(positions)]
    parts: list[list[int]] = []
    start = 0
    for row in range(len(positions)):
        earlier = slice(start, row)
        clash = (
            _overlap(written[row], written[earlier])
            or _overlap(written[row], read[earlier])
            or _overlap(read[row], written[earlier])
        )
        if clash or not parts:
            parts.append([])
            start = row
        parts[-1].append(positions[row])
    return parts


def _are_disjoint(written: Any, read: Any) -> bool:
    """Return whether no row writes to memory that another row reads or writes."""
    order = np.argsort(written[:, 0], kind="stable")
    low, high = written[order].T
    if (low[1:] < np.maximum.accumulate(high)[:-1]).any():
        return False
    # The parameters are sorted, so those that a gradient overlaps with form a range.
    first = np.searchsorted(high, read[:, 0], side="right")
    behind = np.searchsorted(low, read[:, 1], side="left")
    only_own = (behind - first == 1) & (order[np.minimum(first, len(order) - 1)] == _rows(order))
    return bool(((behind <= first) | only_own).all())


def _rows(order: Any) -> Any:
    return np.arange(len(order))


def _overlap(one: Any, many: Any) -> bool:
    return bool(((many[:, 0] < one[1]) & (one[0] < many[:, 1])).any())


def _bounds(array: Array) -> Bounds:
    """Return the addresses of an array's first byte and of the byte after its last."""
    read_address, unit = _ADDRESS[library_of(array)]
    low = high = read_address(array)
    strides = array.stride() if unit is None else array.strides
    for size, stride in zip(array.shape, strides, strict=True):
        if size == 0:
            return low, low
        step = (size - 1) * stride * (array.element_size() if unit is None else unit)
        low, high = low + min(step, 0), high + max(step, 0)
    return low, high + (array.element_size() if unit is None else array.itemsize)


# For each library: how to read an address, and whether strides count bytes (1) or elements (None).
_ADDRESS: dict[str, tuple[Any, int | None]] = {
    "numpy": (lambda array: array.ctypes.data, 1),
    "cupy": (lambda array: array.data.ptr, 1),
    "torch": (lambda array: array.data_ptr(), None),
}
