"""What an update goes over: rows of arrays, each with its coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dlskills.arrays.backend import Array, DType
from dlskills.formulas.formula import Rule

if TYPE_CHECKING:
    from dlskills.formulas.engines.base import Engine

Rows: TypeAlias = Sequence[Sequence[Array]]


class Table:
    """Arrays that one rule updates in one pass.

    No row may write to memory that another row reads or writes: an engine updates rows in any
    order, or at the same time.

    Parameters
    ----------
    rows : sequence of sequence of array, or callable
        ``[param, grad, *slots]``: of one shape within a row, all of one device; all parameters
        are of one dtype, and so are all gradients and all slots. A function that returns the rows
        keeps the table from holding their arrays.
    groups : sequence of int, optional
        The index in `numbers` of each row's coefficients, by default 0.

    Attributes
    ----------
    rule : Rule
    numbers : sequence of tuple
        The coefficients of each group. They may be set anew for each step, as `rule` may.
    dtype : dtype
        That of the parameters.
    size : int
        The number of elements of all parameters.
    memory : dict
        What engines have prepared for these rows, by their names.
    chosen : tuple, or None
        The name of the engine that was forced, and the engine chosen then.
    """

    rule: Rule
    numbers: Sequence[tuple[Any, ...]]
    chosen: tuple[str | None, Engine] | None = None

    def __init__(
        self, rows: Rows | Callable[[], Rows], groups: Sequence[int] | None = None
    ) -> None:
        self._rows = rows
        rows = self.rows
        self.groups = [0] * len(rows) if groups is None else list(groups)
        self.dtype: DType = rows[0][0].dtype
        self.size = sum(math.prod(row[0].shape) for row in rows)
        self.memory: dict[str, Any] = {}

    @property
    def rows(self) -> Rows:
        """The arrays, as they are now."""
        return self._rows() if callable(self._rows) else self._rows

    def renew_gradients(self) -> None:
        """Tell the engines that gradients are other arrays now, alike in shape and dtype.

        What an engine has prepared may have a method ``renew_gradients(rows)`` that returns
        whether it can be used on; else it is prepared anew.
        """
        if not self.memory:
            return
        rows = self.rows
        for name, prepared in list(self.memory.items()):
            renew = getattr(prepared, "renew_gradients", None)
            if renew is None or not renew(rows):
                del self.memory[name]

    def __iter__(self) -> Iterator[tuple[Sequence[Array], tuple[Any, ...]]]:
        for row, group in zip(self.rows, self.groups, strict=True):
            yield row, self.numbers[group]
