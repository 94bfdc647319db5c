"""Tracing: a formula as a graph of values, each computed once.

The formula is called once with symbols in place of arrays, which record the operations. Each value
has one of four levels:

=========  ==============================================================================
number     one value for all elements: number arguments, and values computed from them
line       one value per line: per-line operands, and reductions along the line
inner      one value per element of a line
whole      a sum over everything, known after all lines, or a value computed from one
=========  ==============================================================================

A reduction turns inner values into a per-line value and ends a *pass* over the line; values that
depend on it belong to the next pass. The dimensions in which a value varies are a string of the
letters of :mod:`dlskills.formulas.layout`: "L" across lines, "A" and "B" along a line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dlskills.formulas.operators import CONSTANTS, METHODS, OPERATORS, REDUCTIONS

AXIS: Any = object()
"""Placeholder for the argument `axis` while a formula is traced."""


class UnsuitedFormulaError(TypeError):
    """An engine can't run a formula; the message gives the reason."""


class NotElementwiseError(UnsuitedFormulaError):
    """An elementwise formula or an update rule combines different elements of an array."""


class Value:
    """A value in a formula: an operand, a number, or an operation on other values.

    Attributes
    ----------
    name : str
        A name that is unique within the trace.
    op : str
        ``"load"``, ``"number"``, ``"length"``, ``"size"``, an operator, a reduction, or
        ``"total"``.
    args : tuple
        The operands; for ``"load"`` the operand's position, for ``"number"`` the number.
    dims : str
        The dimensions in which the value varies.
    passes : int
        The number of passes over a line after which the value can be computed.
    whole : bool
        Whether the value is known only after all lines.
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
        """Whether the value is a bool rather than a number."""
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
        return self.trace.decide(self)

    __hash__ = object.__hash__


for _method, _op in METHODS.items():
    setattr(Value, f"__{_method}__", lambda a, b, op=_op: a.trace.make(op, a, b))
    setattr(Value, f"__r{_method}__", lambda a, b, op=_op: a.trace.make(op, b, a))


_ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative", "square", "pow"}
_POWERS = {0.5: "sqrt", 2: "square"}  # NumPy computes these powers the same way


class Trace:
    """The graph of a formula.

    Parameters
    ----------
    formula : callable
        ``formula(xp)`` returns the function of operands.
    kinds : sequence of str
        For each operand, the dimensions in which it varies; "" for a number.
    dims : str
        The dimensions of the problem.
    has_axis : bool
        Whether the function takes `axis` and may reduce along it.

    Attributes
    ----------
    values : list of Value
        All values, in an order in which they can be computed.
    results : list of Value
        The values that the formula returns.

    Raises
    ------
    UnsuitedFormulaError
        The formula uses an operation that can't be traced.
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
        except Exception as error:  # an operation that symbols lack may raise any exception
            raise UnsuitedFormulaError(f"the formula can't be compiled: {error}") from error

    def decide(self, condition: Value) -> bool:
        """Return the truth of a condition that Python code branches on."""
        raise UnsuitedFormulaError(
            "a formula can't branch on an element's value. Use xp.where(condition, a, b)"
        )

    def _new(
        self, op: str, args: tuple[Any, ...], dims: str, passes: int = 0, whole: bool = False
    ) -> Value:
        key = (op, *(id(arg) if isinstance(arg, Value) else repr(arg) for arg in args))
        if key not in self._known:
            self._known[key] = Value(self, op, args, dims, passes, whole)
            self.values.append(self._known[key])
        return self._known[key]

    def value(self, operand: Any) -> Value:
        """Return an operand as a value of the graph."""
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, int | float):
            return self._new("number", (float(operand),), "")
        raise UnsuitedFormulaError(
            f"a formula can only compute with arrays and numbers, got {operand!r}"
        )

    def make(self, op: str, *operands: Any) -> Value:
        """Return the value of an operation, adding it to the graph if needed."""
        if op == "pow" and isinstance(operands[1], int | float) and operands[1] in _POWERS:
            op, operands = _POWERS[operands[1]], operands[:1]
        if op.startswith("logical"):
            for operand in operands:
                if not (isinstance(operand, bool) or getattr(operand, "is_condition", False)):
                    raise UnsuitedFormulaError(
                        f"xp.{op} takes conditions, such as x > 0, got a value that is not one"
                    )
        if len(operands) != OPERATORS[op].operands:
            raise UnsuitedFormulaError(
                f"xp.{op} takes {OPERATORS[op].operands} operands, got {len(operands)}"
            )
        args = tuple(map(self.value, operands))
        if op in _ARITHMETIC and all(arg.is_condition for arg in args):
            raise UnsuitedFormulaError(
                f"xp.{op} takes numbers, got conditions. Combine them with &, | and ~, or convert "
                "them with xp.astype(condition, x.dtype)"
            )
        whole = any(arg.whole for arg in args)
        if whole and any(arg.dims for arg in args):
            raise UnsuitedFormulaError(
                "a sum over everything is only known after all elements, and can only be combined "
                "with numbers"
            )
        dims = "".join(d for d in self.dims if any(d in arg.dims for arg in args))
        return self._new(op, args, dims, max(arg.passes for arg in args), whole)

    def reduce(self, op: str, x: Any, axis: Any = None, keepdims: bool = False) -> Value:
        """Return the reduction of a value along the axis, or its sum over everything."""
        self._check_reduces(op)
        x = self.value(x)
        if axis is None and op == "sum" and not x.whole:
            if x.level != "line" and x.dims != self.dims:
                raise UnsuitedFormulaError(
                    "xp.sum without an axis takes values that vary per element or per line"
                )
            return self._new("total", (x,), "", x.passes, whole=True)
        if axis is not AXIS or not keepdims:
            raise UnsuitedFormulaError(
                f"xp.{op} in a formula takes axis=axis and keepdims=True (xp.sum and xp.mean "
                "without them reduce over everything)"
            )
        if x.whole or x.dims != self.dims:
            raise UnsuitedFormulaError(f"xp.{op} takes a value that varies per element")
        return self._new(op, (x,), x.dims.strip("AB"), x.passes + 1)

    def _check_reduces(self, name: str) -> None:
        if not self.has_axis:
            raise NotElementwiseError(
                f"an elementwise formula can't use xp.{name}, which combines elements. Use @along "
                "for reductions"
            )

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Value:
        """Return the mean along the axis or over everything."""
        self._check_reduces("mean")
        if axis is None and self.value(x).level == "line":
            raise UnsuitedFormulaError(
                "xp.mean without an axis takes values that vary per element. For per-line values, "
                "divide their xp.sum by the number of lines"
            )
        count = self._new("size" if axis is None else "length", (), "")
        return self.make("divide", self.reduce("sum", x, axis, keepdims), count)

    def var(self, x: Any, axis: Any, keepdims: bool = False) -> Value:
        """Return the variance along the axis, computed in two passes."""
        self._check_reduces("var")
        centred = x - self.mean(x, axis, keepdims)
        return self.mean(centred * centred, axis, keepdims)

    def _result(self, given: Any) -> Value:
        value = self.value(given)
        of_line = self.has_axis and value.level == "line"
        if not value.whole and value.dims != self.dims and not of_line:
            raise UnsuitedFormulaError(
                "a formula's results must vary per element or per line, or be sums over everything"
            )
        return value

    # Queries by engines

    @functools.cached_property
    def loads(self) -> list[Value]:
        """The operands, in order."""
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
        """The number of passes over each line."""
        ends = [total.args[0] for total in self.totals] + [r.args[0] for r in self.reductions]
        ends += [result for result in self.results if not result.whole]
        return max((value.passes for value in ends), default=0) + 1

    def of_level(self, level: str, passes: int | None = None) -> list[Value]:
        """Return the values of a level, except reductions, that are known after some passes."""
        return [
            value
            for value in self.values
            if value.level == level
            and value.op not in REDUCTIONS
            and value.op != "total"
            and passes in (None, value.passes)
        ]

    def ends(self, passes: int) -> tuple[list[Value], list[Value], list[tuple[int, Value]]]:
        """Return the reductions, totals and results that pass number `passes` produces."""

        def here(value: Value) -> bool:
            return value.level == "inner" and value.passes == passes

        return (
            [value for value in self.reductions if here(value.args[0])],
            [value for value in self.totals if here(value.args[0])],
            [(i, value) for i, value in enumerate(self.results) if here(value)],
        )

    def inner(self, passes: int, kept: Iterable[Value] = ()) -> list[Value]:
        """Return the inner values of a pass, in order, given those `kept` from earlier passes."""
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
    """The namespace `xp` of a formula that is being traced."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.__dict__ |= CONSTANTS
        for op in OPERATORS:
            if op != "astype":  # defined as a method below
                setattr(self, op, functools.partial(trace.make, op))
        for op in REDUCTIONS:
            setattr(self, op, functools.partial(trace.reduce, op))
        self.mean, self.var = trace.mean, trace.var

    def astype(self, x: Any, dtype: Any, *, copy: bool = True) -> Value:
        if dtype != Value.dtype:
            raise UnsuitedFormulaError(f"xp.astype in a formula takes x.dtype, got {dtype!r}")
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
                f"an elementwise formula can't use xp.{name}, which combines elements"
            )
        raise UnsuitedFormulaError(f"a formula with xp.{name} can't be compiled")


_OF_SEVERAL_ELEMENTS = {
    "all", "any", "argmax", "argmin", "argsort", "cumulative_prod", "cumulative_sum", "diff",
    "flip", "linalg", "matmul", "prod", "roll", "sort", "take", "tensordot", "vecdot",
}  # fmt: skip
