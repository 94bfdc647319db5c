"""The best value of a metric so far, and how long ago it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlskills.checks import check_choice, check_count, check_number

_SMALLER = ("loss", "error", "penalty")
_LARGER = ("accuracy", "acc", "score")


class Best:
    """Follows a column of a history, and tells when it is better than ever before.

    Parameters
    ----------
    metric : str
        Such as ``"validation_loss"``.
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better; known for losses and accuracies.
    min_delta : float, default 0
        The least improvement that counts.

    Attributes
    ----------
    value : float
        Infinite before the first one.

    Raises
    ------
    ValueError
        `mode` is not given, and the name does not tell.
    """

    def __init__(self, metric: str, mode: str | None = None, min_delta: float = 0) -> None:
        if mode is None:
            last = metric.rpartition("_")[2]
            if last not in _SMALLER + _LARGER:
                raise ValueError(
                    f"{metric!r} does not tell whether smaller or larger is better; give "
                    'mode="min" or mode="max"'
                )
            mode = "min" if last in _SMALLER else "max"
        self.metric = metric
        self.mode = check_choice("mode", mode, ("min", "max"))
        self.min_delta = check_number("min_delta", min_delta, at_least=0)
        self.value = math.inf if mode == "min" else -math.inf

    def improves(self, value: float) -> bool:
        """Take note of a value; return whether it is the best one. NaN never is."""
        gain = self.value - value if self.mode == "min" else value - self.value
        if not gain > self.min_delta:
            return False
        self.value = value
        return True

    def __str__(self) -> str:
        return f"{self.metric} ({self.mode})"

    def latest(self, trainer: Any) -> float:
        """Return the newest value in a trainer's history.

        Raises
        ------
        ValueError
            There is no such column; the message names those that there are.
        """
        row = trainer.history.latest
        check_measured(self.metric, list(row))
        return float(row[self.metric])


def as_value(best: Any) -> float:
    """Return the best value of a state, which is infinite before the first evaluation.

    Raises
    ------
    TypeError
        It is not a number.
    """
    if isinstance(best, bool) or not isinstance(best, int | float):
        raise TypeError(f"best must be a number, got {best!r:.60}")
    return float(best)


def check_measured(metric: str, columns: Sequence[str]) -> None:
    """Raise an error if a metric is not among the columns of the history.

    Raises
    ------
    ValueError
        The message names those that there are.
    """
    if metric in columns:
        return
    hint = (
        "; give the trainer validation=0.2, or validation=(x, t)"
        if metric.startswith("val") and "validation_loss" not in columns
        else '; metrics=["accuracy", "loss"] measures both on each part of the data'
    )
    raise ValueError(f"no {metric!r} is measured, only {', '.join(columns) or 'nothing'}{hint}")


class Plateau(Best):
    """Counts the evaluations since a metric last improved.

    Parameters
    ----------
    metric, mode, min_delta
        See :class:`Best`.

    Attributes
    ----------
    waited : int
        The number of evaluations since the last improvement, or since the last plateau.
    """

    def __init__(self, metric: str, mode: str | None = None, min_delta: float = 0) -> None:
        super().__init__(metric, mode, min_delta)
        self.waited = 0

    def improved(self, trainer: Any) -> bool:
        """Take note of an evaluation; return whether it is the best one."""
        better = self.improves(self.latest(trainer))
        self.waited = 0 if better else self.waited + 1
        return better

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the ``best`` value and the number of evaluations ``waited`` since.

        Raises
        ------
        KeyError, TypeError, ValueError
            One of them is missing or not a number.
        """
        waited = check_count("waited", state["waited"], at_least=0)
        self.value, self.waited = as_value(state["best"]), waited

    def reached(self, patience: int) -> bool:
        """Return whether it has lasted for `patience` evaluations; then the count begins anew."""
        if self.waited < patience:
            return False
        self.waited = 0
        return True
