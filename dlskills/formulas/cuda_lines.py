"""CUDA C++ for formulas with reductions, sums over everything, or random masks.

The kernels work on contiguous arrays, in one of five forms:

===========  ===================================================================================
``flat``     no lines: all threads of the grid share one loop over all elements
``rows``     neighbors in memory are on one line, which is short: up to a warp per line
``block``    neighbors in memory are on one line: one block per line
``columns``  neighbors in memory are on different lines: 32 lines per block
``masked``   elementwise, with random masks: each thread computes one block of random bits
===========  ===================================================================================

Sums over everything are deterministic: each block stores a partial sum, and the last block to
finish adds them up in a fixed order. It also computes the values that depend on these sums.
"""

from __future__ import annotations

from dlskills.arrays import philox
from dlskills.formulas.cuda_source import (
    CTYPES,
    MASK,
    NUMBER,
    Types,
    Writer,
    literal,
    type_lines,
)
from dlskills.formulas.layout import Layout
from dlskills.formulas.operators import OPERATORS, REDUCTIONS
from dlskills.formulas.trace import Trace, Value

SHORT = 256  # elements; up to this length a warp per line is enough
THREADS = 512  # maximum per block, which leaves 128 registers per thread
FLAT_BLOCKS = 1024  # maximum; about 8 per multiprocessor of a large GPU


# How threads share the work


def form_of(layout: Layout, trace: Trace) -> str:
    """Return the best kernel form for a problem."""
    if layout.dims == "B" and not trace.reductions:
        return "flat"
    if layout.dims == "AL":
        return "columns"
    return "rows" if layout.dims == "LB" and layout.sizes["B"] <= SHORT else "block"


