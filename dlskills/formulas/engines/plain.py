"""The engine ``plain``: a formula called with whole arrays, for every library.

Temporaries are as large as the arrays. Half precision is computed in single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array, DType, is_dtype, namespace, sum_dtype
from dlskills.arrays.random import Mask
from dlskills.formulas.engines.base import Engine
from dlskills.formulas.layout import Shape, broadcast_shape

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula


class Plain(Engine):
    """Calls the formula."""

    name = "plain"

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        first = operands[0]
        xp = namespace(first)
        floating = is_dtype(xp, first.dtype, "real floating")
        wide = sum_dtype(xp, first.dtype) if floating else None
        arguments = [_prepared(xp, operand, wide) for operand in operands]
        results = formula.call(xp, arguments, axis)
        if out is not None:
            formula.check_results(results, len(out))
        given = [None] * len(results) if out is None else out
        full = broadcast_shape(operands) if floating else ()
        return tuple(
            _stored(xp, result, into, first, full)
            for result, into in zip(results, given, strict=True)
        )

    def update_row(self, rule: Formula, row: Sequence[Array], numbers: Sequence[Any]) -> None:
        param, _, *slots = row
        xp, dtype = namespace(param), param.dtype
        if not is_dtype(xp, dtype, "real floating") or sum_dtype(xp, dtype) != dtype:
            super().update_row(rule, row, numbers)
            return
        # as run(), without what only operands of other shapes and dtypes need
        results = rule.call(xp, [*row, *numbers], None)
        rule.check_results(results, len(row) - 1)
        for array, result in zip((param, *slots), results, strict=True):
            if result is not array:
                array[...] = xp.astype(result, array.dtype, copy=False)


def _prepared(xp: ModuleType, operand: Any, wide: DType) -> Any:
    """An operand as the formula is called with it."""
    if isinstance(operand, Mask):
        operand = operand.values()
    dtype = getattr(operand, "dtype", wide)
    if wide is None or dtype == wide or not is_dtype(xp, dtype, "real floating"):
        return operand
    return xp.astype(operand, wide)  # all are computed with in one dtype


def _stored(xp: ModuleType, result: Any, into: Array | None, first: Array, full: Shape) -> Array:
    """A result where it belongs: in `into`, or, if of the full shape, in the first one's dtype."""
    if into is not None:
        if result is not into:
            if tuple(result.shape) != tuple(into.shape):
                result = xp.reshape(result, into.shape)
            into[...] = xp.astype(result, into.dtype, copy=False)
        return into
    if hasattr(result, "dtype") and result.dtype != first.dtype and tuple(result.shape) == full:
        return xp.astype(result, first.dtype)
    return result


ENGINE = Plain()
