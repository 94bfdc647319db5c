"""Updates of many arrays by one kernel, over a table of their addresses on the device.

Each block of the kernel updates one chunk. A row of the table holds the addresses of the chunk in
parameter, gradient and slots, its size, and the group whose coefficients it uses. Coefficients are
passed to the kernel by value, so a step copies nothing from the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.formulas.cuda_source import (
    CHUNK,
    CTYPES,
    NUMBER,
    Types,
    computed_in,
    name_of,
    update_source,
)

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table

THREADS = 256
NUMBERS_BYTES = 4000  # kernel arguments are limited to 4096 bytes


class Rows:
    """A table's rows, grouped by the dtypes of their arrays.

    `others` are the rows that kernels can't update, because their arrays are not contiguous or not
    floating-point.
    """

    def __init__(self, table: Table) -> None:
        self.others: list[int] = []
        alike: dict[tuple[Any, ...], list[int]] = {}
        for i, row in enumerate(table.rows):
            dtypes = tuple(array.dtype for array in row)
            if dtypes[0].kind != "f" or not _is_dense(row):
                self.others.append(i)
            elif row[0].size:
                alike.setdefault(dtypes, []).append(i)
        self.parts = [
            _Part(dtypes, [table.rows[i] for i in rows], [table.groups[i] for i in rows])
            for dtypes, rows in alike.items()
        ]

    def update(self, table: Table) -> None:
        for part in self.parts:
            part.update(table)


def _is_dense(row: Sequence[Array]) -> bool:
    """Return whether all arrays are contiguous in the same order and have supported dtypes."""
    flags = [array.flags for array in row]
    dense = all(f.c_contiguous for f in flags) or all(f.f_contiguous for f in flags)
    return dense and all(array.dtype.name in CTYPES for array in row)


class _Part:
    """Rows whose arrays have the same dtypes."""

    def __init__(
        self, dtypes: tuple[Any, ...], rows: Sequence[Sequence[Array]], groups: Sequence[int]
    ) -> None:
        import cupy

        self.dtypes = dtypes
        self.computed = computed_in(dtypes[0])
        chunks = _chunks(dtypes, rows, groups)
        self.groups = chunks[:, -1].copy()
        self.chunks = cupy.asarray(chunks)
        self.known: dict[int, list[tuple[int, Array, int]]] = {}

    def update(self, table: Table) -> None:
        numbers = table.numbers
        factor = [n for n in numbers[0][-1:] if hasattr(n, "dtype")]  # on the device
        count = len(numbers[0]) - len(factor)
        values = np.array([own[:count] for own in numbers], self.computed)
        groups = min(at_once(count, values.itemsize), len(numbers))
        factors = [n.dtype for n in factor]
        kernel = update_kernel(table.rule, self.dtypes, groups, count, factors)
        for first, chunks, blocks in self.launches(groups):
            own = values[first : first + groups]
            if len(own) < groups:  # the kernel's argument has a fixed size
                own = np.resize(own, (groups, count))
            given = [own.reshape(-1).view(f"V{own.nbytes}")] if count else []
            kernel((blocks,), (THREADS,), (chunks, np.int32(first), *given, *factor))

    def launches(self, groups: int) -> list[tuple[int, Array, int]]:
        """Return the first group, the chunks and their number for each launch."""
        found = self.known.get(groups)
        if found is None:
            found = self.known[groups] = []
            for first in range(0, int(self.groups[-1]) + 1, groups):
                begin, end = np.searchsorted(self.groups, (first, first + groups)).tolist()
                if begin < end:
                    found.append((first, self.chunks[begin:], end - begin))
        return found


def at_once(count: int, itemsize: int) -> int:
    """Return the maximum number of groups, of `count` coefficients each, per launch."""
    return NUMBERS_BYTES // (max(count, 1) * itemsize)


def update_kernel(
    rule: Formula, dtypes: tuple[Any, ...], groups: int, count: int, factors: Sequence[Any]
) -> Any:
    """Return the kernel for rows of these dtypes and `groups` groups of `count` coefficients.

    `factors` holds the dtype of the last coefficient if it is on the device.
    """
    key = ("cuda", dtypes, groups, count, *factors)
    found = rule.memory.get(key)
    if found is None:
        import cupy

        trace = rule.trace(("B",) * len(dtypes) + ("",) * (count + len(factors)), "B")
        rule.check_results(trace.results, len(dtypes) - 1)
        names = [dtype.name for dtype in dtypes]
        operands = (*names, *(NUMBER,) * count, *(dtype.name for dtype in factors))
        types = Types(computed_in(dtypes[0]).name, operands, (names[0], *names[2:]))
        name = name_of(rule)
        text = update_source(trace, types, groups, count, name)
        found = rule.memory[key] = cupy.RawKernel(text, name)
    return found


def _chunks(
    dtypes: Sequence[Any], rows: Sequence[Sequence[Array]], groups: Sequence[int]
) -> np.ndarray[Any, Any]:
    """Return the table with the addresses, size and group of each chunk, sorted by group."""
    addresses = np.array([[array.data.ptr for array in row] for row in rows], np.int64)
    sizes = np.array([row[0].size for row in rows], np.int64)
    counts = -(-sizes // CHUNK)
    row_of = np.repeat(np.arange(len(rows)), counts)
    starts = CHUNK * (np.arange(len(row_of)) - np.repeat(np.cumsum(counts) - counts, counts))
    bytes_before = starts[:, None] * [dtype.itemsize for dtype in dtypes]
    made = np.column_stack(
        [
            addresses[row_of] + bytes_before,
            np.minimum(sizes[row_of] - starts, CHUNK),
            np.asarray(groups, np.int64)[row_of],
        ]
    )
    return made[np.argsort(made[:, -1], kind="stable")]
