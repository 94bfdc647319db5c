"""CUDA C++ of a formula's kernels.

A formula with neither reductions nor sums over everything is the body of one of CuPy's own
elementwise kernels, which knows all strides. The others are kernels over contiguous arrays, in one
of five forms:

===========  ===================================================================================
``flat``     no lines: a loop over all elements, shared by all threads of the grid
``rows``     neighbours in memory are of one line, which is short: up to a warp for a line
``block``    neighbours are of one line: a block for a line
``columns``  neighbours are of different lines: 32 lines for a block
``masked``   elementwise, with random masks: each thread computes a block of random bits
===========  ===================================================================================

Sums over everything are the same in each run: each block leaves its part, and the one that is last
adds them up, in their order. What follows from these sums is computed there as well.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlskills.arrays import philox
from dlskills.formulas.layout import Layout
from dlskills.formulas.operators import OPERATORS, REDUCTIONS
from dlskills.formulas.trace import Trace, Value

CTYPES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "float16": "float16", "float32": "float", "float64": "double",
}  # fmt: skip
"""C++ types by the names of dtypes."""

NUMBER, MASK = "number", "mask"
"""What stands for the dtype of operands that are no arrays."""

SHORT = 256  # elements of a line: up to that a warp is enough
THREADS = 512  # of a block at most: each may have 128 registers
FLAT_BLOCKS = 1024  # at most: some 8 for each multiprocessor of a large GPU


@dataclass(frozen=True)
class Types:
    """The dtypes of a kernel, by name.

    Attributes
    ----------
    computed : str
        What it computes in.
    operands : tuple of str
        Those of arrays; NUMBER for a number, MASK for a random mask.
    results : tuple of str
    wide : bool
        Whether indices need 64 bits.
    may_alias : bool
        Whether results may lie where operands do.
    """

    computed: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    wide: bool = False
    may_alias: bool = False


def computed_in(dtype: Any) -> Any:
    """The dtype that is computed in, for a first operand of this one."""
    return np.dtype("float32") if dtype == np.float16 else dtype


def name_of(function: object) -> str:
    """A kernel's name: what C++ takes for one."""
    words = re.sub(r"\W", "_", getattr(function, "__name__", "formula"), flags=re.ASCII)
    return f"dlskills_{words.strip('_') or 'formula'}"


# How threads share the work


def form_of(layout: Layout, trace: Trace) -> str:
    """The form of the kernel that suits a problem."""
    if layout.dims == "B" and not trace.reductions:
        return "flat"
    if layout.dims == "AL":
        return "columns"
    return "rows" if layout.dims == "LB" and layout.sizes["B"] <= SHORT else "block"


