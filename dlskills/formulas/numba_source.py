"""Python source of loops over a formula's elements, for Numba to compile.

The loops take one of four forms:

===========  ===================================================================================
``flat``     no lines: one loop over all elements
``rows``     neighbors in memory are on one line: line by line
``columns``  neighbors are on different lines: tiles of lines that stay in the cache, row by row
``short``    neighbors are on one line, which is short: many lines at once
===========  ===================================================================================

A kernel takes the operands, the result arrays, the sizes along a line, its share of the lines (or
elements) as a range, and an array for its partial sums over everything. The values that depend on
these sums are computed by a separate function, `finish`, in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dlskills.formulas.layout import Layout
from dlskills.formulas.operators import OPERATORS, REDUCTIONS
from dlskills.formulas.trace import Trace, Value

SHORT = 64  # elements per line, below which processing many lines at once is faster
PART = 4096  # elements of a line that are summed in the working precision
TILE_BYTES = 1 << 18  # of one array, so that a tile stays in the cache during all passes


def form_of(layout: Layout, trace: Trace) -> str:
    """Return the best form of the loops for a problem."""
    if layout.dims == "B" and not trace.reductions:
        return "flat"
    if layout.dims == "AL":
        return "columns"
    if layout.dims == "LB" and layout.sizes["B"] < SHORT and trace.reductions:
        return "short"
    return "rows"


@dataclass(frozen=True)
class Source:
    """A kernel's source text and the values of its named constants."""

    text: str
    constants: dict[str, float]


def kernel_source(trace: Trace, layout: Layout, form: str) -> Source:
    """Return the source of a function `kernel`."""
    made = {"flat": _Flat, "rows": _Rows}.get(form, _Tiles)(trace, layout, form)
    made.write()
    return Source("\n".join(made.lines) + "\n", made.constants)


class _Writer:
    """Base class of the writers, one per form."""

    def __init__(self, trace: Trace, layout: Layout, form: str) -> None:
        self.trace, self.layout, self.form = trace, layout, form
        self.lines: list[str] = []
        self.constants: dict[str, float] = {}
        # dicts, because `in` and `index` of a list call ==, which adds a value to the trace
        self.kept = {value: i for i, value in enumerate(trace.worth_keeping)}
        self.sums = {total: i for i, total in enumerate(trace.totals)}

    def put(self, indent: int, *lines: str) -> None:
        self.lines += ["    " * indent + line for line in lines]

    def constant(self, number: float) -> str:
        for name, known in self.constants.items():
            if repr(known) == repr(number):
                return name
        name = f"c{len(self.constants)}"
        self.constants[name] = number
        return name

    def write(self) -> None:
        """Write all lines."""
        raise NotImplementedError

    def begin(self) -> None:
        """Write the signature and the values that all elements share."""
        arguments = [f"in{value.args[0]}" for value in self.trace.loads]
        arguments += [f"out{i}" for i, r in enumerate(self.trace.results) if not r.whole]
        self.put(
            0, f"def kernel({', '.join([*arguments, 'size_a', 'size_b', 'begin', 'end', 'sums'])}):"
        )
        self.put(1, "length = size_a * size_b")
        for value in self.trace.of_level("number"):
            if value.op == "load":
                self.put(1, f"{value.name} = T(in{value.args[0]})")
            elif value.op == "length":
                self.put(1, f"{value.name} = T(length)")
            elif value.op in OPERATORS:
                self.put(1, f"{value.name} = {self.expression(value)}")

    def expression(self, value: Value, name: Callable[[Value], str] | None = None) -> str:
        """Return an operation's expression; `name` gives the names of its operands."""
        return OPERATORS[value.op].loop.format(*map(name or self.name, value.args))

    def name(self, value: Value) -> str:
        """Return the expression that reads a value."""
        return self.constant(value.args[0]) if value.op == "number" else value.name

    def start(self, reduction: Value) -> str:
        return self.constant(REDUCTIONS[reduction.op][1])

    # The innermost loop of a pass runs over lines or along one.

    at = "i"  # its index
    varying = "L"  # its dimension

    def element(self, value: Value) -> str:
        """Return the expression that reads a value in the innermost loop."""
        return self.name(value)

    def accumulator(self, value: Value) -> str:
        """Return the variable in which the innermost loop accumulates a reduction or total."""
        return value.name

    def body(self, number: int, indent: int) -> None:
        trace, put, at = self.trace, self.put, self.at
        reductions, totals, results = trace.ends(number)
        for value in trace.inner(number, self.kept):
            if value.op == "load":
                if self.varying in value.dims:
                    put(indent, f"{value.name} = T({value.name}_[{at}])")
            elif value in self.kept and value.passes < number:
                put(indent, f"{value.name} = {value.name}_[{at}]")
            else:
                put(indent, f"{value.name} = {self.expression(value, self.element)}")
                if value in self.kept:
                    put(indent, f"{value.name}_[{at}] = {value.name}")
        for value in reductions:
            put(indent, self.joined(value))
        for total in totals:
            part = self.accumulator(total)
            put(indent, f"{part} = plus({part}, double({self.element(total.args[0])}))")
        put(indent, *(f"out{i}_[{at}] = {self.element(value)}" for i, value in results))

    def joined(self, reduction: Value) -> str:
        """Return the statement that adds an element to a reduction."""
        part = self.accumulator(reduction)
        return f"{part} = {_join(reduction, part, self.element(reduction.args[0]))}"