def geometry(form: str, layout: Layout) -> tuple[int, tuple[int, int]]:
    """Return the number of blocks and the 2-D shape of a block in threads."""
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
    # about four elements per thread, and whole warps
    if "A" not in layout.dims:
        return lines, (min(max(_power_of_two(-(-b // 4)), 32), THREADS), 1)
    rows = _power_of_two(-(-a // 4))
    x = min(_power_of_two(b), THREADS // min(rows, 8))
    return lines, (x, max(min(rows, THREADS // x), 32 // x))


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


# Kernels over contiguous arrays

_ALL = """\
#ifdef __HIP_PLATFORM_AMD__
#define ACROSS(v, m) __shfl_xor(v, m, 32)
#else
#define ACROSS(v, m) __shfl_xor_sync(0xffffffffu, v, m)
#endif
// over a warp, or over groups of `width` threads; each thread gets the result
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

# For each form: the position of a thread, and how threads combine their shares of a line.
_POSITIONS = {
    "flat": [],
    "rows": [
        "const Index line = (Index)blockIdx.x * blockDim.y + threadIdx.y;",
        "const bool valid = line < lines, leader = valid && threadIdx.x == 0;",
    ],
    "columns": [
        "const Index line = (Index)blockIdx.x * 32 + threadIdx.x;",
        "const bool valid = line < lines, leader = valid && threadIdx.y == 0;",
    ],
    "block": [
        "const Index line = blockIdx.x;",
        "const bool valid = true, leader = threadIdx.x == 0 && threadIdx.y == 0;",
    ],
}
_COMBINED = {
    "rows": "across_warp<{op}>({name}, blockDim.x)",
    "columns": "across_columns<{op}>({name}, shared)",
    "block": "across_block<{op}>({name}, shared)",
}
_SIZES = {"A": "size_a", "L": "lines", "B": "size_b"}
_INDICES = {"A": "a", "L": "line", "B": "b"}


def kernel_source(trace: Trace, form: str, types: Types, name: str) -> str:
    """Return the source of a kernel.

    The kernel's arguments are the operands, the result arrays, the sizes of A, L and B, and, if
    there are sums over everything, an array for the blocks' partial sums and a zeroed counter.
    """
    made = (_Masked if form == "masked" else _Lines)(trace, form, types)
    made.write(name)
    return "\n".join(made.lines) + "\n"


class _Kernel(Writer):
    """The parts that all forms share."""

    def __init__(self, trace: Trace, form: str, types: Types) -> None:
        super().__init__(trace, types)
        self.form = form

    def head(self, name: str) -> None:
        """Write the kernel's signature and the values that all elements share."""
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
        # A minimum of 1 block per multiprocessor keeps ptxas from spilling to fit more.
        bounds = f"__launch_bounds__({THREADS}, 1)"
        self.put(0, f'extern "C" __global__ void {bounds} {name}({", ".join(arguments)}) {{')
        for value in self.trace.of_level("number"):
            self.define(1, value, self.load(value))

    def load(self, value: Value) -> str:
        """Return the expression for an operand, or "" for other values."""
        if value.op != "load":
            return ""
        position = value.args[0]
        if self.types.operands[position] == NUMBER:
            return f"in{position}"
        return f"T(in{position}[{self.at(value.dims)}])"

    @staticmethod
    def at(dims: str) -> str:
        """Return the index expression into an array that varies in these dimensions."""
        text = ""
        for dim in dims:
            text = f"({text}) * {_SIZES[dim]} + {_INDICES[dim]}" if text else _INDICES[dim]
        return text or "0"


class _Lines(_Kernel):
    """Kernel over lines, with as many passes over each line as its reductions need."""

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
        put(1, *_POSITIONS[self.form])
        put(1, *(f"T {total.name}_part = T(0);" for total in trace.totals))
        for number in range(trace.passes):
            self.write_line_values(number)
            self.write_pass(number)
        if trace.totals:
            self.finish()
        put(0, "}")

    def write_line_values(self, number: int) -> None:
        """Write the per-line values that are known before a pass."""
        trace, put = self.trace, self.put
        for value in trace.of_level("line", number):
            self.define(1, value, f"valid ? {self.load(value)} : T(0)")
        for i, value in enumerate(trace.results):
            if value.level == "line" and value.passes == number:
                put(1, f"if (leader) out{i}[line] = {self.stored(i, value)};")
        for total in trace.totals:
            value = total.args[0]
            if value.level == "line" and value.passes == number:
                put(1, f"if (leader) {total.name}_part += {self.name(value)};")

    def write_pass(self, number: int) -> None:
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
            combined = _COMBINED[self.form].format(op=_functor(value.op), name=value.name)
            put(1, f"{value.name} = {combined};")

    def added(self, op: str, name: str, value: Value) -> str:
        return f"{name} = {_functor(op)}::of({name}, T({self.name(value)}));"

    def loops(self) -> list[str]:
        """Return the loop headers over a thread's share of a line; the last one opens a block."""
        if self.form == "flat":
            step = "(Index)gridDim.x * blockDim.x"
            return [f"for (Index b = {_THREAD}; b < size_b; b += {step}) {{"]
        heads = []
        for dim, axis in ("A", "y"), ("B", "x"):
            if dim in self.trace.dims:
                i, size = _INDICES[dim], _SIZES[dim]
                step = f"{i} += blockDim.{axis}"
                heads.append(f"for (Index {i} = threadIdx.{axis}; {i} < {size}; {step})")
        return ["if (valid)", *heads[:-1], heads[-1] + " {"]

    def finish(self) -> None:
        """Write the sums over everything and the values that depend on them."""
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
    """Kernel in which each thread computes eight elements from one block of random bits."""

    def write(self, name: str) -> None:
        trace, put = self.trace, self.put
        self.lines += type_lines(self.types)
        put(0, philox.SOURCE)
        self.head(name)
        put(1, f"const Index block = {_THREAD};")
        masks = [i for i, dtype in enumerate(self.types.operands) if dtype == MASK]
        put(1, *(f"const Philox bits{i}(in{i}, block);" for i in masks))
        # unrolled, because words indexed by a variable would be in local memory
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
