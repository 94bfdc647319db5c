"""Formulas of a page as JavaScript functions of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dlskills.formulas import UnsuitedFormulaError
from dlskills.formulas.formula import Function
from dlskills.formulas.javascript import function_source
from dlskills.formulas.symbolic import symbolic_functions
from dlskills.formulas.trace import Trace, Value


def as_json(value: Any) -> str:
    """Return a value as JavaScript within a script element of HTML."""
    # "<" could end the script
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def as_object(items: Mapping[str, str]) -> str:
    """Return a JavaScript object of properties that are given as JavaScript."""
    return "{\n" + ",\n".join(f"{as_json(name)}: {text}" for name, text in items.items()) + "\n}"


def translated(what: str, function: Function, operands: int) -> str:
    """Return the JavaScript of a formula of numbers.

    Parameters
    ----------
    what : str
        Named in errors.
    function : callable
        ``function(xp)`` returns a function of operands.
    operands : int
        Their number.

    Raises
    ------
    UnsuitedFormulaError
        The formula can't be translated; the message gives the reason.
    """
    try:
        return function_source(Trace(function, ("",) * operands, dims=""))
    except UnsuitedFormulaError as error:
        raise UnsuitedFormulaError(f"{what} can't be translated: {error}") from error


def as_formula(function: Callable[..., Any]) -> Function:
    """Return a function of numbers, which may use `math` or NumPy, as a formula."""

    def formula(xp: Any) -> Callable[..., Any]:
        def called(*operands: Value) -> Any:
            with symbolic_functions({function.__module__}, operands[0].trace):
                return function(*operands)

        return called

    return formula
