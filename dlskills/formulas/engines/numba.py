"""The engine ``numba``: runs formulas as compiled loops over NumPy arrays."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.formulas import threads
from dlskills.formulas.engines import numba_kernels, plain
from dlskills.formulas.engines.base import Engine
from dlskills.formulas.engines.numba_kernels import DTYPES
from dlskills.formulas.layout import Layout, layout_of
from dlskills.installation import install_command

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table

# Up to this size, NumPy's functions are cheaper than importing Numba, compiling and calling.
SMALL = 4096

_SUPPORTED = "?bBhHiIlLqQfd"  # the dtype characters that a kernel can read


class Numba(Engine):
    """Engine that compiles loops at the first call with arrays of each dtype."""

    name = "numba"
    library = "numpy"
    fuses = True

    def missing(self) -> str | None:
        return _disabled() or _import_problem()

    def suits(self, array: Array, size: int | None = None) -> bool:
        return (
            type(array) is np.ndarray
            and (array.size if size is None else size) > SMALL
            and array.dtype in DTYPES
            and _import_problem() is None
        )

    def run(
        self,
        formula: Formula,
        operands: Sequence[Any],
        axis: tuple[int, ...] | None,
        out: Sequence[Array | None] | None,
    ) -> tuple[Array, ...]:
        key = self.name, axis, *map(_kind, operands)
        call: Call | None = formula.memory.get(key)
        if call is None:
            call = formula.remember(key, _prepare(formula, operands, axis))
        return call(operands, out)

    def update(self, table: Table) -> None:
        prepared = table.memory.get(self.name)
        if prepared is None:
            from dlskills.formulas.engines.numba_table import Rows

            prepared = table.memory[self.name] = Rows(table)
        prepared.update(table)


ENGINE = Numba()


def _kind(operand: Any) -> Any:
    """Return an operand's part of the key of a prepared call."""
    if isinstance(operand, np.ndarray):
        return operand.shape, operand.strides, operand.dtype
    return type(operand)


def _disabled() -> str | None:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set. Unset it"
    return None


@functools.cache
def _import_problem() -> str | None:
    if problem := _disabled():  # Numba reads the variable only when it is imported
        return problem
    try:
        import numba  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "numba":
            return f"numba is not installed: {install_command('jit')}"
        return f"numba fails to import: {error}"
    except Exception as error:  # for example, a release that does not support this NumPy
        return f"numba fails to import: {error}"
    return None


# Prepared calls

_NO_SUMS = np.empty(0)


Call = Callable[[Sequence[Any], Sequence[Array | None] | None], tuple[Array, ...]]


def _prepare(formula: Formula, operands: Sequence[Any], axis: tuple[int, ...] | None) -> Call:
    """Prepare a call for operands of these shapes, strides and dtypes."""
    # imported here, since programs with only small arrays don't need it
    from dlskills.formulas import numba_source

    for i, operand in enumerate(operands):
        if not isinstance(operand, np.ndarray | int | float):
            kind = type(operand).__name__
            raise TypeError(f"operand {i} of a formula must be an array or a number, got a {kind}")
    dtype = operands[0].dtype
    shapes = tuple(tuple(o.shape) if hasattr(o, "shape") else None for o in operands)
    layout = layout_of(shapes, axis) if dtype in DTYPES else None
    if layout is None:
        return lambda operands, out: plain.ENGINE.run(formula, operands, axis, out)
    trace = formula.trace(layout.kinds, layout.dims)
    form = numba_source.form_of(layout, trace)
    kernel = numba_kernels.kernel_for(numba_source.kernel_source(trace, layout, form), dtype)
    finish = None
    if any(result.whole for result in trace.results):
        finish = numba_kernels.finish_for(numba_source.finish_source(trace))
    return _Call(formula, layout, kernel, finish, form, dtype, operands).run


