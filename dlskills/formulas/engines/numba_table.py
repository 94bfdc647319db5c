"""Updates of the engine ``numba``: one loop over a table of the arrays' addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlskills.formulas import threads
from dlskills.formulas.addresses import addresses_of
from dlskills.formulas.engines import blocked
from dlskills.formulas.engines.numba_kernels import DTYPES, call, kernel_for
from dlskills.formulas.formula import Formula
from dlskills.formulas.numba_source import update_source
from dlskills.formulas.table import FlatTable, Table


class Rows:
    """Addresses of a table's arrays, split into shares for threads.

    `others` are the rows whose arrays are not contiguous or not float32 or float64.
    """

    def __init__(self, table: Table) -> None:
        rows = table.rows
        self.arrays, self.dtype = len(rows[0]), table.dtype
        known = self.dtype in DTYPES
        flat = [known and blocked.flattened(row) is not None for row in rows]
        self.inside = [i for i, is_flat in enumerate(flat) if is_flat]
        self.others = [i for i, is_flat in enumerate(flat) if not is_flat]
        self.strides = [rows[i][0].strides for i in self.inside]
        sizes = [rows[i][0].size for i in self.inside]
        cuts = threads.cuts(sizes)
        self.runs = cuts.runs
        self.rows = np.array(cuts.rows, np.int64)
        self.offsets = np.array(cuts.begins, np.int64) * self.dtype.itemsize
        self.sizes = np.array(cuts.sizes, np.int64)
        self.groups = np.array(table.groups, np.int64)[self.inside][self.rows]
        every = [array for i in self.inside for array in rows[i]]
        addresses = np.array(addresses_of(every), np.int64).reshape((-1, self.arrays))
        self.addresses = addresses[self.rows] + self.offsets[:, np.newaxis]

    def renew_gradients(self, table: Table) -> bool:
        """Use other gradients; return False if they are not laid out like their parameters."""
        if isinstance(table, FlatTable) and not self.others:
            param, grad = addresses_of(table.flats[:2])
            self.addresses[:, 1] = self.addresses[:, 0] + (grad - param)
            return True
        rows = table.rows
        grads = [rows[i][1] for i in self.inside]
        for i, grad, strides in zip(self.inside, grads, self.strides, strict=True):
            if grad.strides != strides and blocked.flattened(rows[i]) is None:
                return False
        # rows that were not contiguous are only examined again when the table is rebuilt
        addresses = np.array(addresses_of(grads), np.int64)
        self.addresses[:, 1] = addresses[self.rows] + self.offsets
        return True

    def update(self, table: Table) -> None:
        """Update all rows of the table."""
        rule, given = table.rule, table.numbers
        if self.runs:
            kernel = _update_kernel(rule, self.arrays, len(given[0]), self.dtype)
            numbers = np.array(given, np.float64)
            tables = self.addresses, self.sizes, self.groups, numbers
            if len(self.runs) == 1:
                call(kernel, *tables, 0, len(self.sizes))
            else:
                work = lambda i: call(kernel, *tables, *self.runs[i])  # noqa: E731
                threads.in_threads(work, len(self.runs))
        for i in self.others:
            row = table.rows[i]
            blocked.ENGINE.update_row(rule, row, given[table.groups[i]])


def _update_kernel(rule: Formula, arrays: int, numbers: int, dtype: Any) -> Callable[..., None]:
    key = "numba", arrays, numbers, dtype
    kernel: Callable[..., None] | None = rule.memory.get(key)
    if kernel is None:
        trace = rule.trace(("B",) * arrays + ("",) * numbers, "B")
        rule.check_results(trace.results, arrays - 1)
        kernel = rule.remember(key, kernel_for(update_source(trace), dtype))
    return kernel
