"""The engines that run formulas, and the choice of an engine.

===========  ==========  =====================================================================
``plain``    any arrays  calls the formula with whole arrays
``blocked``  NumPy       calls it with slices that fit in the cache
``numba``    NumPy       runs compiled loops in one pass over memory
``cuda``     CuPy        runs one kernel that reads and writes each array once
===========  ==========  =====================================================================
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array, library_of
from dlskills.arrays.random import without_masks
from dlskills.checks import check_choice
from dlskills.formulas.engines import blocked, cuda, numba, plain
from dlskills.formulas.engines.base import Engine
from dlskills.formulas.trace import UnsuitedFormulaError

if TYPE_CHECKING:
    from dlskills.formulas.formula import Formula
    from dlskills.formulas.table import Table

ENGINES: Mapping[str, Engine] = {
    engine.name: engine for engine in (plain.ENGINE, blocked.ENGINE, numba.ENGINE, cuda.ENGINE)
}
"""All engines by name, the fastest last."""


class EngineMissingError(RuntimeError):
    """The requested engine is not available; the message says what to install."""


_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("engine", default=None)


def run(
    formula: Formula,
    operands: Sequence[Any],
    axis: tuple[int, ...] | None = None,
    out: Sequence[Array | None] | None = None,
) -> tuple[Array, ...]:
    """Run a formula on the forced engine, or on the best one for its first operand."""
    chosen = engine_for(operands[0])
    engine = _unless_unsuited(formula, chosen, operands[0])
    try:
        given = operands if engine.takes_masks else without_masks(operands)
        return engine.run(formula, given, axis, out)
    except UnsuitedFormulaError as error:
        _warn_once(formula, chosen, operands[0], error)
        return plain.ENGINE.run(formula, without_masks(operands), axis, out)


def update(table: Table) -> None:
    """Update a table's arrays in place on the forced engine, or on the best one for them."""
    table.rule.check_elementwise(table)
    chosen = choose(table)
    try:
        _unless_unsuited(table.rule, chosen, table).update(table)
    except UnsuitedFormulaError as error:
        _warn_once(table.rule, chosen, table, error)
        plain.ENGINE.update(table)


def choose(table: Table) -> Engine:
    """Return the engine that updates a table, cached in the table.

    Raises
    ------
    RuntimeError
        The forced engine does not accept the table's arrays.
    """
    forced = _forced.get()
    if table.chosen is None or table.chosen[0] != forced:
        table.chosen = forced, engine_for(table.alike[0], table.size)
    return table.chosen[1]


def _unless_unsuited(formula: Formula, chosen: Engine, array: Array | Table) -> Engine:
    """Return the chosen engine, or the plain one if the chosen one has failed before."""
    if formula.unsuited and (chosen.name, array.dtype) in formula.unsuited and not _forced.get():
        return plain.ENGINE
    return chosen


def _warn_once(
    formula: Formula, chosen: Engine, array: Array | Table, error: UnsuitedFormulaError
) -> None:
    """Warn that the plain engine is used instead, or raise the error if an engine is forced."""
    if _forced.get() is not None:
        raise error
    formula.unsuited.add((chosen.name, array.dtype))
    message = f"{formula.__name__}: {error}. Falling back to the engine 'plain'"
    warnings.warn(message, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the `stacklevel` at which a warning of the calling function names the user's line."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("dlskills."):
        frame, level = frame.f_back, level + 1
    return level


def engine_for(array: Array, size: int | None = None) -> Engine:
    """Return the engine that runs formulas whose first operand is like this array.

    Parameters
    ----------
    array : array
    size : int, optional
        The total number of elements, by default that of the array.

    Raises
    ------
    RuntimeError
        The forced engine does not accept such arrays.
    """
    name = _forced.get()
    if name is None:
        for engine in _engines_for(library_of(array)):
            if engine.suits(array, size):
                return engine
        return plain.ENGINE
    forced = ENGINES[name]
    if not forced.takes(array):
        library = library_of(array)
        fit = [name for name, engine in ENGINES.items() if engine.takes(array)]
        raise RuntimeError(
            f"engine {name!r} takes arrays of {forced.library}, got one of {library}. Engines for "
            f"it: {', '.join(fit)}"
        )
    return forced


@functools.cache
def _engines_for(library: str) -> tuple[Engine, ...]:
    """Return the engines for a library's arrays, the fastest first."""
    return tuple(e for e in reversed(list(ENGINES.values())) if e.library in (None, library))


def forced_engine() -> str | None:
    """Return the name of the engine forced by :func:`engine`, or None."""
    return _forced.get()


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Context manager that runs all formulas, of layers and updates, on one engine.

    Use it for comparison and debugging.

    Parameters
    ----------
    name : str
        ``"plain"``, ``"blocked"``, ``"numba"`` or ``"cuda"``. Case is ignored.

    Raises
    ------
    ValueError
        The engine does not exist.
    EngineMissingError
        The engine is not available; the message says what to install.

    Examples
    --------
    >>> import dlskills
    >>> with dlskills.engine("plain"):
    ...     pass
    """
    if isinstance(name, str) and name.strip().lower() == "fused":
        warnings.warn(
            "the engine 'fused' is now called 'cuda'. The old name will be removed in the next "
            "release",
            DeprecationWarning,
            stacklevel=3,
        )
        name = "cuda"
    name = check_choice("engine", name, ENGINES)
    if reason := ENGINES[name].missing():
        raise EngineMissingError(f"engine {name!r} is not available: {reason}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