def _join(reduction: Value, one: str, other: str) -> str:
    """Return the expression that combines two results of a reduction."""
    return OPERATORS[REDUCTIONS[reduction.op][0]].loop.format(one, other)


class _Flat(_Writer):
    """Writer of one loop over all elements."""

    def write(self) -> None:
        trace, put = self.trace, self.put
        self.begin()
        names = [f"in{v.args[0]}" for v in trace.loads if v.level == "inner"]
        names += [f"out{i}" for i, _ in trace.ends(0)[2]]
        put(1, *(f"{name}_all = {name}.reshape({name}.size)" for name in names))
        put(1, *(f"{name}_ = {name}_all[begin:end]" for name in names))
        put(1, *(f"{v.name} = 0.0" for v in trace.totals))
        put(1, "for i in range(end - begin):")
        for value in trace.inner(0):
            load = f"T(in{value.args[0]}_[i])" if value.op == "load" else self.expression(value)
            put(2, f"{value.name} = {load}")
        for v in trace.totals:
            put(2, f"{v.name} = plus({v.name}, double({self.name(v.args[0])}))")
        put(2, *(f"out{i}_[i] = {self.name(v)}" for i, v in trace.ends(0)[2]))
        put(1, *(f"sums[{i}] = {total.name}" for i, total in enumerate(trace.totals)))