def geometry(form: str, layout: Layout) -> tuple[int, tuple[int, int]]:
    """The number of blocks, and the threads of a block in two dimensions."""
    a, lines, b = (layout.sizes[dim] for dim in "ALB")
    if form == "flat":
        return min(-(-b // 1024), FLAT_BLOCKS), (256, 1)
    if form == "masked":
        return -(-b // (256 * philox.WORDS)), (256, 1)
    if form == "rows":
        x = min(_power_of_two(b), 32)
        return -(-lines // (128 // x)), (x, 128 // x)
    if form == "columns":
        return -(-lines // 32), (32, min(_power_of_two(-(-a // 4)), THREADS // 32))
    # about four elements for each thread, and whole warps
    if "A" not in layout.dims:
        return lines, (min(max(_power_of_two(-(-b // 4)), 32), THREADS), 1)
    rows = _power_of_two(-(-a // 4))
    x = min(_power_of_two(b), THREADS // min(rows, 8))
    return lines, (x, max(min(rows, THREADS // x), 32 // x))


def _power_of_two(number: int) -> int:
    """The least one that is as large as a number."""
    return 1 << (number - 1).bit_length()


# Elementwise kernels


def elementwise_source(trace: Trace, types: Types) -> tuple[str, str, str, str]:
    """The inputs, the outputs, the body and the preamble of a CuPy ElementwiseKernel.

    All operands are read before any result is written: they may share memory.
    """
    inputs = [
        f"{types.computed if dtype == NUMBER else dtype} in{i}"
        for i, dtype in enumerate(types.operands)
    ]
    outputs = [f"{dtype} out{i}" for i, dtype in enumerate(types.results)]
    writer = _Writer(trace, types)
    for value in trace.values:
        load = f"T(in{value.args[0]})" if value.op == "load" else ""
        writer.define(0, value, load)
    for i, result in enumerate(trace.results):
        writer.put(0, f"out{i} = {writer.stored(i, result)};")
    preamble = f"typedef {CTYPES[types.computed]} T;"
    return ", ".join(inputs), ", ".join(outputs), "\n".join(writer.lines), preamble


class _Writer:
    """Lines of C++ that define a trace's values."""

    def __init__(self, trace: Trace, types: Types) -> None:
        self.trace, self.types = trace, types
        self.lines: list[str] = []

    def put(self, indent: int, *lines: str) -> None:
        self.lines += ["    " * indent + line for line in lines]

    def define(self, indent: int, value: Value, load: str = "") -> None:
        """A constant of a value's name; that of an operand is `load`."""
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
        """A value as an expression reads it."""
        return literal(value.args[0]) if value.op == "number" else value.name

    def stored(self, result: int, value: Value) -> str:
        """A value as it is written to a result's array."""
        return f"({CTYPES[self.types.results[result]]}){self.name(value)}"


def literal(number: float) -> str:
    """A number in C++; NVIDIA's compiler at run time has no headers with INFINITY and NAN."""
    if math.isnan(number):
        return "T(0.0 / 0.0)"
    if math.isinf(number):
        return f"T({'-' if number < 0 else ''}1.0 / 0.0)"
    return f"T({number!r})"


# Kernels over contiguous arrays

_ALL = """\
#ifdef __HIP_PLATFORM_AMD__
#define ACROSS(v, m) __shfl_xor(v, m, 32)
#else
#define ACROSS(v, m) __shfl_xor_sync(0xffffffffu, v, m)
#endif
// over the threads of a warp, or over groups of `width` of them; each thread gets the result
template <class Op> __device__ T across_warp(T v, int width = 32) {
    for (int m = width / 2; m; m >>= 1) v = Op::of(v, ACROSS(v, m));
    return v;
}
template <class Op> __device__ T across_block(T v, T* shared) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int warps = blockDim.x * blockDim.y / 32;
    v = across_warp<Op>(v);
    __syncthreads();  // others may still be reading what was shared before
    if (thread % 32 == 0) shared[thread / 32] = v;
    __syncthreads();
    v = shared[0];
    for (int warp = 1; warp < warps; ++warp) v = Op::of(v, shared[warp]);
    return v;
}
template <class Op> __device__ T across_columns(T v, T* shared) {
    T* const mine = shared + threadIdx.y * 32 + threadIdx.x;
    __syncthreads();
    *mine = v;
    __syncthreads();
    for (int half = blockDim.y / 2; half; half >>= 1) {
        if (threadIdx.y < half) *mine = Op::of(*mine, mine[half * 32]);
        __syncthreads();
    }
    return shared[threadIdx.x];
}
"""

_THREAD = "(Index)blockIdx.x * blockDim.x + threadIdx.x"

# For each form: where its threads are, and how they join what each one has of a line.
_PLACES = {
    "flat": [],
    "rows": [
        "const Index line = (Index)blockIdx.x * blockDim.y + threadIdx.y;",
        "const bool there = line < lines, leader = there && threadIdx.x == 0;",
    ],
    "columns": [
        "const Index line = (Index)blockIdx.x * 32 + threadIdx.x;",
        "const bool there = line < lines, leader = there && threadIdx.y == 0;",
    ],
    "block": [
        "const Index line = blockIdx.x;",
        "const bool there = true, leader = threadIdx.x == 0 && threadIdx.y == 0;",
    ],
}
_JOINED = {
    "rows": "across_warp<{op}>({name}, blockDim.x)",
    "columns": "across_columns<{op}>({name}, shared)",
    "block": "across_block<{op}>({name}, shared)",
}
_SIZES = {"A": "size_a", "L": "lines", "B": "size_b"}
_INDICES = {"A": "a", "L": "line", "B": "b"}


def kernel_source(trace: Trace, form: str, types: Types, name: str) -> str:
    """The text of a kernel.

    It takes the operands, the arrays of results, the sizes of A, L and B, and, if there are sums
    over everything, an array for each block's parts, and a counter of blocks, which is zero.
    """
    made = (_Masked if form == "masked" else _Lines)(trace, form, types)
    made.write(name)
    return "\n".join(made.lines) + "\n"


def type_lines(types: Types) -> list[str]:
    """The definitions that every kernel begins with."""
    half = "float16" in (*types.operands, *types.results)
    return [
        *(["#include <cupy/float16.cuh>"] if half else []),
        f"typedef {CTYPES[types.computed]} T;",
        f"typedef {'long long' if types.wide else 'int'} Index;",
    ]


class _Kernel(_Writer):
    """What all forms have in common."""

    def __init__(self, trace: Trace, form: str, types: Types) -> None:
        super().__init__(trace, types)
        self.form = form

    def head(self, name: str) -> None:
        """The kernel's arguments, and what is the same for all elements."""
        restrict = "" if self.types.may_alias else "__restrict__ "
        arguments = []
        for i, dtype in enumerate(self.types.operands):
            if dtype == NUMBER:
                arguments.append(f"const T in{i}")
            elif dtype == MASK:
                arguments.append(f"const Mask in{i}")
            else:
                arguments.append(f"const {CTYPES[dtype]}* {restrict}in{i}")
        arguments += [
            f"{CTYPES[dtype]}* {restrict}out{i}" for i, dtype in enumerate(self.types.results)
        ]
        arguments += ["const Index size_a", "const Index lines", "const Index size_b"]
        if self.trace.totals:
            arguments += ["T* partial", "unsigned int* arrived"]
        # one block for a multiprocessor will do: else NVIDIA's compiler spills for the sake of more
        bounds = f"__launch_bounds__({THREADS}, 1)"
        self.put(0, f'extern "C" __global__ void {bounds} {name}({", ".join(arguments)}) {{')
        for value in self.trace.of_level("number"):
            self.define(1, value, self.load(value))

    def load(self, value: Value) -> str:
        """The operand of a value."""
        if value.op != "load":
            return ""
        position = value.args[0]
        if self.types.operands[position] == NUMBER:
            return f"in{position}"
        return f"T(in{position}[{self.at(value.dims)}])"

    @staticmethod
    def at(dims: str) -> str:
        """The index of an element of an array that varies in these dimensions."""
        text = ""
        for dim in dims:
            text = f"({text}) * {_SIZES[dim]} + {_INDICES[dim]}" if text else _INDICES[dim]
        return text or "0"


class _Lines(_Kernel):
    """Lines, of which each is gone through as often as the formula's reductions need it."""

    def write(self, name: str) -> None:
        trace, put = self.trace, self.put
        self.lines += type_lines(self.types)
        for op in dict.fromkeys(_reduction(v.op) for v in trace.reductions + trace.totals):
            join = OPERATORS[REDUCTIONS[op][0]].cuda.format("a", "b")
            put(0, f"struct {_functor(op)} {{")
            put(1, f"static __device__ T of(T a, T b) {{ return {join}; }}")
            put(0, "};")
        put(0, _ALL)
        self.head(name)
        put(1, f"__shared__ T shared[{THREADS}];")
        put(1, *_PLACES[self.form])
        put(1, *(f"T {total.name}_part = T(0);" for total in trace.totals))
        for number in range(trace.passes):
            self.between(number)
            self.a_pass(number)
        if trace.totals:
            self.finish()
        put(0, "}")

    def between(self, number: int) -> None:
        """The values of a line that are known before a pass."""
        trace, put = self.trace, self.put
        for value in trace.of_level("line", number):
            self.define(1, value, f"there ? {self.load(value)} : T(0)")
        for i, value in enumerate(trace.results):
            if value.level == "line" and value.passes == number:
                put(1, f"if (leader) out{i}[line] = {self.stored(i, value)};")
        for total in trace.totals:
            value = total.args[0]
            if value.level == "line" and value.passes == number:
                put(1, f"if (leader) {total.name}_part += {self.name(value)};")

    def a_pass(self, number: int) -> None:
        trace, put = self.trace, self.put
        reductions, totals, results = trace.ends(number)
        if not (reductions or totals or results):
            return
        for value in reductions:
            put(1, f"T {value.name} = {literal(REDUCTIONS[value.op][1])};")
        for loop in self.loops():
            put(1, loop)
        for value in trace.inner(number):
            self.define(2, value, self.load(value))
        for value in reductions:
            put(2, self.added(value.op, value.name, value.args[0]))
        for total in totals:
            put(2, self.added(total.op, f"{total.name}_part", total.args[0]))
        for i, value in results:
            put(2, f"out{i}[{self.at(trace.dims)}] = {self.stored(i, value)};")
        put(1, "}")
        for value in reductions:
            joined = _JOINED[self.form].format(op=_functor(value.op), name=value.name)
            put(1, f"{value.name} = {joined};")

    def added(self, op: str, name: str, value: Value) -> str:
        return f"{name} = {_functor(op)}::of({name}, T({self.name(value)}));"

    def loops(self) -> list[str]:
        """The heads of the loops over what a thread has of a line; the last one opens a block."""
        if self.form == "flat":
            step = "(Index)gridDim.x * blockDim.x"
            return [f"for (Index b = {_THREAD}; b < size_b; b += {step}) {{"]
        heads = []
        for dim, axis in ("A", "y"), ("B", "x"):
            if dim in self.trace.dims:
                i, size = _INDICES[dim], _SIZES[dim]
                step = f"{i} += blockDim.{axis}"
                heads.append(f"for (Index {i} = threadIdx.{axis}; {i} < {size}; {step})")
        return ["if (there)", *heads[:-1], heads[-1] + " {"]

    def finish(self) -> None:
        """Sums over everything, and what follows from them."""
        put, totals = self.put, self.trace.totals
        put(1, "__shared__ bool last;")
        put(1, "const int thread = threadIdx.y * blockDim.x + threadIdx.x;")
        for total in totals:
            name = f"{total.name}_part"
            put(1, f"{name} = across_block<Sum>({name}, shared);")
        put(1, "if (thread == 0) {")
        for i, total in enumerate(totals):
            put(2, f"partial[{i} * gridDim.x + blockIdx.x] = {total.name}_part;")
        put(2, "__threadfence();")
        put(2, "last = atomicAdd(arrived, 1u) == gridDim.x - 1;")
        put(1, "}", "__syncthreads();", "if (!last) return;", "__threadfence();")
        put(1, *(f"T {total.name} = T(0);" for total in totals))
        put(1, "for (int i = thread; i < gridDim.x; i += blockDim.x * blockDim.y) {")
        for i, total in enumerate(totals):
            put(2, f"{total.name} += ((volatile T*)partial)[{i} * gridDim.x + i];")
        put(1, "}")
        put(1, *(f"{t.name} = across_block<Sum>({t.name}, shared);" for t in totals))
        put(1, "if (thread == 0) {", "    *arrived = 0;  // for the next launch")
        for value in self.trace.values:
            if value.whole:
                self.define(2, value)
        for i, value in enumerate(self.trace.results):
            if value.whole:
                put(2, f"*out{i} = {self.stored(i, value)};")
        put(1, "}")


def _reduction(op: str) -> str:
    return "sum" if op == "total" else op


def _functor(op: str) -> str:
    return _reduction(op).capitalize()


class _Masked(_Kernel):
    """Eight elements for each thread, for which it computes one block of random bits."""

    def write(self, name: str) -> None:
        trace, put = self.trace, self.put
        self.lines += type_lines(self.types)
        put(0, philox.SOURCE)
        self.head(name)
        put(1, f"const Index block = {_THREAD};")
        masks = [i for i, dtype in enumerate(self.types.operands) if dtype == MASK]
        put(1, *(f"const Philox bits{i}(in{i}, block);" for i in masks))
        # else the bits, indexed by a variable, would lie in memory
        put(1, "#pragma unroll", f"for (int j = 0; j < {philox.WORDS}; ++j) {{")
        put(2, f"const Index b = {philox.WORDS} * block + j;", "if (b >= size_b) break;")
        for value in trace.inner(0):
            self.define(2, value, self.load(value))
        for i, value in enumerate(trace.results):
            put(2, f"out{i}[b] = {self.stored(i, value)};")
        put(1, "}")
        put(0, "}")

    def load(self, value: Value) -> str:
        if value.op == "load" and self.types.operands[value.args[0]] == MASK:
            return f"T(bits{value.args[0]}.kept(j, in{value.args[0]}.ratio))"
        return super().load(value)


# Updates of many arrays

CHUNK = 4096
"""Elements of an array that one block updates."""


def update_source(trace: Trace, types: Types, groups: int, numbers: int, name: str) -> str:
    """The text of a kernel for an update rule, over a table of arrays.

    It takes, for each block, the addresses of its part of parameter, gradient and slots, its
    number of elements, and which row of coefficients is its own; the number of rows before; these
    rows; and, where it is on the device, the last coefficient, which all of them share.
    """
    writer = _Writer(trace, types)
    put = writer.put
    arrays = [value for value in trace.loads if value.level == "inner"]
    columns = len(arrays) + 2
    arguments = [
        "const long long* __restrict__ chunks",
        "const int first",
        *(["const Numbers numbers"] if numbers else []),
        *(f"const {CTYPES[dtype]}* factor" for dtype in types.operands[len(arrays) + numbers :]),
    ]
    writer.lines += type_lines(types)
    if numbers:
        put(0, f"struct Numbers {{ T of[{groups}][{numbers}]; }};")
    put(0, f'extern "C" __global__ void {name}({", ".join(arguments)}) {{')
    put(1, f"const long long* const chunk = chunks + (long long)blockIdx.x * {columns};")
    for i, value in enumerate(arrays):
        kind = CTYPES[types.operands[i]]
        put(1, f"{kind}* const {value.name}_ = ({kind}*)chunk[{i}];")
    put(1, f"const int size = chunk[{columns - 2}];")
    if groups > 1:
        put(1, f"const int group = chunk[{columns - 1}] - first;")
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
