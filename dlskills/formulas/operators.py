"""The operations that a formula may use: one table for all engines."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """An operation on numbers, in the languages that engines write.

    Attributes
    ----------
    loop : str
        A Python expression for Numba's loops; ``{0}``, ``{1}``, ... are the operands.
    cuda : str
        A C++ expression. ``T`` is the type that a kernel computes in.
    is_condition : bool
        Whether the result is true or false rather than a number.
    is_costly : bool
        Whether keeping a result in the cache is quicker than computing it again.
    """

    loop: str
    cuda: str
    is_condition: bool = False
    is_costly: bool = False

    @property
    def operands(self) -> int:
        """The number of operands."""
        return sum(f"{{{i}}}" in self.loop for i in range(3))


def _both(form: str, *, is_condition: bool = False) -> Operator:
    return Operator(form, form, is_condition)


def _function(name: str, cuda: str = "", operands: int = 1) -> Operator:
    """A function that the loops know by its name in the Array API."""
    arguments = ", ".join(f"{{{i}}}" for i in range(operands))
    loop = f"{name}({arguments})"
    return Operator(loop, cuda or loop, is_costly=name in _COSTLY)


_COSTLY = {
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "hypot", "logaddexp",
}  # fmt: skip

# NaN passes through all of them, as through NumPy's functions of these names. NVIDIA's compiler
# at run time has no headers that define INFINITY.
OPERATORS: dict[str, Operator] = {
    "add": _both("({0} + {1})"),
    "subtract": _both("({0} - {1})"),
    "multiply": _both("({0} * {1})"),
    "divide": _both("({0} / {1})"),
    "negative": _both("(-{0})"),
    "square": _both("({0} * {0})"),
    "less": _both("({0} < {1})", is_condition=True),
    "less_equal": _both("({0} <= {1})", is_condition=True),
    "greater": _both("({0} > {1})", is_condition=True),
    "greater_equal": _both("({0} >= {1})", is_condition=True),
    "equal": _both("({0} == {1})", is_condition=True),
    "not_equal": _both("({0} != {1})", is_condition=True),
    "isnan": _both("({0} != {0})", is_condition=True),
    "isinf": Operator("isinf({0})", "(fabs({0}) == T(1.0 / 0.0))", is_condition=True),
    "isfinite": Operator("isfinite({0})", "(fabs({0}) < T(1.0 / 0.0))", is_condition=True),
    "logical_and": Operator("({0} & {1})", "({0} && {1})", is_condition=True),
    "logical_or": Operator("({0} | {1})", "({0} || {1})", is_condition=True),
    "logical_xor": _both("({0} != {1})", is_condition=True),
    "logical_not": Operator("(not {0})", "(!{0})", is_condition=True),
    "where": Operator("({1} if {0} else {2})", "({0} ? {1} : {2})"),
    "astype": _both("T({0})"),
    "maximum": _function("maximum", "({0} > {1} || {0} != {0} ? {0} : {1})", 2),
    "minimum": _function("minimum", "({0} < {1} || {0} != {0} ? {0} : {1})", 2),
    "reciprocal": _function("reciprocal", "(T(1) / {0})"),
    "sign": _function("sign", "({0} > T(0) ? T(1) : {0} < T(0) ? T(-1) : {0})"),
    "abs": _function("abs", "fabs({0})"),
    "round": _function("round", "rint({0})"),
    "copysign": _function("copysign", operands=2),
    "hypot": _function("hypot", operands=2),
    "atan2": _function("atan2", operands=2),
    "pow": _function("pow", operands=2),
    # the larger one, and what the other adds; of two infinities the difference is NaN
    "logaddexp": _function(
        "logaddexp",
        "({0} == {1} ? {0} + T(0.6931471805599453) : "
        "({0} > {1} ? {0} : {1}) + log1p(exp(-fabs({0} - {1}))))",
        2,
    ),
    **{
        name: _function(name)
        for name in (
            "sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
            "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil",
            "trunc",
        )
    },
}  # fmt: skip

METHODS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow",
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
    "ne": "not_equal", "and": "logical_and", "or": "logical_or", "xor": "logical_xor",
}  # fmt: skip
"""Python's operators with two operands, by the names of their methods without underscores."""

REDUCTIONS = {"sum": ("add", 0.0), "max": ("maximum", -math.inf), "min": ("minimum", math.inf)}
"""For each reduction, the operator that joins two results, and its neutral element."""

CONSTANTS = {"e": math.e, "inf": math.inf, "nan": math.nan, "pi": math.pi}