class _Rows(_Writer):
    """Writer of loops that go line by line, with a line's sums in registers."""

    at, varying = "j", "B"

    def write(self) -> None:
        trace, put = self.trace, self.put
        self.begin()
        put(1, *(f"k{i} = np.empty(length, T)" for i in range(len(self.kept))))
        put(1, *(f"sums[{i}] = 0.0" for i in range(len(trace.totals))))
        put(1, "for line in range(begin, end):")
        for number in range(trace.passes):
            self.write_line_values(number)
            self.write_pass(number)

    def write_line_values(self, number: int) -> None:
        """Write the per-line values that are known before a pass."""
        trace, put = self.trace, self.put
        for value in trace.of_level("line", number):
            load = f"T(in{value.args[0]}[line])" if value.op == "load" else self.expression(value)
            put(2, f"{value.name} = {load}")
        for i, value in enumerate(trace.results):
            if value.level == "line" and value.passes == number:
                put(2, f"out{i}[line] = {self.name(value)}")
        for i, total in enumerate(trace.totals):
            value = total.args[0]
            if value.level == "line" and value.passes == number:
                put(2, f"sums[{i}] += {self.name(value)}")

    def write_pass(self, number: int) -> None:
        trace, put = self.trace, self.put
        reductions, totals, results = trace.ends(number)
        if not (reductions or totals or results):
            return
        for value in reductions:
            is_sum = value.op == "sum"
            put(2, f"{value.name}_sum = 0.0" if is_sum else f"{value.name} = {self.start(value)}")
        indent = 2
        if "A" in self.layout.dims:
            put(2, "for a in range(size_a):")
            indent = 3
        for value in trace.inner(number, self.kept):
            if value.op == "load" and "B" in value.dims:
                put(indent, f"{value.name}_ = in{value.args[0]}{self.row(value.dims)}")
            elif value.op == "load":
                put(indent, f"{value.name} = T(in{value.args[0]}{self.row(value.dims)})")
            elif value in self.kept:
                part = "a * size_b:(a + 1) * size_b" if "A" in self.layout.dims else ":"
                put(indent, f"{value.name}_ = k{self.kept[value]}[{part}]")
        put(indent, *(f"out{i}_ = out{i}{self.row(self.layout.dims)}" for i, _ in results))
        put(indent, f"for part in range(0, size_b, {PART}):")
        put(indent + 1, *(f"{v.name}_part = {self.start(v)}" for v in reductions))
        put(indent + 1, *(f"{v.name}_part = 0.0" for v in totals))
        put(indent + 1, f"for j in range(part, min(part + {PART}, size_b)):")
        self.body(number, indent + 2)
        for value in reductions:
            if value.op == "sum":
                put(indent + 1, f"{value.name}_sum += {value.name}_part")
            else:
                put(indent + 1, f"{value.name} = {_join(value, value.name, f'{value.name}_part')}")
        for total in totals:
            put(indent + 1, f"sums[{self.sums[total]}] += {total.name}_part")
        # the partial sums are added in double precision, since long sums lose digits
        put(2, *(f"{v.name} = T({v.name}_sum)" for v in reductions if v.op == "sum"))

    @staticmethod
    def row(dims: str) -> str:
        """Return the index for all but the innermost dimension."""
        names = {"A": "a", "L": "line"}
        outer = [names[dim] for dim in dims if dim != "B"]
        return f"[{', '.join(outer)}]" if outer else ""

    def accumulator(self, value: Value) -> str:
        return f"{value.name}_part"

    def joined(self, reduction: Value) -> str:
        if reduction.op != "sum":
            return super().joined(reduction)
        part = self.accumulator(reduction)  # in registers, where LLVM may reorder a sum
        return f"{part} = plus({part}, {self.element(reduction.args[0])})"


class _Tiles(_Writer):
    """Writer of loops over many lines at once, with per-line values in rows of a small table."""

    def write(self) -> None:
        trace, put = self.trace, self.put
        per_line = [v for v in trace.of_level("line") if self.outlives(v)]
        rows = [*trace.reductions, *per_line]
        self.begin()
        put(1, f"tile = min(max({TILE_BYTES} // (length * size_of_t), 64), end - begin)")
        put(1, f"table = np.empty(({len(rows)}, tile), T)")
        put(1, *(f"k{i} = np.empty((length, tile), T)" for i in range(len(self.kept))))
        put(1, *(f"sums[{i}] = 0.0" for i in range(len(trace.totals))))
        put(1, "for start in range(begin, end, max(tile, 1)):")
        put(2, "width = min(tile, end - start)")
        put(2, *(f"{v.name}_ = table[{row}, :width]" for row, v in enumerate(rows)))
        self.stored = set(rows)
        for value in trace.loads:
            if value.level == "line":
                put(2, f"in{value.args[0]}_ = in{value.args[0]}[start:start + width]")
        for i, value in enumerate(trace.results):
            if value.level == "line":
                put(2, f"out{i}_ = out{i}[start:start + width]")
        for number in range(trace.passes):
            self.write_line_values(number)
            self.write_pass(number)

    def outlives(self, value: Value) -> bool:
        """Return whether a per-line value is read outside of the loop that computes it."""
        readers = [v for v in self.trace.values if any(arg is value for arg in v.args)]
        return any(
            v.level == "inner" or (v.passes > value.passes and v.op not in REDUCTIONS)
            for v in readers
        )

    def write_line_values(self, number: int) -> None:
        trace = self.trace
        values = trace.of_level("line", number)
        lines = []
        known = set(values)

        def name(value: Value) -> str:
            if value in known or value not in self.stored:
                return self.name(value)
            return f"{value.name}_[i]"

        for value in values:
            if value.op == "load":
                lines.append(f"{value.name} = T(in{value.args[0]}_[i])")
            else:
                lines.append(f"{value.name} = {self.expression(value, name)}")
            if value in self.stored:
                lines.append(f"{value.name}_[i] = {value.name}")
        for i, value in enumerate(trace.results):
            if value.level == "line" and value.passes == number:
                lines.append(f"out{i}_[i] = {name(value)}")
        totals = [
            (i, total)
            for i, total in enumerate(trace.totals)
            if total.args[0].level == "line" and total.args[0].passes == number
        ]
        for _, total in totals:
            lines.append(f"{total.name} = plus({total.name}, double({name(total.args[0])}))")
        self.put(2, *(f"{total.name} = 0.0" for _, total in totals))
        if lines:
            self.put(2, "for i in range(width):")
            self.put(3, *lines)
        self.put(2, *(f"sums[{i}] += {total.name}" for i, total in totals))

    def write_pass(self, number: int) -> None:
        trace, put = self.trace, self.put
        reductions, totals, results = trace.ends(number)
        if not (reductions or totals or results):
            return
        for value in reductions:
            put(2, f"{value.name}_[:] = {self.start(value)}")
        put(2, "for j in range(length):")
        for value in trace.inner(number, self.kept):
            if value.op == "load" and "L" in value.dims:
                put(3, f"{value.name}_ = in{value.args[0]}[{self.across()}]")
            elif value.op == "load":
                put(3, f"{value.name} = T(in{value.args[0]}[j])")
            elif value in self.kept:
                put(3, f"{value.name}_ = k{self.kept[value]}[j, :width]")
        put(3, *(f"out{i}_ = out{i}[{self.across()}]" for i, _ in results))
        put(3, *(f"{v.name} = 0.0" for v in totals))
        put(3, "for i in range(width):")
        self.body(number, 4)
        put(3, *(f"sums[{self.sums[total]}] += {total.name}" for total in totals))

    def element(self, value: Value) -> str:
        return f"{value.name}_[i]" if value.level == "line" else self.name(value)

    def accumulator(self, value: Value) -> str:
        return value.name if value.op == "total" else f"{value.name}_[i]"

    def across(self) -> str:
        return "j, start:start + width" if self.form == "columns" else "start:start + width, j"


