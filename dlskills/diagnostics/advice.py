"""What measures of layers mean, in words: what is wrong, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DEAD = 0.5
"""Share of units that are 0 for a whole batch from which on a ReLU layer is warned of."""
SATURATED = 0.5
"""Share of saturated values from which on a sigmoid or tanh layer is warned of."""
LARGE_UPDATE = 0.2
"""Size of an update over that of the weights; a thousandth is usual."""
LOST = 1e-3
"""What is left of a gradient on its way back when it has vanished; the inverse: exploded."""


def warnings(layers: Sequence[str], last: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    """Sentences about one observation.

    Parameters
    ----------
    layers : sequence of str
        What they are called.
    last : mapping of str to numpy.ndarray
        The measures of each layer, shape (1, layers).
    """
    numbers = {measure: values[0] for measure, values in last.items()}
    # one fault upstream makes all numbers after it not finite: only the first is told of
    return _not_finite(layers, numbers) or [
        *_dead(layers, numbers["dead"]),
        *_saturated(layers, numbers["saturated"]),
        *_gradients(layers, numbers["gradient_std"]),
        *_updates(layers, numbers["update_ratio"]),
    ]


def _not_finite(layers: Sequence[str], numbers: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    for layer, mean, std in zip(
        layers, numbers["activation_mean"], numbers["activation_std"], strict=True
    ):
        if not np.isfinite(mean) or not np.isfinite(std):
            return [
                f"{layer}: its output is not finite, and so is nothing after it; the training has "
                "diverged. Start again with a smaller learning rate or smaller initial values"
            ]
    return []


def _dead(layers: Sequence[str], dead: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: {share:.0%} of its units are dead (0 for the whole batch); try He's initial "
        "values or a smaller learning rate"
        for layer, share in zip(layers, dead, strict=True)
        if share > DEAD
    ]


def _saturated(layers: Sequence[str], saturated: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: {share:.0%} of its values are saturated, where next to no gradient gets "
        "through; try Xavier's initial values, Batch Norm or a smaller learning rate"
        for layer, share in zip(layers, saturated, strict=True)
        if share > SATURATED
    ]


def _gradients(layers: Sequence[str], stds: np.ndarray[Any, Any]) -> list[str]:
    """How the gradient changes from the last layer to the first."""
    there = np.flatnonzero(~np.isnan(stds))
    if there.size < 2 or stds[there[-1]] == 0:
        return []
    first, last = there[0], there[-1]
    ratio = stds[first] / stds[last]
    change = f"its gradient is {ratio:.1g} times that of {layers[last]}"
    if ratio < LOST:
        return [
            f"{layers[first]}: {change}: it vanishes on its way back; try initial values that "
            "suit the activation ('he' for ReLU, 'xavier' for tanh), ReLU in place of sigmoid, or "
            "Batch Norm"
        ]
    if not ratio <= 1 / LOST:
        return [
            f"{layers[first]}: {change}: it explodes on its way back; try smaller initial "
            "values, clipping or Batch Norm"
        ]
    return []


def _updates(layers: Sequence[str], ratios: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: one update changes its weights by {ratio:.0%} of their size, where about 0.1% "
        "is usual; try a smaller learning rate, or clipping"
        for layer, ratio in zip(layers, ratios, strict=True)
        if LARGE_UPDATE < ratio < np.inf  # of weights that were all 0, it says nothing
    ]
