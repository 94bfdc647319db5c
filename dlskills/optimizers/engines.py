"""How the formula of an update rule is run over arrays.

A rule says what happens to one element; an engine says how all elements are gone through. There
is one engine for now, and this is the place for more:

``plain``
    The formula over whole arrays, for every library. Temporaries are as large as the arrays.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from dlskills.backend import Array, namespace
from dlskills.checks import check_choice

Update: TypeAlias = Callable[..., Array | tuple[Array, ...]]
Rule: TypeAlias = Callable[[ModuleType], Update]
"""Given a namespace, the function ``update(param, grad, *slots, *coefficients)``."""

Engine: TypeAlias = Callable[[Rule, Sequence[Array], Sequence[float]], None]
"""Runs a rule over [param, grad, *slots] and leaves the new values in param and slots."""


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[float]) -> None:
    """Update arrays in place by a rule, on the engine that suits them or that is forced.

    Parameters
    ----------
    rule : Rule
    arrays : sequence of array
        ``[param, grad, *slots]``, all of one shape, dtype and device.
    coefficients : sequence of float
    """
    ENGINES[_forced.get() or "plain"](rule, arrays, coefficients)


def evaluate(rule: Rule, values: Sequence[Any], coefficients: Sequence[float]) -> tuple[Any, ...]:
    """The new values of [param, *slots], where they are of a kind that can't be changed in place.

    Parameters
    ----------
    rule : Rule
    values : sequence
        ``[param, grad, *slots]``: Python or NumPy scalars, or immutable arrays (JAX's).
    coefficients : sequence of float
    """
    if isinstance(values[0], int | float):
        # NumPy's scalars follow IEEE 754 (1 / 0 is inf) and have every function; Python's do not
        results = _update(rule, np)(*map(np.float64, values), *coefficients)
        return tuple(map(float, results if isinstance(results, tuple) else (results,)))
    results = _update(rule, namespace(values[0]))(*values, *coefficients)
    return results if isinstance(results, tuple) else (results,)


def plain(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[float]) -> None:
    """The engine ``plain``."""
    results = _update(rule, namespace(arrays[0]))(*arrays, *coefficients)
    param, _, *slots = arrays
    updated = results if isinstance(results, tuple) else (results,)
    for array, result in zip((param, *slots), updated, strict=True):
        if result is not array:  # a rule may compute a new value in place of changing the old
            array[...] = result


ENGINES: dict[str, Engine] = {"plain": plain}

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("engine", default=None)


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Run all updates in the block on one engine, for comparison and debugging.

    Parameters
    ----------
    name : str
        A key of ``ENGINES``, in any case.

    Raises
    ------
    ValueError
        There is no such engine.

    Examples
    --------
    >>> import dlskills
    >>> with dlskills.engine("plain"):
    ...     pass
    """
    token = _forced.set(check_choice("engine", name, ENGINES))
    try:
        yield
    finally:
        _forced.reset(token)


@functools.cache
def _update(rule: Rule, xp: ModuleType) -> Update:
    return rule(xp)