def finish_source(trace: Trace) -> str:
    """Return the source of `finish`, which computes results from float64 sums over everything."""
    loads = [value for value in trace.loads if value.level == "number"]
    lines = [f"def finish(sums, size, length, {', '.join(f'in{v.args[0]}' for v in loads)}):"]
    sums = {total: i for i, total in enumerate(trace.totals)}
    for value in trace.values:
        if value.op == "load" and value.level == "number":
            lines.append(f"    {value.name} = in{value.args[0]}")
        elif value.op == "total":
            lines.append(f"    {value.name} = sums[{sums[value]}]")
        elif value.op == "number":
            lines.append(f"    {value.name} = {value.args[0]!r}")
        elif value.op in ("size", "length"):
            lines.append(f"    {value.name} = {value.op}")
        elif value.level in ("number", "whole"):
            form = OPERATORS[value.op].loop
            lines.append(f"    {value.name} = {form.format(*(a.name for a in value.args))}")
    wholes = [value.name for value in trace.results if value.whole]
    return "\n".join([*lines, f"    return [{', '.join(wholes)}]"]) + "\n"


def update_source(trace: Trace) -> Source:
    """Return the source of a kernel that applies an update rule to a table of arrays.

    For each part of an array, the kernel takes the addresses of parameter, gradient and slots, the
    number of elements, and the index of its row of coefficients.
    """
    writer = _Writer(trace, Layout((), (), "B", {}, ()), "flat")
    put = writer.put
    put(0, "def kernel(addresses, sizes, groups, numbers, begin, end):")
    put(1, "for row in range(begin, end):")
    arrays = [value for value in trace.loads if value.level == "inner"]
    for i, value in enumerate(arrays):
        put(2, f"{value.name}_ = array_at(addresses[row, {i}], sizes[row])")
    for value in trace.of_level("number"):
        if value.op == "load":
            put(2, f"{value.name} = T(numbers[groups[row], {value.args[0] - len(arrays)}])")
        elif value.op in OPERATORS:
            put(2, f"{value.name} = {writer.expression(value)}")
    put(2, "for i in range(sizes[row]):")
    for value in trace.inner(0):
        load = f"T({value.name}_[i])" if value.op == "load" else writer.expression(value)
        put(3, f"{value.name} = {load}")
    written = [array for array in arrays if array.args[0] != 1]  # all but the gradient
    for array, result in zip(written, trace.results, strict=True):
        put(3, f"{array.name}_[i] = {writer.name(result)}")
    return Source("\n".join(writer.lines) + "\n", writer.constants)
