"""A formula as a graph of values, each computed once.

A formula is called once with symbols in place of arrays; what it computes with them is noted. For
formulas with reductions each value is of one of four levels:

=========  ==============================================================================
number     one for all elements: arguments that are numbers, and what follows from them
line       one for each line: per-line operands, and reductions along the line
inner      one for each element of a line
whole      a sum over everything, known after all lines
=========  ==============================================================================

A reduction turns inner values into one of a line, and ends a *pass* over it: what follows from it
belongs to the next pass. In which dimensions a value varies is a string of the letters of
:mod:`dlskills.formulas.layout`: "L" for lines, "A" and "B" for what lies along a line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dlskills.formulas.operators import CONSTANTS, METHODS, OPERATORS, REDUCTIONS

AXIS: Any = object()
"""What a formula is given as its `axis` while it is traced."""


class UnsuitedFormulaError(TypeError):
    """An engine can't run a formula; the message says what in it is in the way."""


class NotElementwiseError(UnsuitedFormulaError):
    """An elementwise formula, or a rule, looks at other elements than its own."""


class Value:
    """A value of a formula: an operand, a number, or an operation on other values.

    Attributes
    ----------
    name : str
        Unlike that of all other values of the trace.
    op : str
        ``"load"``, ``"number"``, ``"length"``, ``"size"``, an operator, a reduction, or
        ``"total"``.
    args : tuple
        The operator's values; for ``"load"`` the operand's position, for ``"number"`` the number.
    dims : str
        The dimensions in which it varies.
    passes : int
        The number of passes over a line after which it can be computed.
    whole : bool
        Whether it is known only after all lines.
    """

    dtype = "T"

    def __init__(
        self, trace: Trace, op: str, args: tuple[Any, ...], dims: str, passes: int, whole: bool
    ) -> None:
        self.trace, self.op, self.args, self.dims = trace, op, args, dims
        self.passes, self.whole = passes, whole
        self.name = f"v{len(trace.values)}"

    @property
    def level(self) -> str:
        """``"number"``, ``"line"``, ``"inner"`` or ``"whole"``."""
        if self.whole:
            return "whole"
        if self.dims in ("", "L"):
            return "line" if self.dims or self.passes else "number"
        return "inner"

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false, not a number."""
        if self.op == "where":
            return all(value.is_condition for value in self.args[1:])
        return self.op in OPERATORS and OPERATORS[self.op].is_condition

    def __neg__(self) -> Value:
        return self.trace.make("negative", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return self.trace.make("abs", self)

    def __invert__(self) -> Value:
        return self.trace.make("logical_not", self)

    def __bool__(self) -> bool:
        raise UnsuitedFormulaError(
            "a formula can't branch on an element's value: use xp.where(condition, a, b)"
        )

    __hash__ = object.__hash__


for _method, _op in METHODS.items():
    setattr(Value, f"__{_method}__", lambda a, b, op=_op: a.trace.make(op, a, b))
    setattr(Value, f"__r{_method}__", lambda a, b, op=_op: a.trace.make(op, b, a))


_ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative", "square", "pow"}
_POWERS = {0.5: "sqrt", 2: "square"}  # as NumPy computes them


class Trace:
    """What a formula computes.

    Parameters
    ----------
    formula : callable
        ``formula(xp)`` gives the function of operands.
    kinds : sequence of str
        For each operand the dimensions in which it varies, "" for a number.
    dims : str
        Those of the whole problem.
    has_axis : bool
        Whether the function takes `axis`, and may reduce along it.

    Attributes
    ----------
    values : list of Value
        In an order in which they can be computed.
    results : list of Value

    Raises
    ------
    UnsuitedFormulaError
        The formula does what symbols can't.
    """

    def __init__(
        self,
        formula: Callable[..., Any],
        kinds: Sequence[str],
        dims: str = "B",
        has_axis: bool = False,
    ) -> None:
        self.dims, self.has_axis = dims, has_axis
        self.values: list[Value] = []
        self._known: dict[Any, Value] = {}
        loads = [self._new("load", (i,), kind) for i, kind in enumerate(kinds)]
        try:
            given = formula(_Namespace(self))(*loads, **({"axis": AXIS} if has_axis else {}))
            self.results = [self._result(value) for value in _as_tuple(given)]
        except UnsuitedFormulaError:
            raise
        except Exception as error:  # whatever comes of an operation that symbols lack
            raise UnsuitedFormulaError(f"no kernel can be made of the formula: {error}") from error

    def _new(
        self, op: str, args: tuple[Any, ...], dims: str, passes: int = 0, whole: bool = False
    ) -> Value:
        key = (op, *(id(arg) if isinstance(arg, Value) else repr(arg) for arg in args))
        if key not in self._known:
            self._known[key] = Value(self, op, args, dims, passes, whole)
            self.values.append(self._known[key])
        return self._known[key]

    def value(self, operand: Any) -> Value:
        """An operand as a value: itself, or a number."""
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, int | float):
            return self._new("number", (float(operand),), "")
        raise UnsuitedFormulaError(f"a formula computes with arrays and numbers, got {operand!r}")

    def make(self, op: str, *operands: Any) -> Value:
        """The value of an operation."""
        if op == "pow" and isinstance(operands[1], int | float) and operands[1] in _POWERS:
            op, operands = _POWERS[operands[1]], operands[:1]
        if op.startswith("logical"):
            for operand in operands:
                if not (isinstance(operand, bool) or getattr(operand, "is_condition", False)):
                    raise UnsuitedFormulaError("only conditions, such as x > 0, can be combined")
        if len(operands) != OPERATORS[op].operands:
            raise UnsuitedFormulaError(
                f"xp.{op} takes {OPERATORS[op].operands} operands, got {len(operands)}"
            )
        args = tuple(map(self.value, operands))
        if op in _ARITHMETIC and all(arg.is_condition for arg in args):
            raise UnsuitedFormulaError(
                "conditions are combined by &, | and ~; make numbers of them by "
                "xp.astype(condition, x.dtype)"
            )
        whole = any(arg.whole for arg in args)
        if whole and any(arg.dims for arg in args):
            raise UnsuitedFormulaError(
                "a sum over everything is known after all elements, and can be combined with "
                "numbers only"
            )
        dims = "".join(d for d in self.dims if any(d in arg.dims for arg in args))
        return self._new(op, args, dims, max(arg.passes for arg in args), whole)

    def reduce(self, op: str, x: Any, axis: Any = None, keepdims: bool = False) -> Value:
        """The reduction of a value along the axis, or its sum over everything."""
        self._check_reduces(op)
        x = self.value(x)
        if axis is None and op == "sum" and not x.whole:
            if x.level != "line" and x.dims != self.dims:
                raise UnsuitedFormulaError("only values of all elements, or lines, can be added up")
            return self._new("total", (x,), "", x.passes, whole=True)
        if axis is not AXIS or not keepdims:
            raise UnsuitedFormulaError(
                f"xp.{op} in a formula takes axis=axis and keepdims=True (a sum, or mean, may also "
                "be over everything, without them)"
            )
        if x.whole or x.dims != self.dims:
            raise UnsuitedFormulaError(
                f"xp.{op} takes a value that differs from element to element"
            )
        return self._new(op, (x,), x.dims.strip("AB"), x.passes + 1)

    def _check_reduces(self, name: str) -> None:
        if not self.has_axis:
            raise NotElementwiseError(
                f"a formula of single elements can't use xp.{name}, which looks at all of them "
                "(@along is for reductions)"
            )

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Value:
        """The mean along the axis, or over everything."""
        self._check_reduces("mean")
        if axis is None and self.value(x).level == "line":
            raise UnsuitedFormulaError(
                "xp.mean without an axis is of values that differ from element to element; divide "
                "xp.sum of those of lines by their number"
            )
        count = self._new("size" if axis is None else "length", (), "")
        return self.make("divide", self.reduce("sum", x, axis, keepdims), count)

    def var(self, x: Any, axis: Any, keepdims: bool = False) -> Value:
        """The variance along the axis, from two passes."""
        self._check_reduces("var")
        centred = x - self.mean(x, axis, keepdims)
        return self.mean(centred * centred, axis, keepdims)

    def _result(self, given: Any) -> Value:
        value = self.value(given)
        of_line = self.has_axis and value.level == "line"
        if not value.whole and value.dims != self.dims and not of_line:
            raise UnsuitedFormulaError(
                "a formula's results differ from element to element, or from line to line, or are "
                "sums over everything"
            )
        return value

    # What engines ask for.

    @functools.cached_property
    def loads(self) -> list[Value]:
        """The operands, in their order."""
        return [value for value in self.values if value.op == "load"]

    @functools.cached_property
    def reductions(self) -> list[Value]:
        """The values that are reductions along a line."""
        return [value for value in self.values if value.op in REDUCTIONS]

    @functools.cached_property
    def totals(self) -> list[Value]:
        """The values that are sums over everything."""
        return [value for value in self.values if value.op == "total"]

    @functools.cached_property
    def passes(self) -> int:
        """How often a line is gone through."""
        ends = [total.args[0] for total in self.totals] + [r.args[0] for r in self.reductions]
        ends += [result for result in self.results if not result.whole]
        return max((value.passes for value in ends), default=0) + 1

    def of_level(self, level: str, passes: int | None = None) -> list[Value]:
        """The operations, not reductions, of a level (and known after so many passes)."""
        return [
            value
            for value in self.values
            if value.level == level
            and value.op not in REDUCTIONS
            and value.op != "total"
            and passes in (None, value.passes)
        ]

    def ends(self, passes: int) -> tuple[list[Value], list[Value], list[tuple[int, Value]]]:
        """What pass number `passes` is for: reductions, totals, and results, of inner values."""

        def here(value: Value) -> bool:
            return value.level == "inner" and value.passes == passes

        return (
            [value for value in self.reductions if here(value.args[0])],
            [value for value in self.totals if here(value.args[0])],
            [(i, value) for i, value in enumerate(self.results) if here(value)],
        )

    def inner(self, passes: int, kept: Iterable[Value] = ()) -> list[Value]:
        """The inner values that a pass computes, in order; `kept` ones are of earlier passes."""
        kept = set(kept)
        reductions, totals, results = self.ends(passes)
        stack = [value.args[0] for value in reductions + totals] + [value for _, value in results]
        found: set[Value] = set()
        while stack:
            value = stack.pop()
            if value in found or value.level != "inner":
                continue
            found.add(value)
            if value.op != "load" and not (value in kept and value.passes < passes):
                stack += value.args
        return [value for value in self.values if value in found]

    @functools.cached_property
    def worth_keeping(self) -> list[Value]:
        """Costly inner values that a later pass needs again."""
        return [
            value
            for value in self.values
            if value.level == "inner"
            and value.op in OPERATORS
            and OPERATORS[value.op].is_costly
            and any(value in set(self.inner(p)) for p in range(value.passes + 1, self.passes))
        ]


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


class _Namespace:
    """Stands for `xp` while a formula is traced."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.__dict__ |= CONSTANTS
        for op in OPERATORS:
            if op != "astype":  # which has a method below
                setattr(self, op, functools.partial(trace.make, op))
        for op in REDUCTIONS:
            setattr(self, op, functools.partial(trace.reduce, op))
        self.mean, self.var = trace.mean, trace.var

    def astype(self, x: Any, dtype: Any, *, copy: bool = True) -> Value:
        if dtype != Value.dtype:
            raise UnsuitedFormulaError(f"a formula computes in the dtype x.dtype, not in {dtype!r}")
        return self._trace.make("astype", x)

    def std(self, x: Any, axis: Any, keepdims: bool = False) -> Value:
        return self._trace.make("sqrt", self.var(x, axis, keepdims))

    def clip(self, x: Any, /, min: Any = None, max: Any = None) -> Any:
        for bound, op in (min, "maximum"), (max, "minimum"):
            x = x if bound is None else self._trace.make(op, x, bound)
        return x

    def zeros_like(self, x: Any) -> Value:
        return self._trace.value(0.0)

    def ones_like(self, x: Any) -> Value:
        return self._trace.value(1.0)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_SEVERAL_ELEMENTS and not self._trace.has_axis:
            raise NotElementwiseError(
                f"a formula of single elements can't use xp.{name}, which looks at all of them"
            )
        raise UnsuitedFormulaError(f"no kernel can be made of a formula with xp.{name}")


_OF_SEVERAL_ELEMENTS = {
    "all", "any", "argmax", "argmin", "argsort", "cumulative_prod", "cumulative_sum", "diff",
    "flip", "linalg", "matmul", "prod", "roll", "sort", "take", "tensordot", "vecdot",
}  # fmt: skip
