"""The line that a trainer shows at the end of an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlskills.training.evaluation import Measured


def epoch_line(
    epoch: int, epochs: int, losses: Sequence[float], latest: Measured | None, step: int
) -> str:
    """Return the line of an epoch that has ended.

    Parameters
    ----------
    epoch, epochs : int
        The number of the epoch, from 1, and of the last one.
    losses : sequence of float
        Of its steps.
    latest : Measured or None
        The latest evaluation, left out if it belongs to an earlier epoch.
    step : int
        The number of steps so far.

    Examples
    --------
    >>> epoch_line(1, 20, [2.25, 1.75], Measured(1, 0.125, 0.0625, None), 2)
    'epoch 1/20, mean loss 2.0000; at step 1: train accuracy 0.1250, test 0.0625'
    """
    line = f"epoch {epoch}/{epochs}, mean loss {math.fsum(losses) / len(losses):.4f}"
    if latest is None or latest.step <= step - len(losses):
        return line
    found = [] if math.isnan(latest.train_acc) else [f"train accuracy {latest.train_acc:.4f}"]
    if test := on_test_data(latest.test_acc, latest.test_loss):
        found.append(test.replace("test accuracy", "test") if found else test)
    return f"{line}; at step {latest.step}: {', '.join(found)}" if found else line


def on_test_data(accuracy: float | None, loss: float | None) -> str:
    """Return what was measured on test data in words, nothing if nothing was."""
    found = []
    if accuracy is not None and not math.isnan(accuracy):
        found.append(f"test accuracy {accuracy:.4f}")
    if loss is not None:
        found.append(f"test loss {loss:.4f}")
    return ", ".join(found)
