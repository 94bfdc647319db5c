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

        if operands[0].data.device_id != _current():
            with operands[0].device:
                return self.run(formula, operands, axis, out)
        return prepared(formula, operands, axis, out)(operands, out)

    def update(self, table: Table) -> None:
        found: Any = table.memory.get(self.name)
        if found is None:
            from dlskills.formulas.engines.cuda_table import prepared

            with table.alike[0].device:
                found = table.memory[self.name] = prepared(table)
        if found.device.id != _current():
            with found.device:
                self.update(table)
            return
        found.update(table)
        if found.others:
            rows = table.rows
            for i in found.others:
                self.update_row(table.rule, rows[i], table.numbers[table.groups[i]])


ENGINE = Cuda()


def _current() -> int:
    """Return the number of the current device."""
    import cupy

    return int(cupy.cuda.runtime.getDevice())
