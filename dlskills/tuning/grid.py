"""Grids of hyperparameters: some values of each, in all combinations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Grid: TypeAlias = dict[str, list[Any]]
"""The values of each hyperparameter, by name."""


def check_grid(given: Any) -> Grid:
    """Return a validated copy of a grid, of Python numbers, strings and bools.

    Parameters
    ----------
    given : mapping of str to iterable

    Raises
    ------
    TypeError
        `given` is not such a mapping, or a value is neither a number nor text.
    ValueError
        A hyperparameter has no values, or one of them twice.
    """
    if not isinstance(given, Mapping) or not given:
        raise TypeError(
            "grid must be a mapping of names to values, such as {'lr': [0.1, 0.01]}, got "
            f"{given!r}"
        )
    grid: Grid = {}
    for name, values in given.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"grid[{name!r}] must be a list of values, got {values!r}")
        grid[name] = [_plain(name, value) for value in values]
        if not grid[name]:
            raise ValueError(f"grid[{name!r}] must have at least one value, got none")
        if len(set(grid[name])) < len(grid[name]):
            raise ValueError(f"grid[{name!r}] must have different values, got {grid[name]}")
    return grid


def parse_grid(texts: Iterable[str]) -> Grid:
    """Return the grid that texts such as ``"lr=0.1,0.01"`` describe, one per hyperparameter.

    Values are separated by commas: whole numbers, numbers, ``true`` and ``false``; all others are
    text.

    Raises
    ------
    ValueError
        A text is not of this form, a hyperparameter is named twice, has no values, or has one of
        them twice.

    Examples
    --------
    >>> from dlskills.tuning.grid import parse_grid
    >>> parse_grid(["lr=0.1,1e-2", "units=50,100", "rule=sgd,adam"])
    {'lr': [0.1, 0.01], 'units': [50, 100], 'rule': ['sgd', 'adam']}
    """
    grid: Grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        words = [word.strip() for word in values.split(",")]
        if not (name and equals and all(words)):
            raise ValueError(
                f"grid must be NAME=VALUE,VALUE,..., such as lr=0.1,0.01, got {text!r}"
            )
        if name in grid:
            raise ValueError(f"grid must name each hyperparameter once, got {name!r} twice")
        grid[name] = [_parsed(word) for word in words]
    return check_grid(grid)


def _parsed(word: str) -> Any:
    """Return the number, bool or text that a word stands for."""
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def size(grid: Grid) -> int:
    """Return the number of points of a grid."""
    return math.prod(map(len, grid.values()))


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON holds it: NumPy's numbers become Python's."""
    value = value.item() if hasattr(value, "item") else value
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"grid[{name!r}] must have numbers or text as values, got {value!r}")
    return value
