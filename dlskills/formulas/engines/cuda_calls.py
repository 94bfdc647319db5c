"""Calls of the engine ``cuda``: kernels, and the passing of operands and results."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays import philox
from dlskills.arrays.backend import Array
from dlskills.arrays.random import Mask, without_masks
from dlskills.formulas.cuda_lines import form_of, geometry, kernel_source
from dlskills.formulas.cuda_source import (
    CTYPES,
    MASK,
    NUMBER,
    Types,
    computed_in,
    elementwise_source,
    name_of,
)
from dlskills.formulas.engines import plain
from dlskills.formulas.layout import Layout, Shape, broadcast_shape, layout_of
from dlskills.formulas.trace import Trace, UnsuitedFormulaError, Value

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula

Call = Callable[[Sequence[Any], Sequence[Array | None] | None], tuple[Array, ...]]


def prepared(
    formula: Formula,
    operands: Sequence[Any],
    axis: tuple[int, ...] | None,
    out: Sequence[Array | None] | None,
) -> Call:
    """Return the prepared call of a formula for operands like these, cached."""
    array = type(operands[0])
    key = (
        "cuda",
        axis,
        out if out is None else tuple(_kind(o, array) for o in out),
        *[_kind(o, array) for o in operands],
    )
    call: Call | None = formula.memory.get(key)
    if call is None:
        call = formula.remember(key, _prepare(formula, operands, axis, out))
    return call


def _kind(operand: Any, array: Any) -> Any:
    """Return an operand's part of the key of a prepared call."""
    if isinstance(operand, array):
        return operand.shape, operand.strides, operand.dtype
    return operand.shape if type(operand) is Mask else None


def _prepare(
    formula: Formula,
    operands: Sequence[Any],
    axis: tuple[int, ...] | None,
    out: Sequence[Array | None] | None,
) -> Call:
    """Prepare a call for operands of these shapes, strides and dtypes."""

    def by_plain(operands: Sequence[Any], out: Sequence[Array | None] | None) -> tuple[Array, ...]:
        return plain.ENGINE.run(formula, without_masks(operands), axis, out)

    if operands[0].dtype.kind != "f":
        return by_plain
    masks = [o for o in operands if type(o) is Mask]
    if masks and (axis is not None or not _fits_masks(operands, masks[0].shape)):
        made = _prepare(formula, without_masks(operands), axis, out)
        return lambda operands, out: made(without_masks(operands), out)
    if axis is None and not masks:
        return _Elementwise(formula, operands, out).run
    shapes = tuple(tuple(o.shape) if hasattr(o, "shape") else None for o in operands)
    layout = layout_of(shapes, axis)
    if layout is None:
        return by_plain
    return _Call(formula, operands, layout, bool(masks), out).run


def _fits_masks(operands: Sequence[Any], shape: Shape) -> bool:
    """Return whether each array has the shape of the masks or has one element."""
    return 0 not in shape and all(
        o.shape == shape or (type(o) is not Mask and o.size == 1)
        for o in operands
        if hasattr(o, "shape")
    )


