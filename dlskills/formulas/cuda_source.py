"""CUDA C++ for elementwise formulas and updates, and the parts that all kernels share.

An elementwise formula becomes the body of a CuPy ElementwiseKernel, which handles broadcasting and
strides. An update of many arrays is a kernel of its own, over a table of addresses. Kernels with
reductions are in :mod:`dlskills.formulas.cuda_lines`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlskills.formulas.operators import OPERATORS
from dlskills.formulas.trace import Trace, Value

CTYPES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "float16": "float16", "float32": "float", "float64": "double",
}  # fmt: skip
"""C++ types by dtype name."""

NUMBER, MASK = "number", "mask"
"""Placeholders for the dtypes of operands that are not arrays."""


@dataclass(frozen=True)
class Types:
    """The dtypes of a kernel, by name.

    Attributes
    ----------
    computed : str
        The dtype of all arithmetic.
    operands : tuple of str
        The dtype of each array; NUMBER for a number, MASK for a random mask.
    results : tuple of str
        The dtype of each result.
    wide : bool
        Whether indices need 64 bits.
    may_alias : bool
        Whether results may share memory with operands.
    """

    computed: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    wide: bool = False
    may_alias: bool = False


def computed_in(dtype: Any) -> Any:
    """Return the dtype of the arithmetic, given the first operand's dtype."""
    return np.dtype("float32") if dtype == np.float16 else dtype


def name_of(function: object) -> str:
    """Return a valid C++ name for a formula's kernel."""
    words = re.sub(r"\W", "_", getattr(function, "__name__", "formula"), flags=re.ASCII)
    return f"dlskills_{words.strip('_') or 'formula'}"


# Elementwise kernels


def elementwise_source(trace: Trace, types: Types) -> tuple[str, str, str, str]:
    """Return the inputs, outputs, body and preamble of a CuPy ElementwiseKernel.

    The body reads all operands before it writes any result, since they may share memory.
    """
    inputs = [
        f"{types.computed if dtype == NUMBER else dtype} in{i}"
        for i, dtype in enumerate(types.operands)
    ]
    outputs = [f"{dtype} out{i}" for i, dtype in enumerate(types.results)]
    writer = Writer(trace, types)
    for value in trace.values:
        load = f"T(in{value.args[0]})" if value.op == "load" else ""
        writer.define(0, value, load)
    for i, result in enumerate(trace.results):
        writer.put(0, f"out{i} = {writer.stored(i, result)};")
    preamble = f"typedef {CTYPES[types.computed]} T;"
    return ", ".join(inputs), ", ".join(outputs), "\n".join(writer.lines), preamble


def type_lines(types: Types) -> list[str]:
    """Return the definitions that every kernel begins with."""
    half = "float16" in (*types.operands, *types.results)
    return [
        *(["#include <cupy/float16.cuh>"] if half else []),
        f"typedef {CTYPES[types.computed]} T;",
        f"typedef {'long long' if types.wide else 'int'} Index;",
    ]


class Writer:
    """Writer of C++ lines that define a trace's values."""

    def __init__(self, trace: Trace, types: Types) -> None:
        self.trace, self.types = trace, types
        self.lines: list[str] = []

    def put(self, indent: int, *lines: str) -> None:
        self.lines += ["    " * indent + line for line in lines]

    def define(self, indent: int, value: Value, load: str = "") -> None:
        """Define a constant with the value's name; `load` is the expression for an operand."""
        if value.op == "load":
            text = load
        elif value.op in OPERATORS:
            text = OPERATORS[value.op].cuda.format(*map(self.name, value.args))
        elif value.op in ("length", "size"):
            text = {"length": "T(size_a * size_b)", "size": "T(size_a * lines * size_b)"}[value.op]
        else:
            return
        kind = "bool" if value.is_condition else "T"
        self.put(indent, f"const {kind} {value.name} = {text};")

    def name(self, value: Value) -> str:
        """Return the expression that reads a value."""
        return literal(value.args[0]) if value.op == "number" else value.name

    def stored(self, result: int, value: Value) -> str:
        """Return the expression that converts a value to the dtype of a result."""
        return f"({CTYPES[self.types.results[result]]}){self.name(value)}"


def literal(number: float) -> str:
    """Return a number as a C++ literal (NVRTC lacks the headers that define INFINITY and NAN)."""
    if math.isnan(number):
        return "T(0.0 / 0.0)"
    if math.isinf(number):
        return f"T({'-' if number < 0 else ''}1.0 / 0.0)"
    return f"T({number!r})"


# Updates of many arrays

CHUNK = 4096
"""Number of elements that one block updates."""


def update_source(
    trace: Trace, types: Types, groups: int, numbers: int, flat: bool, name: str
) -> str:
    """Return the source of a kernel that applies an update rule to many arrays.

    Each block updates one chunk, which a column of the table `chunks` describes: the chunk's
    addresses in parameter, gradient and slots, or, if `flat`, its start in flat arrays whose
    addresses are arguments; then its size and its group. The other arguments are the table's number
    of columns, the first chunk, the index of the first group, the coefficients of all groups by
    value, and, if the last coefficient is on the device, a pointer to it; all groups share that
    coefficient.
    """
    writer = Writer(trace, types)
    put = writer.put
    arrays = [value for value in trace.loads if value.level == "inner"]
    kinds = [CTYPES[dtype] for dtype in types.operands[: len(arrays)]]
    bases = [f"{kind}* const flat{i}" for i, kind in enumerate(kinds)]
    arguments = [
        "const long long* __restrict__ chunks",
        "const int count",
        "const int begin",
        "const int first",
        *(bases if flat else []),
        *(["const Numbers numbers"] if numbers else []),
        *(f"const {CTYPES[dtype]}* factor" for dtype in types.operands[len(arrays) + numbers :]),
    ]
    writer.lines += type_lines(types)
    if numbers:
        put(0, f"struct Numbers {{ T of[{groups}][{numbers}]; }};")
    put(0, f'extern "C" __global__ void {name}({", ".join(arguments)}) {{')
    put(1, "const long long* const chunk = chunks + begin + blockIdx.x;")
    for i, (kind, value) in enumerate(zip(kinds, arrays, strict=True)):
        place = f"flat{i} + *chunk" if flat else f"({kind}*){_row(i)}"
        put(1, f"{kind}* const {value.name}_ = {place};")
    size = 1 if flat else len(arrays)
    put(1, f"const int size = {_row(size)};")
    if groups > 1:
        put(1, f"const int group = {_row(size + 1)} - first;")
    group = "group" if groups > 1 else "0"
    for value in trace.of_level("number"):
        load = ""
        if value.op == "load":
            i = value.args[0] - len(arrays)
            load = f"numbers.of[{group}][{i}]" if i < numbers else "T(*factor)"
        writer.define(1, value, load)
    put(1, "for (int i = threadIdx.x; i < size; i += blockDim.x) {")
    for value in trace.inner(0):
        writer.define(2, value, f"T({value.name}_[i])")
    written = [array for array in arrays if array.args[0] != 1]  # all but the gradient
    for i, (array, result) in enumerate(zip(written, trace.results, strict=True)):
        put(2, f"{array.name}_[i] = {writer.stored(i, result)};")
    put(1, "}")
    put(0, "}")
    return "\n".join(writer.lines) + "\n"


def _row(i: int) -> str:
    """Return the expression that reads a row of the table of chunks."""
    return f"chunk[{i} * (long long)count]" if i else "*chunk"
