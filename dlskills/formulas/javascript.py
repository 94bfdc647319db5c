"""JavaScript for a formula: a function of numbers, for pages that compute as this package does."""

from __future__ import annotations

import math

from dlskills.formulas.operators import OPERATORS
from dlskills.formulas.trace import Trace, Value

# Operators that JavaScript writes differently from CUDA C++. Math.max and Math.min propagate NaN.
_OWN = {
    "isinf": "(Math.abs({0}) === Infinity)",
    "isfinite": "Number.isFinite({0})",
    "astype": "Number({0})",
    "maximum": "Math.max({0}, {1})",
    "minimum": "Math.min({0}, {1})",
    "reciprocal": "(1 / {0})",
    "abs": "Math.abs({0})",
    "round": "formulas.round({0})",
    "sign": "Math.sign({0})",
    "copysign": "formulas.copysign({0}, {1})",
    "pow": "formulas.pow({0}, {1})",
    "logaddexp": "formulas.logaddexp({0}, {1})",
    **{
        name: f"Math.{name}({{0}}, {{1}})"
        for name in ("hypot", "atan2")
    },
    **{
        name: f"Math.{name}({{0}})"
        for name in (
            "sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
            "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil",
            "trunc",
        )
    },
}  # fmt: skip

EXPRESSIONS = {name: _OWN.get(name, operator.cuda) for name, operator in OPERATORS.items()}
"""JavaScript expressions by operator, with operands ``{0}``, ``{1}``, ..."""

RUNTIME = """\
const formulas = {
  // half to even, as IEEE 754 rounds; Math.round rounds half up
  round(x) {
    const down = Math.floor(x);
    if (x - down !== 0.5) return Math.round(x);
    return down % 2 === 0 ? down : down + 1;
  },
  copysign: (x, sign) => Math.abs(x) * (sign < 0 || Object.is(sign, -0) ? -1 : 1),
  // 1 ** NaN and (-1) ** Infinity are NaN in JavaScript, and 1 in C and Python
  pow: (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y),
  logaddexp: (x, y) => (x === y ? x + Math.LN2
    : Math.max(x, y) + Math.log1p(Math.exp(-Math.abs(x - y)))),
};
"""
"""What the functions use: the page's script needs it once, before them."""


def function_source(trace: Trace) -> str:
    """Return a JavaScript function of numbers, in float64.

    Parameters
    ----------
    trace : Trace
        Without reductions; every operand is one number.

    Returns
    -------
    str
        An arrow function that takes the operands and returns an array of the results.
    """
    names = {load.args[0]: load.name for load in trace.loads}
    arguments = ", ".join(names[i] for i in sorted(names))
    used = _used(trace)
    lines = [
        f"const {value.name} = {EXPRESSIONS[value.op].format(*map(_name, value.args))};"
        for value in trace.values
        if value.op in OPERATORS and value in used
    ]
    lines.append(f"return [{', '.join(map(_name, trace.results))}];")
    return "\n".join([f"({arguments}) => {{", *(f"  {line}" for line in lines), "}"])


def _used(trace: Trace) -> set[Value]:
    """Return the values that results depend on."""
    stack, found = list(trace.results), set[Value]()
    while stack:
        value = stack.pop()
        if value not in found:
            found.add(value)
            stack += [arg for arg in value.args if isinstance(arg, Value)]
    return found


def _name(value: Value) -> str:
    return _literal(value.args[0]) if value.op == "number" else value.name


def _literal(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "-Infinity" if number < 0 else "Infinity"
    return f"({number!r})" if number < 0 else repr(number)  # -2 ** x is an error in JavaScript
