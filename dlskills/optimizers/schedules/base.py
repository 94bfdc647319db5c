"""What a schedule is: its type, its checks, and its statement in epochs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

from dlskills.checks import check_count, check_number

Schedule: TypeAlias = Callable[[int], float]
"""Maps the number of updates done to the learning rate, or the value, of the next update."""

LearningRate: TypeAlias = Any
"""A number or a :data:`Schedule`. Reading it from an optimizer gives the next update's rate."""


@dataclasses.dataclass(frozen=True)
class Described:
    """Base class of the schedules of this package: values with a readable ``repr``."""

    counts: ClassVar[tuple[str, ...]] = ()
    """The settings that are numbers of steps."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.counts:
                check_count(field.name, value)
            elif field.name in ("lr", "start", "end", "factor", "rate", "schedule"):
                check_rate(field.name, value)

    def __call__(self, step: int) -> float:
        """Return the value of the next update, after `step` updates."""
        raise NotImplementedError

    def in_epochs(self, steps_per_epoch: int) -> Self:
        """Return this schedule with its numbers of steps read as numbers of epochs.

        Parameters
        ----------
        steps_per_epoch : int
            Such as ``len(batches)``, or ``trainer.iter_per_epoch``.

        Returns
        -------
        schedule of the same class
            It still changes from step to step. A function among its parts is left as it is.

        Examples
        --------
        >>> from dlskills import schedules
        >>> schedules.StepDecay(0.1, every=30).in_epochs(500)
        StepDecay(lr=0.1, every=15000, factor=0.1)
        """
        check_count("steps_per_epoch", steps_per_epoch)
        changed = {name: getattr(self, name) * steps_per_epoch for name in self.counts}
        if isinstance(inner := getattr(self, "schedule", None), Described):
            changed["schedule"] = inner.in_epochs(steps_per_epoch)
        return dataclasses.replace(self, **changed)


def value_at(schedule: Schedule | float, step: int, name: str, **bounds: float) -> float:
    """Return the value after `step` updates; a number is a constant schedule.

    Parameters
    ----------
    schedule : Schedule or float
    step : int
    name : str
        What the value is, for errors.
    **bounds
        Of :func:`~dlskills.checks.check_number`.

    Raises
    ------
    ValueError
        The schedule overflowed, or returned a number that is out of bounds or not finite.
    TypeError
        The schedule did not return a number.
    """
    try:
        value = schedule(step) if callable(schedule) else schedule
    except OverflowError:
        raise ValueError(
            f"the {name} of {schedule!r} overflows after {step} updates. Use a schedule "
            "that decreases, or ends, such as Chain or Linear"
        ) from None
    return check_number(f"the {name} returned by a schedule", value, **bounds)


def rate_at(schedule: Schedule | float, step: int) -> float:
    """Return the learning rate after `step` updates; see :func:`value_at`."""
    return value_at(schedule, step, "learning rate", at_least=0)


def check_rate(name: str, value: Any, at_least: float = 0.0) -> LearningRate:
    """Return a schedule unchanged, or a number as a float.

    Raises
    ------
    TypeError
        `value` is neither, for example the class of a schedule, or a model's parameters.
    ValueError
        The number is less than `at_least` or not finite.
    """
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a number or a schedule, got the class {value.__name__}. Create a "
            f"schedule: {value.__name__}(...)"
        )
    many = hasattr(value, "__iter__") and getattr(value, "shape", None) != ()
    model = callable(getattr(value, "parameters", None)) or (
        hasattr(value, "params") and not callable(value)  # a schedule may have its own params
    )
    if model or (many and not isinstance(value, str)):
        raise TypeError(
            f"{name} must be a number or a schedule, got a {type(value).__name__}. Parameters are "
            "passed at each update: update(params, grads)"
        )
    return value if callable(value) else check_number(name, value, at_least=at_least)


def cosine(start: float, end: float, done: float) -> float:
    """Return the value between `start` and `end` along half a cosine, `done` from 0 to 1."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * done))
