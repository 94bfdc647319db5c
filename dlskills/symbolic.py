"""Symbols that write down, in CUDA C++, what is computed with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class UnsuitedRuleError(TypeError):
    """A formula can't be run in some way; the message says what in it is in the way."""


class NotElementwiseError(UnsuitedRuleError):
    """A formula looks at other elements than its own."""


# NaN comes through all of them, as it does in NumPy's functions of these names.
_FUNCTIONS: dict[str, str] = {
    "sqrt": "sqrt({0})",
    "exp": "exp({0})",
    "expm1": "expm1({0})",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "log2": "log2({0})",
    "log10": "log10({0})",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "tan": "tan({0})",
    "asin": "asin({0})",
    "acos": "acos({0})",
    "atan": "atan({0})",
    "atan2": "atan2({0}, {1})",
    "sinh": "sinh({0})",
    "cosh": "cosh({0})",
    "tanh": "tanh({0})",
    "asinh": "asinh({0})",
    "acosh": "acosh({0})",
    "atanh": "atanh({0})",
    "floor": "floor({0})",
    "ceil": "ceil({0})",
    "trunc": "trunc({0})",
    "round": "rint({0})",
    "abs": "fabs({0})",
    "copysign": "copysign({0}, {1})",
    "hypot": "hypot({0}, {1})",
    # the larger one, and what the other adds; of two infinities the difference is no number
    "logaddexp": "({0} == {1} ? {0} + T(0.6931471805599453) : "
    "({0} > {1} ? {0} : {1}) + log1p(exp(-fabs({0} - {1}))))",
    "square": "({0} * {0})",
    "reciprocal": "(T(1) / {0})",
    "sign": "({0} > T(0) ? T(1) : {0} < T(0) ? T(-1) : {0})",
    "maximum": "({0} > {1} || {0} != {0} ? {0} : {1})",
    "minimum": "({0} < {1} || {0} != {0} ? {0} : {1})",
    "pow": "pow({0}, {1})",
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "negative": "(-{0})",
}
_CONDITIONS = {"isnan": "({0} != {0})", "isinf": "(fabs({0}) == T(1.0 / 0.0))",
               "isfinite": "(fabs({0}) < T(1.0 / 0.0))"}  # fmt: skip
# NVIDIA's compiler at run time has no headers with INFINITY and NAN.
_NOT_FINITE = {"inf": "T(1.0 / 0.0)", "-inf": "T(-1.0 / 0.0)", "nan": "T(0.0 / 0.0)"}
_CONSTANTS = {"e": math.e, "inf": math.inf, "nan": math.nan, "pi": math.pi}
_COMPARISONS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
                "equal": "==", "not_equal": "!="}  # fmt: skip
_LOGIC = {"and": "({0} && {1})", "or": "({0} || {1})", "xor": "({0} != {1})", "not": "(!{0})"}


