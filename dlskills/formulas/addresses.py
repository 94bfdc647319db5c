"""Addresses of NumPy arrays, read without the 2-microsecond overhead of ``array.ctypes``."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterable

import numpy as np

from dlskills.arrays.backend import Array

# An array's C structure, which is part of NumPy's ABI, begins with CPython's object header and the
# pointer to the data. In CPython an object's id is its address.
_HEADER = object.__basicsize__


def addresses_of(arrays: Iterable[Array]) -> list[int]:
    """Return the address of each array's first element."""
    if not _structure_is_known():
        return [array.ctypes.data for array in arrays]
    read = ctypes.c_void_p.from_address
    return [read(id(array) + _HEADER).value or 0 for array in arrays]


@functools.cache
def _structure_is_known() -> bool:
    if sys.implementation.name != "cpython":
        return False
    arrays = [np.zeros(3), np.zeros((4, 5), "float32")[1:, ::2]]
    return all(
        ctypes.c_void_p.from_address(id(array) + _HEADER).value == array.ctypes.data
        for array in arrays
    )