class _Call:
    """A call of a kernel."""

    def __init__(
        self,
        formula: Formula,
        layout: Layout,
        kernel: Callable[..., None],
        finish: Callable[..., list[float]] | None,
        form: str,
        dtype: Any,
        operands: Sequence[Any],
    ) -> None:
        trace = formula.trace(layout.kinds, layout.dims)
        self.formula, self.kernel, self.finish, self.dtype = formula, kernel, finish, dtype
        self.totals = len(trace.totals)
        self.size_a, self.size_b = layout.sizes["A"], layout.sizes["B"]
        self.lines = layout.sizes["B"] if form == "flat" else layout.lines
        self.size = layout.lines * layout.length
        self.length = layout.length
        self.parts = threads.shares(self.lines, self.size)
        self.conversions = [
            (i, _conversion(operand, layout.shape_of(kind)))
            for i, (operand, kind) in enumerate(zip(operands, layout.kinds, strict=True))
            if not kind or not _is_accepted(operand, layout.shape_of(kind))
        ]
        self.numbers = [i for i, kind in enumerate(layout.kinds) if not kind]
        self.results = [
            _Result(
                i,
                layout.reduced if result.level == "line" else layout.shape,
                layout.shape_of("L" if result.level == "line" else layout.dims)
                if result.level != "line" or layout.lines > 1
                else (1,),
                result.level == "inner" and result.passes < trace.passes - 1,
            )
            for i, result in enumerate(trace.results)
            if not result.whole
        ]
        self.whole = [i for i, result in enumerate(trace.results) if result.whole]
        self.count = len(trace.results)

    def run(self, operands: Sequence[Any], out: Sequence[Array | None] | None) -> tuple[Array, ...]:
        if out is not None and len(out) != self.count:
            self.formula.check_results([None] * self.count, len(out))
        arguments = list(operands)
        for i, convert in self.conversions:
            arguments[i] = convert(operands[i])
        results: list[Any] = [None] * self.count
        later = []
        for result in self.results:
            into = None if out is None else out[result.position]
            if into is None:
                array = np.empty(result.shape, self.dtype)
                results[result.position] = array
            else:
                results[result.position] = array = into
                if not into.flags.writeable:
                    raise ValueError(
                        f"result {result.position} can't be written to a read-only array"
                    )
                if (
                    array.dtype != self.dtype
                    or not array.flags.c_contiguous
                    or (result.early and _overlaps_operand(array, operands))
                ):
                    array = np.empty(result.shape, self.dtype)
                    later.append((into, array))
            arguments.append(
                array if array.shape == result.kernel_shape else array.reshape(result.kernel_shape)
            )
        sums = self.compute(arguments)
        for into, array in later:
            into[...] = array.reshape(into.shape)
        if self.finish is not None:
            numbers = [arguments[i] for i in self.numbers]
            wholes = self.finish(sums, self.size, self.length, *numbers)
            for i, value in zip(self.whole, wholes, strict=True):
                results[i] = self.dtype.type(value)
                into = None if out is None else out[i]
                if into is not None:
                    into[...] = results[i]
                    results[i] = into
        return tuple(results)

    def compute(self, arguments: list[Any]) -> Any:
        """Call the kernel for each share of the lines and return the sums over everything."""
        given = *arguments, self.size_a, self.size_b
        if len(self.parts) == 1:
            sums = np.empty(self.totals) if self.totals else _NO_SUMS
            numba_kernels.call(self.kernel, *given, 0, self.lines, sums)
            return sums
        all_sums = np.zeros((len(self.parts), self.totals))

        def work(i: int) -> None:
            numba_kernels.call(self.kernel, *given, *self.parts[i], all_sums[i])

        threads.in_threads(work, len(self.parts))
        return all_sums.sum(axis=0)


def _is_accepted(operand: Array, shape: tuple[int, ...]) -> bool:
    """Return whether a kernel accepts an array without conversion."""
    if type(operand) is not np.ndarray or operand.dtype.char not in _SUPPORTED:
        return False
    return operand.dtype.isnative and operand.flags.c_contiguous and operand.shape == shape


def _conversion(operand: Any, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return a function that converts an operand to a float or an array that a kernel accepts."""
    if shape:
        dtype = operand.dtype.newbyteorder("=") if operand.dtype.char in _SUPPORTED else np.float64
        return lambda array: np.ascontiguousarray(array, dtype).reshape(shape)
    return float if not hasattr(operand, "shape") else lambda array: float(array.reshape(()))


@dataclass(frozen=True)
class _Result:
    """A result of a kernel.

    Attributes
    ----------
    position : int
    shape, kernel_shape : tuple of int
        The shape of the result, and the shape in which the kernel writes it.
    early : bool
        Whether it is written before a later pass reads the operands.
    """

    position: int
    shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    early: bool


def _overlaps_operand(into: Array, operands: Sequence[Any]) -> bool:
    """Return whether an array may share memory with an operand."""
    return any(np.may_share_memory(into, o) for o in operands if isinstance(o, np.ndarray))