def _names(operands: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of the operands' dtypes, for :class:`Types`."""
    names = []
    for i, operand in enumerate(operands):
        if type(operand) is Mask:
            names.append(MASK)
        elif isinstance(operand, type(operands[0])):
            if operand.dtype.name not in CTYPES:
                raise UnsuitedFormulaError(
                    f"operand {i} has dtype {operand.dtype}, which CUDA kernels don't support"
                )
            names.append(operand.dtype.name)
        else:
            names.append(NUMBER)
    return tuple(names)


class _Elementwise:
    """A call of a CuPy ElementwiseKernel, which handles broadcasting and strides."""

    def __init__(
        self, formula: Formula, operands: Sequence[Any], out: Sequence[Array | None] | None
    ) -> None:
        trace = formula.trace(*_dims_of(operands))
        given = [None] * len(trace.results) if out is None else out
        formula.check_results(trace.results, len(given))
        self.shape, dtype = broadcast_shape(operands), operands[0].dtype
        results = tuple(dtype.name if o is None else o.dtype.name for o in given)
        types = Types(computed_in(dtype).name, _names(operands), results)
        self.kernel = _elementwise_kernel(*elementwise_source(trace, types), name_of(formula))
        self.new = [(i, dtype) for i, o in enumerate(given) if o is None]
        self.reshaped = [i for i, o in enumerate(given) if o is not None and o.shape != self.shape]

    def run(self, operands: Sequence[Any], out: Sequence[Array | None] | None) -> tuple[Array, ...]:
        if out is None:
            made = self.kernel(*operands)
            return made if isinstance(made, tuple) else (made,)
        into: list[Any] = list(out)
        for i, dtype in self.new:
            into[i] = _cupy().empty(self.shape, dtype)
        if not self.reshaped:
            self.kernel(*operands, *into)
            return tuple(into)
        shaped = list(into)
        for i in self.reshaped:
            shaped[i] = _cupy().empty(self.shape, into[i].dtype)
        self.kernel(*operands, *shaped)
        for i in self.reshaped:
            into[i][...] = shaped[i].reshape(into[i].shape)
        return tuple(into)


def _dims_of(operands: Sequence[Any]) -> tuple[tuple[str, ...], str]:
    """Return the dimensions in which each operand varies, and all dimensions."""
    shapes = [tuple(o.shape) if hasattr(o, "shape") else None for o in operands]
    full = broadcast_shape(operands)
    if all(shape in (None, (), full) for shape in shapes):
        return tuple("B" if shape == full else "" for shape in shapes), "B"
    letters = {d: chr(ord("a") + d) for d, size in enumerate(full) if size != 1}
    kinds = []
    for shape in shapes:
        padded = (1,) * len(full) if shape is None else (1,) * (len(full) - len(shape)) + shape
        kinds.append("".join(letter for d, letter in letters.items() if padded[d] != 1))
    return tuple(kinds), "".join(letters.values())


class _Call:
    """A call of a kernel over contiguous arrays."""

    def __init__(
        self,
        formula: Formula,
        operands: Sequence[Any],
        layout: Layout,
        masked: bool,
        out: Sequence[Array | None] | None,
    ) -> None:
        trace = formula.trace(layout.kinds, layout.dims)
        given = [None] * len(trace.results) if out is None else out
        formula.check_results(trace.results, len(given))
        form = "masked" if masked else form_of(layout, trace)
        first = operands[0].dtype
        computed = computed_in(first)
        self.results = [
            _Result(trace, value, layout, first if value.level == "inner" else computed, into)
            for value, into in zip(trace.results, given, strict=True)
        ]
        grid, self.threads = geometry(form, layout)
        # leaves room for the step that is added to an index before its comparison with a size
        wide = layout.length * layout.lines > 2**30
        types = Types(
            computed.name,
            _names(operands),
            tuple(result.dtype.name for result in self.results),
            wide=wide,
            may_alias=any(result.direct for result in self.results),
        )
        name = name_of(formula)
        self.kernel = _raw_kernel(kernel_source(trace, form, types, name), name)
        self.grid = (grid,)
        index = np.int64 if wide else np.int32
        self.sizes = [index(layout.sizes[dim]) for dim in "ALB"]
        self.conversions = [_conversion(operand, computed) for operand in operands]
        self.later = [i for i, result in enumerate(self.results) if result.later]
        self.scratch = _Scratch(len(trace.totals) * grid, computed) if trace.totals else None

    def run(self, operands: Sequence[Any], out: Sequence[Array | None] | None) -> tuple[Array, ...]:
        empty = _cupy().empty
        results: list[Any] = [
            out[i] if result.direct else empty(result.shape, result.dtype)  # type: ignore[index]
            for i, result in enumerate(self.results)
        ]
        arguments = [
            operand if convert is None else convert(operand)
            for operand, convert in zip(operands, self.conversions, strict=True)
        ]
        arguments += results
        arguments += self.sizes
        if self.scratch is not None:
            arguments += self.scratch.here()
        self.kernel(self.grid, self.threads, tuple(arguments))
        for i in self.later:
            into: Any = out[i]  # type: ignore[index]
            into[...] = results[i].reshape(into.shape)
            results[i] = into
        return tuple(results)


class _Result:
    """A result: a new array, a given one (`direct`), or one copied into it `later`."""

    def __init__(
        self, trace: Trace, value: Value, layout: Layout, dtype: Any, into: Array | None
    ) -> None:
        line = layout.reduced if value.level == "line" else layout.shape
        self.shape: Shape = () if value.whole else line
        self.dtype, self.direct, self.later = dtype, False, False
        if into is None:
            return
        if into.size != math.prod(self.shape):
            raise ValueError(
                f"an array in out must have as many elements as its result of shape {self.shape}, "
                f"got shape {into.shape}"
            )
        # the array may be an operand that later passes still read
        early = value.level == "inner" and any(
            any(trace.ends(number)) for number in range(value.passes + 1, trace.passes)
        )
        self.direct = into.flags.c_contiguous and into.dtype.name in CTYPES and not early
        self.later = not self.direct
        if self.direct:
            self.dtype = into.dtype


def _conversion(operand: Any, computed: Any) -> Callable[[Any], Any] | None:
    """Return the conversion of an operand before a launch, None if it needs none."""
    if type(operand) is Mask:
        return lambda mask: philox.kernel_argument(mask.key, mask.block, mask.ratio)
    if not isinstance(operand, _cupy().ndarray):
        return computed.type  # type: ignore[no-any-return]
    return None if operand.flags.c_contiguous else _cupy().ascontiguousarray


class _Scratch:
    """Memory for the blocks' partial sums and for the counter of finished blocks.

    Launches that may run concurrently do not share it. It is not freed while the formula exists, so
    a CUDA graph can replay the kernel.
    """

    def __init__(self, size: int, dtype: Any) -> None:
        self.size, self.dtype = size, dtype
        self.kept: dict[tuple[int, int, int], tuple[Array, Array]] = {}

    def here(self) -> tuple[Array, Array]:
        """Return the partial sums and the counter for the current stream."""
        cuda = _cupy().cuda
        # per-thread default streams all have the same handle
        key = cuda.runtime.getDevice(), cuda.get_current_stream().ptr, threading.get_ident()
        found = self.kept.get(key)
        if found is None:
            parts, counter = _cupy().empty(self.size, self.dtype), _cupy().zeros(1, "uint32")
            found = self.kept[key] = parts, counter
        return found


# Kernels


@functools.cache
def _cupy() -> Any:
    import cupy

    return cupy


@functools.cache
def _elementwise_kernel(inputs: str, outputs: str, body: str, preamble: str, name: str) -> Any:
    return _cupy().ElementwiseKernel(inputs, outputs, body, name, preamble=preamble)


@functools.cache
def _raw_kernel(text: str, name: str) -> Any:
    return _cupy().RawKernel(text, name)
