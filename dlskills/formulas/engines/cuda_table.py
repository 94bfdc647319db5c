"""Updates of many arrays by one kernel, over a table of chunks on the device.

Each block of the kernel updates one chunk. A column of the table says where the chunk is, its size,
and the group whose coefficients it uses. Coefficients are passed to the kernel by value, so a step
copies nothing from the host, except the addresses of gradients that are new arrays of their own.
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
from dlskills.formulas.table import FlatTable

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table

THREADS = 256
NUMBERS_BYTES = 3500  # kernel arguments are limited to 4096 bytes

Vector = np.ndarray[Any, Any]


def prepared(table: Table) -> Ranges | Rows:
    """Return what updates a table; it is on the current device, as are the table's arrays."""
    if isinstance(table, FlatTable) and _is_suited(table.flats):
        return Ranges(table)
    return Rows(table)


class Ranges:
    """Ranges of flat arrays. The arrays may be others in each step."""

    others: Sequence[int] = ()

    def __init__(self, table: FlatTable) -> None:
        flats = table.flats
        self.device = flats[0].device
        self.dtypes = tuple(flat.dtype for flat in flats)
        starts, stops, groups = np.array(table.runs, np.int64).T
        rows, offsets, sizes = _chunks(stops - starts)
        self.chunks = _Chunks(self.dtypes, [starts[rows] + offsets], sizes, groups[rows], flat=True)

    def renew_gradients(self, table: FlatTable) -> bool:
        return bool(table.flats[1].dtype == self.dtypes[1])

    def update(self, table: FlatTable) -> None:
        self.chunks.update(table, table.flats)


class Rows:
    """Rows of arrays by their addresses, one part for each combination of dtypes.

    `others` are the rows that kernels can't update, because their arrays are not contiguous or not
    floating-point.
    """

    def __init__(self, table: Table) -> None:
        self.others: list[int] = []
        alike: dict[tuple[Any, ...], list[int]] = {}
        rows = table.rows
        self.device = rows[0][0].device
        for i, row in enumerate(rows):
            if not _is_suited(row):
                self.others.append(i)
            elif row[0].size:
                alike.setdefault(tuple(array.dtype for array in row), []).append(i)
        groups = np.asarray(table.groups, np.int64)
        self.parts = [
            _Part(dtypes, positions, [rows[i] for i in positions], groups[positions])
            for dtypes, positions in alike.items()
        ]

    def renew_gradients(self, table: Table) -> bool:
        """Use other gradients; return False if they are not laid out like their parameters."""
        rows = table.rows
        return all(part.renew_gradients(rows) for part in self.parts)

    def update(self, table: Table) -> None:
        for part in self.parts:
            part.chunks.update(table)


class _Part:
    """Rows whose arrays have the same dtypes."""

    def __init__(
        self,
        dtypes: tuple[Any, ...],
        positions: list[int],
        rows: Sequence[Sequence[Array]],
        groups: Vector,
    ) -> None:
        self.dtypes, self.positions = dtypes, positions
        self.row_of, self.offsets, sizes = _chunks(np.array([row[0].size for row in rows]))
        columns = [self._addresses(i, [row[i] for row in rows]) for i in range(len(dtypes))]
        self.chunks = _Chunks(dtypes, columns, sizes, groups[self.row_of])

    def _addresses(self, i: int, arrays: Sequence[Array]) -> Vector:
        """Return the address of each chunk in the i-th array of its row."""
        starts: Vector = np.array([array.data.ptr for array in arrays], np.int64)
        offsets: Vector = self.offsets * self.dtypes[i].itemsize
        return starts[self.row_of] + offsets

    def renew_gradients(self, rows: Sequence[Sequence[Array]]) -> bool:
        for i in self.positions:
            if rows[i][1].dtype != self.dtypes[1] or not _is_suited(rows[i]):
                return False
        self.chunks.replace(1, self._addresses(1, [rows[i][1] for i in self.positions]))
        return True


def _is_suited(row: Sequence[Array]) -> bool:
    """Return whether all arrays are contiguous in the same order and have supported dtypes."""
    if row[0].dtype.kind != "f":
        return False
    flags = [array.flags for array in row]
    dense = all(f.c_contiguous for f in flags) or all(f.f_contiguous for f in flags)
    return dense and all(array.dtype.name in CTYPES for array in row)


