"""What an update goes over: rows of arrays, each with its coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Rule


class Table:
    """Arrays that one rule updates in one go.

    Parameters
    ----------
    rows : sequence of sequence of array
        ``[param, grad, *slots]``: of one shape within a row, and of one device; all parameters
        are of one dtype.
    groups : sequence of int, optional
        Which of `numbers` are a row's own; by default all are in group 0.

    Attributes
    ----------
    rule : Rule
    numbers : sequence of tuple
        The coefficients of each group; they may be set anew for each step, as `rule` may.
    memory : dict
        What engines have prepared for these rows.
    """

    rule: Rule
    numbers: Sequence[tuple[Any, ...]]

    def __init__(
        self, rows: Sequence[Sequence[Array]], groups: Sequence[int] | None = None
    ) -> None:
        self.rows = rows
        self.groups = [0] * len(rows) if groups is None else list(groups)
        self.size = sum(math.prod(row[0].shape) for row in rows)
        self.memory: dict[str, Any] = {}

    def __iter__(self) -> Iterator[tuple[Sequence[Array], tuple[Any, ...]]]:
        for row, group in zip(self.rows, self.groups, strict=True):
            yield row, self.numbers[group]
