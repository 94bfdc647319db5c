"""The engine ``blocked``: runs a formula over slices of NumPy arrays that fit in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.formulas.engines import plain
from dlskills.formulas.engines.base import Engine

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula

# elements; in float32, Adam's four arrays and its temporaries take 0.5 MB, about a core's L2 cache
BLOCK = 16_384


class Blocked(Engine):
    """Engine that calls the formula for one slice after another."""

    name = "blocked"
    library = "numpy"

    def suits(self, array: Array, size: int | None = None) -> bool:
        return (
            type(array) is np.ndarray
            and array.dtype.kind == "f"
            and (array.size if size is None else size) > BLOCK
        )

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        arrays = [o for o in operands if isinstance(o, np.ndarray)]
        shape, dtype = arrays[0].shape, arrays[0].dtype
        is_one_problem = axis is None and all(array.shape == shape for array in arrays)
        if not is_one_problem or dtype.kind != "f":
            return plain.ENGINE.run(formula, operands, axis, out)
        # Tracing raises an error for formulas that are not elementwise, which must not be sliced.
        trace = formula.trace(tuple("B" if hasattr(o, "shape") else "" for o in operands), "B")
        out = [None] * len(trace.results) if out is None else out
        formula.check_results(trace.results, len(out))
        into = [np.empty(shape, dtype) if o is None else o for o in out]
        # an array that is both operand and result is sliced once: a rule may change it in place
        arrays = list({id(a): a for a in (*arrays, *into)}.values())
        position = {id(a): i for i, a in enumerate(arrays)}
        for part in _slices(shape, arrays):
            now = [part[position[id(o)]] if id(o) in position else o for o in (*operands, *into)]
            plain.ENGINE.run(formula, now[: len(operands)], None, now[len(operands) :])
        return tuple(into)


def _slices(shape: tuple[int, ...], arrays: list[Array]) -> Any:
    """Yield views of the arrays, of at most one block, in the arrays' own strides."""
    size = arrays[0].size
    if size <= BLOCK:
        yield arrays
        return
    flat = flattened(arrays)
    if flat is not None:
        arrays, rows = flat, BLOCK
    else:
        rows = BLOCK * shape[0] // size
    if not rows:  # even one row is larger
        for row in zip(*arrays, strict=True):
            yield from _slices(shape[1:], list(row))
        return
    for start in range(0, arrays[0].shape[0], rows):
        yield [array[start : start + rows] for array in arrays]


def flattened(arrays: Sequence[Array]) -> list[Array] | None:
    """Return 1-D views in a common element order; None if the arrays are not contiguous."""
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return None


ENGINE = Blocked()
