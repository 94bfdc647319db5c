"""Advice from the measures of layers: what is wrong, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DEAD = 0.5
"""Fraction of dead units above which a ReLU layer gets a warning."""
SATURATED = 0.5
"""Fraction of saturated outputs above which a sigmoid or tanh layer gets a warning."""
LARGE_UPDATE = 0.2
"""Update-to-weight ratio above which a layer gets a warning; 1e-3 is usual."""
LOST = 1e-3
"""Ratio of the first to the last gradient below which it vanishes; above 1 / LOST it explodes.

Likewise for the output of a hidden layer, compared with that of the first."""
SHRINKING = 0.2
"""Ratio of the gradients of the first and the last hidden layer below which it shrinks."""
SHRINKING_PER_LAYER = 0.7
"""Ratio per hidden layer below which a gradient shrinks; 0.577 for tanh and the initial weights of
Glorot & Bengio (2010), equation 1."""
MANY = 4
"""Minimum number of hidden layers for comparing gradients among them."""


def warnings(layers: Sequence[str], last: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    """Return warnings about one observation.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers.
    last : mapping of str to numpy.ndarray
        For each measure, its values, shape (1, layers).

    Returns
    -------
    list of str
        One sentence per problem; empty for a healthy network.
    """
    numbers = {measure: values[0] for measure, values in last.items()}
    # A value that is not finite spreads to all later layers, so only the first is reported.
    return _not_finite(layers, numbers) or [
        *_dead(layers, numbers["dead"]),
        *_saturated(layers, numbers["saturated"]),
        *_activations(layers, numbers["activation_std"], _hidden(numbers)),
        *_gradients(layers, numbers["gradient_std"], _hidden(numbers)),
        *_updates(layers, numbers["update_ratio"]),
    ]


def _not_finite(layers: Sequence[str], numbers: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    for layer, mean, std in zip(
        layers, numbers["activation_mean"], numbers["activation_std"], strict=True
    ):
        if not np.isfinite(mean) or not np.isfinite(std):
            return [
                f"{layer}: the output is not finite, so training has diverged. Restart with a "
                "smaller learning rate or smaller initial weights"
            ]
    return []


def _dead(layers: Sequence[str], dead: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: {fraction:.0%} of the units are dead (0 for the whole batch). Try He "
        "initialization or a smaller learning rate"
        for layer, fraction in zip(layers, dead, strict=True)
        if fraction > DEAD
    ]


def _saturated(layers: Sequence[str], saturated: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: {fraction:.0%} of the outputs are saturated, where the gradient is nearly 0. "
        "Try Xavier initialization, Batch Norm or a smaller learning rate"
        for layer, fraction in zip(layers, saturated, strict=True)
        if fraction > SATURATED
    ]


def _hidden(numbers: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the indices of the layers with weights, except the last."""
    return np.flatnonzero(~np.isnan(numbers["weight_gradient_std"]))[:-1]


def _activations(
    layers: Sequence[str], stds: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]
) -> list[str]:
    """Compare the output of each hidden layer with that of the first."""
    if hidden.size < 2 or stds[hidden[0]] == 0:
        return []
    ratios = stds[hidden] / stds[hidden[0]]
    lost = np.flatnonzero((ratios < LOST) | (ratios > 1 / LOST))
    if not lost.size:
        return []
    layer, std, ratio = hidden[lost[0]], stds[hidden[lost[0]]], ratios[lost[0]]
    fate, remedy = ("vanish", "'he'") if ratio < 1 else ("explode", "smaller ones, such as 'he'")
    return [
        f"{layers[layer]}: the output's standard deviation of {std:.1g} is {ratio:.1g} times that "
        f"of {layers[hidden[0]]}, so the activations {fate}. Try initial weights that suit the "
        f"activation ({remedy} for ReLU, 'xavier' for tanh) or Batch Norm"
    ]


def _gradients(
    layers: Sequence[str], stds: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]
) -> list[str]:
    """Compare the gradients of the first and the last layer, or those of the hidden layers."""
    known = np.flatnonzero(~np.isnan(stds))
    if known.size < 2 or stds[known[-1]] == 0:
        return []
    first, last = known[0], known[-1]
    ratio = stds[first] / stds[last]
    change = f"the gradient is {ratio:.1g} times that of {layers[last]}"
    if ratio < LOST:
        return [
            f"{layers[first]}: {change}, so it vanishes. Try initial weights that suit the "
            "activation ('he' for ReLU, 'xavier' for tanh), ReLU instead of sigmoid, or Batch Norm"
        ]
    if not ratio <= 1 / LOST:
        return [
            f"{layers[first]}: {change}, so it explodes. Try smaller initial weights, gradient "
            "clipping or Batch Norm"
        ]
    return _shrinking(layers, stds, hidden)


def _shrinking(
    layers: Sequence[str], stds: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]
) -> list[str]:
    """Compare the gradients of the first and the last hidden layer."""
    if hidden.size < MANY or not stds[hidden[-1]] > 0:
        return []
    ratio = stds[hidden[0]] / stds[hidden[-1]]
    per_layer = ratio ** (1 / (hidden.size - 1))
    if not (ratio < SHRINKING and per_layer < SHRINKING_PER_LAYER):
        return []
    return [
        f"{layers[hidden[0]]}: the gradient is {ratio:.1g} times that of {layers[hidden[-1]]}; it "
        f"shrinks to {per_layer:.2g} of its size per hidden layer. Try initial weights that suit "
        "the activation ('he' for ReLU, 'xavier' for tanh), ReLU instead of sigmoid, or Batch Norm"
    ]


def _updates(layers: Sequence[str], ratios: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"{layer}: one update changes the weights by {ratio:.0%} of their norm; about 0.1% is "
        "usual. Try a smaller learning rate or gradient clipping"
        for layer, ratio in zip(layers, ratios, strict=True)
        if LARGE_UPDATE
        < ratio
        < np.inf  # infinite if all weights were 0, as in a zero initialization
    ]