def _chunks(sizes: Vector) -> tuple[Vector, Vector, Vector]:
    """Cut rows into chunks: the row of each, its first element in that row, and its size."""
    counts = -(-sizes // CHUNK)
    rows = np.repeat(np.arange(len(sizes)), counts)
    offsets = CHUNK * (np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts))
    return rows, offsets, np.minimum(sizes[rows] - offsets, CHUNK)


class _Chunks:
    """A table of chunks on the device, sorted by group, and the launches of kernels over it."""

    def __init__(
        self,
        dtypes: tuple[Any, ...],
        places: Sequence[Vector],
        sizes: Vector,
        groups: Vector,
        flat: bool = False,
    ) -> None:
        import cupy

        self.dtypes, self.flat = dtypes, flat
        self.computed = computed_in(dtypes[0])
        self.order = np.argsort(groups, kind="stable")
        self.groups = groups[self.order]
        columns = np.stack([*places, sizes, groups]).astype(np.int64)
        self.table = cupy.asarray(np.ascontiguousarray(columns[:, self.order]))
        self.count = np.int32(len(sizes))
        self.known: dict[int, list[tuple[int, Any, Any]]] = {}

    def replace(self, i: int, places: Vector) -> None:
        """Replace the i-th place of all chunks; they are given in their original order."""
        import cupy

        self.table[i].set(places[self.order], stream=cupy.cuda.get_current_stream())

    def update(self, table: Table, leading: Sequence[Array] = ()) -> None:
        """Run the table's rule over all chunks; `leading` are the flat arrays, if any."""
        numbers = table.numbers
        factor = [n for n in numbers[0][-1:] if hasattr(n, "dtype")]  # on the device
        count = len(numbers[0]) - len(factor)
        values = np.array([own[:count] for own in numbers], self.computed)
        groups = min(at_once(count, values.itemsize), len(numbers))
        factors = [n.dtype for n in factor]
        kernel = update_kernel(table.rule, self.dtypes, groups, count, factors, self.flat)
        for first, begin, blocks in self.launches(groups):
            own = values[first : first + groups]
            if len(own) < groups:  # the kernel's argument has a fixed size
                own = np.resize(own, (groups, count))
            given = [own.reshape(-1).view(f"V{own.nbytes}")] if count else []
            places = (self.table, self.count, begin, np.int32(first), *leading)
            kernel((blocks,), (THREADS,), (*places, *given, *factor))

    def launches(self, groups: int) -> list[tuple[int, Any, Any]]:
        """Return the first group, the first chunk and the number of chunks of each launch."""
        found = self.known.get(groups)
        if found is None:
            found = self.known[groups] = []
            for first in range(0, int(self.groups[-1]) + 1, groups):
                begin, end = np.searchsorted(self.groups, (first, first + groups)).tolist()
                if begin < end:
                    found.append((first, np.int32(begin), end - begin))
        return found


def at_once(count: int, itemsize: int) -> int:
    """Return the maximum number of groups, of `count` coefficients each, per launch."""
    return NUMBERS_BYTES // (max(count, 1) * itemsize)


def update_kernel(
    rule: Formula,
    dtypes: tuple[Any, ...],
    groups: int,
    count: int,
    factors: Sequence[Any],
    flat: bool,
) -> Any:
    """Return the kernel for rows of these dtypes and `groups` groups of `count` coefficients.

    `factors` holds the dtype of the last coefficient if it is on the device; `flat` says whether
    chunks are ranges of flat arrays.
    """
    key = ("cuda", dtypes, groups, count, flat, *factors)
    found = rule.memory.get(key)
    if found is None:
        import cupy

        trace = rule.trace(("B",) * len(dtypes) + ("",) * (count + len(factors)), "B")
        rule.check_results(trace.results, len(dtypes) - 1)
        names = [dtype.name for dtype in dtypes]
        operands = (*names, *(NUMBER,) * count, *(dtype.name for dtype in factors))
        types = Types(computed_in(dtypes[0]).name, operands, (names[0], *names[2:]))
        name = name_of(rule)
        text = update_source(trace, types, groups, count, flat, name)
        found = rule.memory[key] = cupy.RawKernel(text, name)
    return found
