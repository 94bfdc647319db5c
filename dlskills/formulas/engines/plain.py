"""The engine ``plain``: calls a formula with whole arrays of any library.

Temporaries are as large as the arrays. Half precision is computed in single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array, DType, is_dtype, namespace, sum_dtype
from dlskills.formulas.engines.base import Engine
from dlskills.formulas.layout import Shape, broadcast_shape

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula


class Plain(Engine):
    """Engine that calls the formula with whole arrays."""

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
        wide = None  # the dtype of the computation; None leaves it to the library
        if is_dtype(xp, first.dtype, "real floating"):
            wide = sum_dtype(xp, first.dtype)
        arguments = [_prepared(xp, operand, wide) for operand in operands]
        results = formula.call(xp, arguments, axis)
        given = [None] * len(results) if out is None else out
        formula.check_results(results, len(given))
        separate = _without_aliases(xp, results, given, [*operands, *arguments])
        full = None if wide is None else broadcast_shape(operands)
        return tuple(
            _store(xp, result, into)
            if into is not None
            else _cast(xp, result, first.dtype if _shape(result) == full else wide)
            for result, into in zip(separate, given, strict=True)
        )

    def update_row(self, rule: Formula, row: Sequence[Array], numbers: Sequence[Any]) -> None:
        param, _, *slots = row
        xp, dtype = namespace(param), param.dtype
        if not is_dtype(xp, dtype, "real floating") or sum_dtype(xp, dtype) != dtype:
            super().update_row(rule, row, numbers)
            return
        # like run(), without the steps for operands of different shapes and dtypes
        results = rule.call(xp, [*row, *numbers], None)
        rule.check_results(results, len(row) - 1)
        into = (param, *slots)
        for array, result in zip(into, _without_aliases(xp, results, into, row), strict=True):
            if result is not array:
                array[...] = result


def _prepared(xp: ModuleType, operand: Any, wide: DType) -> Any:
    """Return an operand in the dtype of the computation; conditions stay bool."""
    dtype = getattr(operand, "dtype", wide)
    if wide is None or dtype == wide or is_dtype(xp, dtype, "bool"):
        return operand
    return xp.astype(operand, wide)


def _without_aliases(
    xp: ModuleType, results: Sequence[Any], given: Sequence[Any], operands: Sequence[Any]
) -> list[Any]:
    """Return the results, copying those that are operands unless they are their own output."""
    return [
        xp.asarray(result, copy=True)
        if result is not into and any(result is o for o in operands) and hasattr(result, "shape")
        else result
        for result, into in zip(results, given, strict=True)
    ]


def _store(xp: ModuleType, result: Any, into: Array) -> Array:
    if result is not into:
        if _shape(result) != tuple(into.shape):
            result = xp.reshape(result, into.shape)
        into[...] = xp.astype(result, into.dtype, copy=False)
    return into


def _cast(xp: ModuleType, result: Any, dtype: DType) -> Any:
    """Return a result in the dtype that all engines give it."""
    if dtype is None or getattr(result, "dtype", dtype) == dtype:
        return result
    return xp.astype(xp.asarray(result), dtype)


def _shape(result: Any) -> Shape:
    return tuple(getattr(result, "shape", ()))


ENGINE = Plain()