def traced(formula: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """What a formula gives for symbols.

    Raises
    ------
    UnsuitedRuleError
        It does what symbols can't.
    """
    try:
        return formula(*operands)
    except UnsuitedRuleError:
        raise
    except Exception as error:  # whatever comes of that
        raise UnsuitedRuleError(f"no kernel can be made of the formula: {error}") from error


class Trace:
    """The lines of a computation, each with a local variable of its own.

    Attributes
    ----------
    lines : list of str
    namespace : object
        Functions under the Array API's names, for a rule to call.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        functions = {name: self._function(form) for name, form in _FUNCTIONS.items()}
        for name, operator in _COMPARISONS.items():
            functions[name] = self._function(f"({{0}} {operator} {{1}})", "bool")
        functions["where"] = self._where
        for name, form in _CONDITIONS.items():
            functions[name] = self._function(form, "bool")
        functions["clip"] = self._clip
        for name, form in _LOGIC.items():
            functions[f"logical_{name}"] = self._logical(form)
        functions["astype"] = lambda x, dtype, copy=True: self.compute(f"T({self.value(x)})")
        self.namespace: Any = _Namespace(**functions, **_CONSTANTS)

    def load(self, name: str) -> Symbol:
        """The value of a kernel's argument, read here and not again."""
        return self.compute(name)

    def compute(self, expression: str, kind: str = "T") -> Symbol:
        """A symbol for the value of an expression."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"const {kind} {name} = {expression};")
        return Symbol(self, name, kind)

    def value(self, operand: Any) -> str:
        """An operand in C++: a symbol's variable, or a number."""
        if isinstance(operand, Symbol):
            return operand.name
        if isinstance(operand, int | float):
            number = float(operand)
            return f"T({number!r})" if math.isfinite(number) else _NOT_FINITE[str(number)]
        raise UnsuitedRuleError(f"a formula computes with arrays and numbers, got {operand!r}")

    def _function(self, form: str, kind: str = "T") -> Callable[..., Symbol]:
        def call(*operands: Any) -> Symbol:
            return self.compute(form.format(*map(self.value, operands)), kind)

        return call

    def _where(self, condition: Any, a: Any, b: Any) -> Symbol:
        conditions = all(getattr(operand, "kind", "") == "bool" for operand in (a, b))
        choice = f"({self.value(condition)} ? {self.value(a)} : {self.value(b)})"
        return self.compute(choice, "bool" if conditions else "T")

    def _clip(self, x: Any, /, min: Any = None, max: Any = None) -> Any:
        for bound, name in (min, "maximum"), (max, "minimum"):
            x = x if bound is None else getattr(self.namespace, name)(x, bound)
        return x

    def _logical(self, form: str) -> Callable[..., Symbol]:
        def call(*operands: Any) -> Symbol:
            for operand in operands:
                if not (isinstance(operand, bool) or getattr(operand, "kind", "") == "bool"):
                    raise UnsuitedRuleError("only conditions, such as x > 0, can be combined")
            return self.compute(form.format(*map(self.value, operands)), "bool")

        return call


_OVER_ELEMENTS = {
    "all", "any", "argmax", "argmin", "argsort", "cumulative_prod", "cumulative_sum", "diff",
    "flip", "linalg", "matmul", "max", "mean", "min", "prod", "roll", "sort", "std", "sum", "take",
    "tensordot", "var", "vecdot",
}  # fmt: skip


class _Namespace(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        if name in _OVER_ELEMENTS:
            raise NotElementwiseError(
                f"a formula is of one element at a time, and can't use xp.{name} over all of them"
            )
        raise UnsuitedRuleError(f"no kernel can be made of a formula with xp.{name}")


class Symbol:
    """A number that is known when the kernel runs.

    Arithmetic gives new symbols; `x += y` too, as names are rebound, which suits a rule written
    in place.
    """

    dtype = "T"

    def __init__(self, trace: Trace, name: str, kind: str = "T") -> None:
        self.trace, self.name, self.kind = trace, name, kind

    def __invert__(self) -> Symbol:
        return self.trace._logical(_LOGIC["not"])(self)

    def __bool__(self) -> bool:
        raise UnsuitedRuleError(
            "a formula can't branch on an element's value: use xp.where(condition, a, b)"
        )


def _operator(form: str, kind: str = "T") -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Symbol, other: Any) -> Symbol:
        return self.trace.compute(form.format(self.name, self.trace.value(other)), kind)

    def reflected(self: Symbol, other: Any) -> Symbol:
        return self.trace.compute(form.format(self.trace.value(other), self.name), kind)

    return forward, reflected


for _name, _form in {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "truediv": "{0} / {1}",
    "pow": "pow({0}, {1})",
}.items():  # fmt: skip
    _forward, _reflected = _operator(_form)
    setattr(Symbol, f"__{_name}__", _forward)
    setattr(Symbol, f"__r{_name}__", _reflected)
for _name, _form in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _operator(f"{{0}} {_form} {{1}}", "bool")[0])
for _name, _form in {"neg": "-{0}", "pos": "{0}", "abs": _FUNCTIONS["abs"]}.items():
    setattr(
        Symbol,
        f"__{_name}__",
        lambda self, _form=_form: self.trace.compute(_form.format(self.name)),
    )
for _name in ("and", "or", "xor"):
    for _way in (f"__{_name}__", f"__r{_name}__"):  # either way round is the same
        setattr(
            Symbol,
            _way,
            lambda self, other, _form=_LOGIC[_name]: self.trace._logical(_form)(self, other),
        )
