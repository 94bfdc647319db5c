"""How the formula of an update rule is run over arrays.

A rule says what happens to one element; an engine says how all elements are gone through. Every
rule runs on every engine, and no rule has a line for any of them.

===========  ==========  =====================================================================
``plain``    any arrays  the formula over whole arrays, with temporaries as large as they are
``blocked``  NumPy       the formula over slices that stay in the cache
``numba``    NumPy       one compiled, parallel pass over memory
``fused``    CuPy        one kernel, each array read once and written once
===========  ==========  =====================================================================
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlskills.arrays.backend import Array, library_of
from dlskills.checks import check_choice
from dlskills.optimizers.engines import blocked, compiled, fused, plain
from dlskills.optimizers.engines.plain import evaluate
from dlskills.optimizers.engines.rules import Rule
from dlskills.symbolic import NotElementwiseError, UnsuitedRuleError

__all__ = [
    "ENGINES",
    "Engine",
    "EngineMissingError",
    "Rule",
    "engine",
    "engine_for",
    "evaluate",
    "forced_engine",
    "run",
]


@dataclass(frozen=True)
class Engine:
    """A way to go through all elements.

    Attributes
    ----------
    name : str
    library : str or None
        Whose arrays it takes; None for any.
    run : callable
        ``run(rule, arrays, coefficients)`` updates ``[param, grad, *slots]`` in place.
    missing : callable
        Why the engine is not available here and what to do about it, None where it is.
    """

    name: str
    library: str | None
    run: Callable[[Rule, Sequence[Array], Sequence[Any]], None]
    missing: Callable[[], str | None] = lambda: None


ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("plain", None, plain.run),
        Engine("blocked", "numpy", blocked.run),
        Engine("numba", "numpy", compiled.run, compiled.missing),
        Engine("fused", "cupy", fused.run, fused.missing),
    )
}

# NumPy's own functions cost less on fewer elements than importing Numba, compiling and a call.
SMALL = 4096

_unsuited: set[tuple[Rule, str, Any]] = set()  # what was warned of: rule, engine and dtype

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("engine", default=None)


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[Any]) -> None:
    """Update arrays in place by a rule, on the engine that suits them or that is forced.

    Parameters
    ----------
    rule : Rule
    arrays : sequence of array
        ``[param, grad, *slots]``, all of one shape, dtype and device.
    coefficients : sequence of float
    """
    chosen = engine_for(arrays[0])
    pair = rule, chosen.name, arrays[0].dtype
    if pair in _unsuited and _forced.get() is None:
        chosen = ENGINES["plain"]
    try:
        if chosen.name in ("blocked", "numba"):  # which would go through parts, and not notice
            _check_elementwise(rule, len(arrays), len(coefficients))
        chosen.run(rule, arrays, coefficients)
    except UnsuitedRuleError as error:
        if _forced.get() is not None:
            raise
        _unsuited.add(pair)
        warnings.warn(f"{error}; the rule runs on the engine 'plain'", stacklevel=3)
        plain.run(rule, arrays, coefficients)


@functools.cache
def _check_elementwise(rule: Rule, arrays: int, numbers: int) -> None:
    try:
        fused.kernel_text(rule, arrays, numbers)
    except NotElementwiseError:
        raise
    except UnsuitedRuleError:  # of functions that symbols don't know; Numba and NumPy may
        pass


def engine_for(array: Array) -> Engine:
    """The engine that runs rules over arrays like this one.

    Raises
    ------
    RuntimeError
        The engine that is forced does not take such arrays, or is not available.
    """
    library = library_of(array)
    name = _forced.get()
    if name is None:
        return ENGINES[_suited(library, array)]
    forced = ENGINES[name]
    if forced.library not in (None, library):
        raise RuntimeError(
            f"engine {name!r} runs on arrays of {forced.library}, got one of {library}; the "
            f"engines for it are: {', '.join(_names_for(library))}"
        )
    return forced


def forced_engine() -> str | None:
    """The name that :func:`engine` was called with, None outside of its blocks."""
    return _forced.get()


def _suited(library: str, array: Array) -> str:
    if library == "numpy" and array.size > SMALL:
        return "blocked" if compiled.missing() else "numba"
    return "fused" if library == "cupy" else "plain"


def _names_for(library: str) -> list[str]:
    return [name for name, engine in ENGINES.items() if engine.library in (None, library)]


class EngineMissingError(RuntimeError):
    """An engine that was asked for is not available; the message says what to install."""


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Run all updates in the block on one engine, for comparison and debugging.

    Parameters
    ----------
    name : str
        ``"plain"``, ``"blocked"``, ``"numba"`` or ``"fused"``, in any case.

    Raises
    ------
    ValueError
        There is no such engine.
    EngineMissingError
        It is not available here; the message says what to install.

    Examples
    --------
    >>> import dlskills
    >>> with dlskills.engine("plain"):
    ...     pass
    """
    name = check_choice("engine", name, ENGINES)
    if reason := ENGINES[name].missing():
        raise EngineMissingError(f"engine {name!r} is not available: {reason}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
