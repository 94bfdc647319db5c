"""Experiments beyond the tutorial: claims of the papers whose methods it uses."""

# isort: off
from dlskills.experiments.beyond import (
    adam_counterexample,
    conditioning,
    deep_initial_values,
    batch_norm_steps,
    learning_rates,
    decoupled_decay,
    dropout_mnist,
)

# isort: on
__all__ = [
    "adam_counterexample",
    "batch_norm_steps",
    "conditioning",
    "decoupled_decay",
    "deep_initial_values",
    "dropout_mnist",
    "learning_rates",
]
