"""Schedules made of other schedules: a warm-up, and one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from dlskills.checks import check_count
from dlskills.optimizers.schedules.base import Described, Schedule, check_rate, rate_at


@dataclass(frozen=True)
class Warmup(Described):
    """Increase the rate linearly over `steps` steps, then follow `schedule` from its step 0.

    Update number i of the first `steps` uses i / `steps` of the schedule's first value (Goyal et
    al., 2017, "Accurate, large minibatch SGD", section 2.2).

    Parameters
    ----------
    steps : int
        Length of the warm-up, at least 1.
    schedule : Schedule or float
    """

    steps: int
    schedule: Schedule | float

    counts = ("steps",)

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return (step + 1) / self.steps * rate_at(self.schedule, 0)
        return rate_at(self.schedule, step - self.steps)


@dataclass(frozen=True, init=False)
class Chain(Described):
    """Follow several schedules in turn, each from its own step 0.

    Parameters
    ----------
    *parts : (int, Schedule or float)
        Number of steps and the schedule for them; the last schedule never ends.

    Examples
    --------
    >>> from dlskills.optimizers.schedules import ExponentialDecay
    >>> schedule = Chain((10, 0.1), (10, 0.01), (1, ExponentialDecay(0.001, rate=0.5)))
    >>> schedule(9), schedule(19), schedule(20), schedule(21)
    (0.1, 0.01, 0.001, 0.0005)
    """

    parts: tuple[tuple[int, Schedule | float], ...]

    def __init__(self, *parts: tuple[int, Schedule | float]) -> None:
        if not parts:
            raise ValueError("Chain must have at least one part (steps, schedule), got none")
        for steps, schedule in parts:
            check_count("steps", steps)
            check_rate("schedule", schedule)
        object.__setattr__(self, "parts", parts)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.parts))})"

    def __call__(self, step: int) -> float:
        for steps, schedule in self.parts[:-1]:
            if step < steps:
                return rate_at(schedule, step)
            step -= steps
        return rate_at(self.parts[-1][1], step)

    def in_epochs(self, steps_per_epoch: int) -> Chain:
        check_count("steps_per_epoch", steps_per_epoch)
        return Chain(
            *(
                (
                    steps * steps_per_epoch,
                    part.in_epochs(steps_per_epoch) if isinstance(part, Described) else part,
                )
                for steps, part in self.parts
            )
        )
