"""The engine ``blocked``: the formula over slices of NumPy arrays, small enough for the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlskills.arrays.backend import Array
from dlskills.optimizers.engines import plain
from dlskills.optimizers.engines.rules import Rule

# In float32, Adam's four arrays and its temporaries take 0.5 MB: about a core's L2 cache.
BLOCK = 16_384


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[Any]) -> None:
    """Update ``[param, grad, *slots]`` in place, a block at a time."""
    if arrays[0].size <= BLOCK:
        plain.run(rule, arrays, coefficients)
        return
    if flat := flattened(arrays):
        arrays, rows = flat, BLOCK
    else:  # blocks of whole rows; the views keep whatever strides there are
        rows = BLOCK * arrays[0].shape[0] // arrays[0].size
    if not rows:  # even one of them is larger
        for row in zip(*arrays, strict=True):
            run(rule, row, coefficients)
        return
    for start in range(0, arrays[0].shape[0], rows):
        plain.run(rule, [array[start : start + rows] for array in arrays], coefficients)


def flattened(arrays: Sequence[Array]) -> list[Array] | None:
    """1-D views of the arrays, in one order of their elements; None if their memory has gaps."""
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return None
