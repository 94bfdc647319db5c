"""The operations that a formula may use, in one table for all engines."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """A scalar operation in the languages that engines generate.

    Attributes
    ----------
    loop : str
        Python expression for Numba's loops, with operands ``{0}``, ``{1}``, ...
    cuda : str
        C++ expression. ``T`` is the type that the kernel computes in.
    is_condition : bool
        Whether the result is a bool rather than a number.
    is_costly : bool
        Whether reading a stored result is faster than computing it again.
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
    """Return an operator that the loops call by its Array API name."""
    arguments = ", ".join(f"{{{i}}}" for i in range(operands))
    loop = f"{name}({arguments})"
    return Operator(loop, cuda or loop, is_costly=name in _COSTLY)


_COSTLY = {
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "hypot", "logaddexp",
}  # fmt: skip

# All of them propagate NaN, like the NumPy functions of these names. NVRTC has no headers that
# define INFINITY.
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
    # max(a, b) + log1p(exp(-|a - b|)), except for equal operands, since inf - inf is NaN
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
"""Operators by the names of Python's binary methods, without underscores."""

REDUCTIONS = {"sum": ("add", 0.0), "max": ("maximum", -math.inf), "min": ("minimum", math.inf)}
"""For each reduction, the operator that combines two results, and its identity element."""

CONSTANTS = {"e": math.e, "inf": math.inf, "nan": math.nan, "pi": math.pi}
