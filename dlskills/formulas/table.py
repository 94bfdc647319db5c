"""Tables of arrays that one update rule runs over, with coefficients per row."""

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

    No row may write to memory that another row reads or writes: an engine may update rows in any
    order, or concurrently.

    Parameters
    ----------
    rows : sequence of sequence of array, or callable
        Rows ``[param, grad, *slots]``. The arrays in a row have the same shape, and all arrays are
        on one device. All parameters have one dtype, as do all gradients and all slots. If `rows`
        is a function that returns the rows, the table does not keep their arrays alive.
    groups : sequence of int, optional
        For each row, the index of its coefficients in `numbers`; by default 0.

    Attributes
    ----------
    rule : Rule
    numbers : sequence of tuple
        The coefficients of each group. Like `rule`, they may be replaced before each step.
    arrays : int
        The number of arrays in a row.
    dtype : dtype
        The dtype of the parameters.
    size : int
        The total number of elements of the parameters.
    memory : dict
        Data that engines have prepared for these rows, by engine name.
    chosen : tuple, or None
        The name of the engine that was forced (or None) and the engine that was chosen then.
    """

    rule: Rule
    numbers: Sequence[tuple[Any, ...]]
    chosen: tuple[str | None, Engine] | None = None

    def __init__(
        self, rows: Rows | Callable[[], Rows], groups: Sequence[int] | None = None
    ) -> None:
        self._rows = rows
        self.groups = [0] * len(self.rows) if groups is None else list(groups)
        alike = self.alike
        self.arrays = len(alike)
        self.dtype: DType = alike[0].dtype
        self.size = self._count()
        self.memory: dict[str, Any] = {}

    def _count(self) -> int:
        return sum(math.prod(row[0].shape) for row in self.rows)

    @property
    def rows(self) -> Rows:
        """The current arrays."""
        return self._rows() if callable(self._rows) else self._rows

    @property
    def alike(self) -> Sequence[Array]:
        """Arrays of the library, the device and the dtypes of every row."""
        return self.rows[0]

    def renew_gradients(self) -> None:
        """Tell the engines that the gradients are now other arrays of the same shape and dtype.

        An engine's prepared data may have a method ``renew_gradients(table)``, which returns
        whether it remains valid. Otherwise it is dropped and prepared again.
        """
        for name, prepared in list(self.memory.items()):
            renew = getattr(prepared, "renew_gradients", None)
            if renew is None or not renew(self):
                del self.memory[name]

    def __iter__(self) -> Iterator[tuple[Sequence[Array], tuple[Any, ...]]]:
        for row, group in zip(self.rows, self.groups, strict=True):
            yield row, self.numbers[group]


class FlatTable(Table):
    """A table whose rows are ranges of a few flat arrays, the same ranges in each.

    Parameters
    ----------
    flats : callable
        Returns the flat arrays ``[param, grad, *slots]``, 1-D, contiguous and of equal size.
    runs : sequence of (int, int, int)
        Start, stop and group of each row.

    Attributes
    ----------
    runs : sequence of (int, int, int)
    """

    def __init__(
        self, flats: Callable[[], Sequence[Array]], runs: Sequence[tuple[int, int, int]]
    ) -> None:
        self._flats, self.runs = flats, runs
        super().__init__(self._ranges, [group for *_, group in runs])

    def _count(self) -> int:
        return sum(stop - start for start, stop, _ in self.runs)

    @property
    def alike(self) -> Sequence[Array]:
        return self.flats  # without a view of each range

    @property
    def flats(self) -> Sequence[Array]:
        """The current flat arrays."""
        return self._flats()

    def _ranges(self) -> Rows:
        flats = self.flats
        return [[flat[start:stop] for flat in flats] for start, stop, _ in self.runs]
