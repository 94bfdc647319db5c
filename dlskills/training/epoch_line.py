"""The line that a trainer shows at the end of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def epoch_line(
    number: int,
    last: int,
    losses: Sequence[float],
    latest: Mapping[str, float],
    step: int,
    unit: str = "epoch",
) -> str:
    """Return the line of a finished epoch, or of the steps of one.

    Parameters
    ----------
    number, last : int
        The number of the epoch, from 1, and of the last one; or of the step.
    losses : sequence of float
        Of the epoch's steps.
    latest : mapping of str to float
        The newest row of the history, left out if it belongs to an earlier epoch.
    step : int
        The number of steps so far.
    unit : {"epoch", "step"}, default "epoch"
        Of `number` and `last`.

    Examples
    --------
    >>> row = {"step": 1, "train_accuracy": 0.125, "test_accuracy": 0.0625}
    >>> epoch_line(1, 20, [2.25, 1.75], row, 2)
    'epoch 1/20, mean loss 2.0000; at step 1: train accuracy 0.1250, test 0.0625'
    """
    line = f"{unit} {number}/{last}, mean loss {math.fsum(losses) / len(losses):.4f}"
    if not latest or latest["step"] <= step - len(losses):
        return line
    found = measured({name: number for name, number in latest.items() if name.startswith(_PARTS)})
    return f"{line}; at step {latest['step']:.0f}: {found}" if found else line


_PARTS = ("train_", "validation_", "test_")


def measured(numbers: Mapping[str, float]) -> str:
    """Return metrics in words, those that are NaN left out.

    Examples
    --------
    >>> measured({"train_accuracy": 0.5, "test_accuracy": 0.25, "test_loss": 1.5})
    'train accuracy 0.5000, test 0.2500, test loss 1.5000'
    """
    metrics: dict[str, list[str]] = {}
    for name, number in numbers.items():
        part, _, metric = name.partition("_")
        if not math.isnan(number):
            group = metrics.setdefault(metric, [])
            group.append(f"{part} {number:.4f}" if group else f"{part} {metric} {number:.4f}")
    return ", ".join(entry for group in metrics.values() for entry in group)
