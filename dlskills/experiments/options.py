"""Options that several experiments share."""

from __future__ import annotations

from typing import Any

from dlskills.experiments.choices import (
    parse_activation,
    parse_inits,
    parse_rate,
    parse_sizes,
)
from dlskills.experiments.experiment import Option


def _one_init(value: Any) -> Any:
    (item,) = parse_inits([value])
    return item


RATE = Option("Learning rate.", parse_rate("lr", at_least=0))
HIDDEN = Option("Units of each hidden layer, such as '100, 100'.", parse_sizes)
ACTIVATION = Option("relu, sigmoid, tanh, leakyrelu, gelu, or my.py:CLASS.", parse_activation)
WEIGHT_INIT = Option("Initial weights: a standard deviation, xavier or he.", _one_init)
WEIGHT_INITS = Option(
    "Initial weights to compare: standard deviations and names, such as '0.01, xavier, he'.",
    parse_inits,
)
SMALL_EPOCHS = "Epochs, of 3 batches each; the last one ends with its first batch."
