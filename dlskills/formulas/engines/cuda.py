"""The engine ``cuda``: runs each formula as one CUDA kernel, for CuPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array, get_backend
from dlskills.arrays.cuda import DeviceError
from dlskills.formulas.engines.base import Engine

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table

# The modules that write and call kernels are imported on first use: most programs have no GPU.


class Cuda(Engine):
    """Engine that compiles a kernel at the first call with each kind of arrays."""

    name = "cuda"
    library = "cupy"
    fuses = True
    takes_masks = True

    def missing(self) -> str | None:
        try:
            get_backend("cuda")
        except DeviceError as error:
            return str(error)
        return None

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        from dlskills.formulas.engines.cuda_calls import prepared

        if not _is_current(operands[0]):
            with operands[0].device:
                return self.run(formula, operands, axis, out)
        return prepared(formula, operands, axis, out)(operands, out)

    def update(self, table: Table) -> None:
        first = table.rows[0][0]
        if not _is_current(first):
            with first.device:
                self.update(table)
            return
        if len(table.rows) == 1:
            super().update(table)
            return
        found = table.memory.get(self.name)
        if found is None:
            from dlskills.formulas.engines.cuda_table import Rows

            found = table.memory[self.name] = Rows(table)
        found.update(table)
        for i in found.others:
            self.update_row(table.rule, table.rows[i], table.numbers[table.groups[i]])


ENGINE = Cuda()


def _is_current(array: Array) -> bool:
    """Return whether an array is on the current device."""
    import cupy

    return bool(array.data.device_id == cupy.cuda.runtime.getDevice())
