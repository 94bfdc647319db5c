"""Python code, written for numbers, that is called with symbols; and graphs, evaluated again."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from dlskills.formulas.operators import OPERATORS
from dlskills.formulas.trace import Trace, UnsuitedFormulaError, Value


class _Fork(Exception):
    """Python code branches on a condition that has not been decided."""

    def __init__(self, condition: Value) -> None:
        self.condition = condition


class Branching(Trace):
    """A trace of Python code with branches: each is followed, and the results are joined."""

    _LONGEST = 10
    path: tuple[bool, ...] = ()
    asked = 0

    def decide(self, condition: Value) -> bool:
        if self.asked == len(self.path):
            raise _Fork(condition)
        self.asked += 1
        return self.path[self.asked - 1]

    def follow(self, run: Callable[[], Any], path: tuple[bool, ...] = ()) -> tuple[Value, ...]:
        """Return what `run` returns, whatever the conditions on the way."""
        self.path, self.asked = path, 0
        try:
            given = run()
        except _Fork as fork:
            if len(path) == self._LONGEST:
                raise UnsuitedFormulaError(
                    f"it branches more than {self._LONGEST} times, or without end"
                ) from None
            yes, no = (self.follow(run, (*path, answer)) for answer in (True, False))
            if len(yes) != len(no):
                raise UnsuitedFormulaError(
                    f"it returns {len(yes)} or {len(no)} numbers, depending on its hyperparameters"
                ) from None
            return tuple(
                a if a is b else self.make("where", fork.condition, a, b)
                for a, b in zip(yes, no, strict=True)
            )
        return tuple(map(self.value, given if isinstance(given, tuple) else (given,)))


_OPERATOR_NAMES = {
    "fabs": "abs", "absolute": "abs", "power": "pow", "float_power": "pow", "true_divide": "divide",
    "arctan": "atan", "arcsin": "asin", "arccos": "acos",
}  # fmt: skip


@contextlib.contextmanager
def symbolic_functions(modules: Iterable[str], trace: Trace) -> Iterator[None]:
    """Let `math` and NumPy take symbols, too, as long as code of these modules is traced.

    Parameters
    ----------
    modules : iterable of str
        Names of modules that have been imported.
    trace : Trace
    """
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for module in {*modules} - {"builtins"}:
        names = vars(sys.modules[module])
        for name, value in list(names.items()):
            if value is math or value is np:
                changed.append((names, name, value))
                names[name] = _Functions(value, trace)
            elif getattr(value, "__module__", None) == "math":
                changed.append((names, name, value))
                names[name] = _symbolic(value, trace)
    try:
        yield
    finally:
        for names, name, value in changed:
            names[name] = value


class _Functions:
    """A module of functions of numbers that take symbols, too."""

    def __init__(self, module: Any, trace: Trace) -> None:
        self._module, self._trace = module, trace

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if not callable(value) or isinstance(value, type):
            return value
        return _symbolic(value, self._trace)


def _symbolic(function: Any, trace: Trace) -> Callable[..., Any]:
    name = getattr(function, "__name__", "")

    def call(*operands: Any, **options: Any) -> Any:
        if not any(isinstance(operand, Value) for operand in operands):
            return function(*operands, **options)
        op = _OPERATOR_NAMES.get(name, name)
        if op not in OPERATORS or options:
            raise UnsuitedFormulaError(f"{name} is not among the operations that can be translated")
        if op == "log" and len(operands) == 2:
            return trace.make("divide", *(trace.make("log", operand) for operand in operands))
        return trace.make(op, *operands)

    return call


def evaluate(trace: Trace, operands: Sequence[float]) -> list[float]:
    """Return the results of a graph of numbers."""
    values: dict[Value, Any] = {}
    with np.errstate(all="ignore"):
        for value in trace.values:
            if value.op == "load":
                values[value] = np.float64(operands[value.args[0]])
            elif value.op == "number":
                values[value] = np.float64(value.args[0])
            elif value.op == "astype":
                values[value] = np.float64(values[value.args[0]])
            else:
                values[value] = getattr(np, value.op)(*(values[arg] for arg in value.args))
    return [float(values[result]) for result in trace.results]
