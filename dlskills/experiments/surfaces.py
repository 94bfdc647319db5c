"""Surfaces on which update rules are followed: formula, gradient, window, start and minimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlskills.checks import check_choice
from dlskills.experiments.loading import load_name


@dataclass(frozen=True)
class Surface:
    """A function of x and y.

    Attributes
    ----------
    formula : str
        In words of mathematics.
    value, gradient : callable
        ``value(x, y)``; ``gradient(x, y)`` returns the derivatives by x and by y.
    start, minimum : tuple of float
        `minimum` is None where there is none.
    window : tuple of float
        The figure's left, right, lower and upper end.
    levels : tuple of float
        Of the contours.
    rates : mapping of str to float
        Learning rates that suit SGD, Momentum, AdaGrad and Adam.
    """

    formula: str
    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], tuple[Any, Any]]
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    window: tuple[float, float, float, float]
    levels: tuple[float, ...]
    rates: Mapping[str, float]


def _beale_gradient(x: Any, y: Any) -> tuple[Any, Any]:
    terms = [(c - x + x * y**power, power) for c, power in ((1.5, 1), (2.25, 2), (2.625, 3))]
    by_x = sum(2 * term * (y**power - 1) for term, power in terms)
    by_y = sum(2 * term * power * x * y ** (power - 1) for term, power in terms)
    return by_x, by_y


SURFACES = {
    "bowl": Surface(  # the tutorial's
        "x²/20 + y²",
        lambda x, y: x**2 / 20 + y**2,
        lambda x, y: (x / 10, 2 * y),
        (-7.0, 2.0),
        (0.0, 0.0),
        (-10, 10, -5, 5),
        (0.1, 0.5, 1, 2, 4, 8, 16),
        {"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 1.5, "Adam": 0.3},
    ),
    # Rosenbrock (1960), "An automatic method for finding the greatest or least value of a function"
    "rosenbrock": Surface(
        "(1 - x)² + 100 (y - x²)²",
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        lambda x, y: (-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)),
        (-1.2, 1.0),
        (1.0, 1.0),
        (-2, 2, -1, 3),
        (0.5, 2, 8, 32, 128, 512),
        {"SGD": 0.001, "Momentum": 0.0005, "AdaGrad": 0.5, "Adam": 0.1},
    ),
    # Beale (1958), "On an iterative method for finding a local minimum of a function"
    "beale": Surface(
        "(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
        lambda x, y: (
            (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
        ),
        _beale_gradient,
        (1.0, 1.5),
        (3.0, 0.5),
        (-1, 4.5, -2, 2),
        (0.3, 1, 3, 10, 30, 100),
        {"SGD": 0.01, "Momentum": 0.005, "AdaGrad": 0.5, "Adam": 0.2},
    ),
    "saddle": Surface(
        "x² - y²",
        lambda x, y: x**2 - y**2,
        lambda x, y: (2 * x, -2 * y),
        (-2.0, 0.01),
        None,
        (-3, 3, -3, 3),
        (-6, -4, -2, -1, 0, 1, 2, 4, 6),
        {"SGD": 0.1, "Momentum": 0.05, "AdaGrad": 0.5, "Adam": 0.2},
    ),
}


def surface_of(choice: str) -> Surface:
    """Return a surface by its name, or one of a user's file.

    Parameters
    ----------
    choice : str
        A name of :data:`SURFACES`; or ``"FILE.py:NAME"``, where NAME is a :class:`Surface`, or a
        function ``f(x, y)`` of arrays, whose gradient is computed by central differences.

    Raises
    ------
    ValueError
        There is no such surface or file; or the function returns another shape than that of x and
        y, or no finite values.
    TypeError
        What the file defines is neither, or does not take x and y.
    """
    path, separator, name = choice.rpartition(":")
    if not separator or not path.endswith(".py"):
        return SURFACES[check_choice("function", choice, SURFACES)]
    found = load_name(path, name, "a function")
    if isinstance(found, Surface):
        return found
    if not callable(found):
        raise TypeError(f"{choice} must be a function f(x, y) or a Surface, got {found!r}")
    return _of_function(found, choice, name)


_WINDOW = (-5.0, 5.0, -5.0, 5.0)
_STEP = 6e-6  # the cube root of float64's precision, which suits central differences


def _of_function(function: Callable[[Any, Any], Any], choice: str, name: str) -> Surface:
    left, right, low, high = _WINDOW
    x, y = np.meshgrid(np.linspace(left, right, 60), np.linspace(low, high, 40))
    with np.errstate(all="ignore"):
        try:
            values = np.asarray(function(x, y))
        except TypeError as error:
            raise TypeError(f"{choice} must be a function of arrays x and y: {error}") from error
    if values.shape != x.shape or values.dtype.kind not in "fiu":
        raise ValueError(
            f"{choice} must return a real number for each point, of shape {x.shape} for x and y of "
            f"this shape, got {values.dtype} of shape {values.shape}"
        )
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError(f"{choice} is finite nowhere in x and y from {left:g} to {right:g}")
    levels = np.unique(np.quantile(finite, (0.01, 0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)))

    def gradient(x: Any, y: Any) -> tuple[Any, Any]:
        dx, dy = _STEP * (1 + abs(x)), _STEP * (1 + abs(y))
        return (
            (function(x + dx, y) - function(x - dx, y)) / (2 * dx),
            (function(x, y + dy) - function(x, y - dy)) / (2 * dy),
        )

    gradient.__module__ = function.__module__  # whose names the code that it calls uses
    return Surface(
        f"{name}(x, y)", function, gradient, (-4.0, 3.0), None, _WINDOW, tuple(levels.tolist()),
        SURFACES["saddle"].rates,
    )  # fmt: skip
