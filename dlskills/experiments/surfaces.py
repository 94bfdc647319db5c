"""Surfaces on which update rules are followed: formula, gradient, window, start and minimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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
