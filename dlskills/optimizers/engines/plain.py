"""The engine ``plain``: the formula over whole arrays, for every library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, namespace
from dlskills.optimizers.engines.rules import Rule, as_tuple, update_of


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[Any]) -> None:
    """Update ``[param, grad, *slots]`` in place."""
    results = update_of(rule, namespace(arrays[0]))(*arrays, *coefficients)
    param, _, *slots = arrays
    for array, result in zip((param, *slots), as_tuple(results, 1 + len(slots)), strict=True):
        if result is not array:  # a rule may compute a new value in place of changing the old
            array[...] = result


def evaluate(rule: Rule, values: Sequence[Any], coefficients: Sequence[Any]) -> tuple[Any, ...]:
    """The new values of [param, *slots], where they are of a kind that can't be changed in place.

    Parameters
    ----------
    rule : Rule
    values : sequence
        ``[param, grad, *slots]``: Python or NumPy scalars, or immutable arrays (JAX's).
    coefficients : sequence of float
    """
    count = len(values) - 1  # all but the gradient
    if isinstance(values[0], int | float):
        # NumPy's scalars follow IEEE 754 (1 / 0 is inf) and have every function; Python's do not
        results = update_of(rule, np)(*map(np.float64, values), *coefficients)
        return tuple(map(float, as_tuple(results, count)))
    return as_tuple(update_of(rule, namespace(values[0]))(*values, *coefficients), count)
