"""Argument checks. Each error names the argument, the expected value and the given value."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def check_number(
    name: str,
    value: Any,
    at_least: float = -math.inf,
    below: float = math.inf,
    above: float = -math.inf,
) -> float:
    """Return the value as a float if ``at_least <= value < below`` and ``value > above``.

    Parameters
    ----------
    name : str
        Name of the argument in the error message.
    value : number
    at_least, below, above : float, optional
        The bounds.

    Raises
    ------
    TypeError
        The value is not a number.
    ValueError
        The value is not finite, or is out of bounds.
    """
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        raise ValueError(f"{name} must be finite, got an int too large for a float") from None
    if not (at_least <= number < below and number > above):
        bounds = [] if math.isfinite(number) else ["finite"]
        if above > -math.inf:
            bounds.append(f"greater than {above:g}")
        if at_least > -math.inf:
            bounds.append(f"at least {at_least:g}")
        if below < math.inf:
            bounds.append(f"less than {below:g}")
        raise ValueError(f"{name} must be {' and '.join(bounds)}, got {value!r}")
    return number


def check_count(name: str, value: Any, at_least: int = 1, remedy: str = "") -> int:
    """Return the value as an int if it is a whole number and at least `at_least`.

    Parameters
    ----------
    name : str
        Name of the argument in the error message.
    value : int
    at_least : int, default 1
    remedy : str, optional
        What the error tells the user to do.

    Raises
    ------
    TypeError
        The value is not a whole number.
    ValueError
        The value is less than `at_least`.
    """
    remedy = remedy and f"; {remedy}"
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}{remedy}") from None
    if count < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {count}{remedy}")
    return count


def check_flag(name: str, value: Any) -> bool:
    """Return the value if it is a bool.

    Raises
    ------
    TypeError
        The value is not a bool.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return the entry of `known` that equals `value` when case is ignored.

    Raises
    ------
    ValueError
        There is none. The message suggests the closest name.
    """
    names = list(known)
    spelled = value.strip().lower() if isinstance(value, str) else value
    for candidate in names:
        if candidate.lower() == spelled:
            return candidate
    listed = ", ".join(map(repr, names))
    hint = suggestion(spelled, names) if isinstance(spelled, str) else ""
    raise ValueError(f"{name} {value!r} is not known{hint or '.'} Choose from: {listed}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'adam'?"`` if a known word is close to `word`, else ``""``."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def known_keywords(
    remedies: Mapping[str, str],
) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """Return a decorator that makes a constructor's errors about unknown keywords helpful.

    Parameters
    ----------
    remedies : mapping of str to str
        For each keyword that other libraries use, the argument to write instead. For any other
        unknown keyword, the error suggests the closest name.
    """

    def decorate(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        _, *parameters = inspect.signature(function).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return function  # the constructor checks its keywords itself
        known = [parameter.name for parameter in parameters]

        @functools.wraps(function)
        def checked(*args: _Given.args, **keywords: _Given.kwargs) -> _Result:
            for name in keywords:
                if name not in known:
                    made = type(args[0]).__name__
                    raise TypeError(_no_such_keyword(made, name, known, remedies))
            return function(*args, **keywords)

        return checked

    return decorate


def _no_such_keyword(made: str, name: str, known: list[str], remedies: Mapping[str, str]) -> str:
    if name in remedies:
        return f"{made} has no argument {name!r}. Write {remedies[name]}"
    hint = suggestion(name, known) or "."
    return f"{made} has no argument {name!r}{hint} It takes: {', '.join(known)}"
