"""Learning-rate schedules.

A schedule is a function of the number of updates done, 0 before the first update. Any function
will do; those defined here are dataclasses with a readable ``repr`` and equality. An optimizer
evaluates its schedule on the host, once per step, at negligible cost.

>>> from dlskills import SGD
>>> optimizer = SGD(lr=Warmup(100, CosineDecay(0.1, steps=1000)))
>>> optimizer.lr
0.001
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from dlskills.checks import check_count, check_number

Schedule: TypeAlias = Callable[[int], float]
"""Maps the number of updates done to the learning rate of the next update."""

LearningRate: TypeAlias = Any
"""A number or a :data:`Schedule`. Reading it from an optimizer gives the next update's rate."""


@dataclass(frozen=True)
class StepDecay:
    """Multiply `lr` by `factor` every `every` steps: ``lr * factor ** (step // every)``."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(self, "every")

    def __call__(self, step: int) -> float:
        return self.lr * math.pow(self.factor, step // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """Decay `lr` exponentially, by `rate` per `every` steps: ``lr * rate ** (step / every)``."""

    lr: float
    rate: float
    every: int = 1

    def __post_init__(self) -> None:
        _check(self, "every")

    def __call__(self, step: int) -> float:
        return self.lr * math.pow(self.rate, step / self.every)


@dataclass(frozen=True)
class InverseTimeDecay:
    """``lr / (1 + rate * step)``: half of `lr` after 1 / `rate` steps (Robbins & Monro, 1951)."""

    lr: float
    rate: float

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, step: int) -> float:
        return self.lr / (1 + self.rate * step)


@dataclass(frozen=True)
class Linear:
    """Change linearly from `start` to `end` over `steps` steps, then stay at `end`."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        _check(self, "steps")

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.start + done * (self.end - self.start)


@dataclass(frozen=True)
class CosineDecay:
    """Decay from `lr` to `end` along half a cosine over `steps` steps, then stay at `end`.

    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", equation 5
    for a single cycle.
    """

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "steps")

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.end + 0.5 * (self.lr - self.end) * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Warmup:
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

    def __post_init__(self) -> None:
        _check(self, "steps")

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return (step + 1) / self.steps * rate_at(self.schedule, 0)
        return rate_at(self.schedule, step - self.steps)


@dataclass(frozen=True)
class OneCycle:
    """One cycle: increase from `lr` / `start_divisor` to `lr`, then decay to nearly 0.

    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", with half cosines as in PyTorch's OneCycleLR.

    Parameters
    ----------
    lr : float
        The maximum learning rate.
    steps : int
        Length of the whole cycle.
    rise : float, default 0.3
        Fraction of the steps in which the rate increases, between 0 and 1.
    start_divisor, end_divisor : float, default 25 and 1e4
        The first rate is lr / start_divisor, the last lr / (start_divisor * end_divisor).
    """

    lr: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        _check(self, "steps")
        check_number("rise", self.rise, above=0, below=1)
        check_number("start_divisor", self.start_divisor, above=0)
        check_number("end_divisor", self.end_divisor, above=0)

    def __call__(self, step: int) -> float:
        start = self.lr / self.start_divisor
        top = self.rise * self.steps - 1  # counted from 0; the last step is steps - 1
        if step < top:
            return self.lr + 0.5 * (start - self.lr) * (1 + math.cos(math.pi * step / top))
        done = min((step - top) / (self.steps - 1 - top), 1.0)
        end = start / self.end_divisor
        return end + 0.5 * (self.lr - end) * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, init=False)
class Chain:
    """Follow several schedules in turn, each from its own step 0.

    Parameters
    ----------
    *parts : (int, Schedule or float)
        Number of steps and the schedule for them; the last schedule never ends.

    Examples
    --------
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


def rate_at(schedule: Schedule | float, step: int) -> float:
    """Return the learning rate after `step` updates; a number is a constant schedule.

    Raises
    ------
    ValueError
        The schedule overflowed, or returned a negative number or one that is not finite.
    TypeError
        The schedule did not return a number.
    """
    try:
        rate = schedule(step) if callable(schedule) else schedule
    except OverflowError:
        raise ValueError(
            f"the learning rate of {schedule!r} overflows after {step} updates. Use a schedule "
            "that decreases, or ends, such as Chain or Linear"
        ) from None
    return check_number("the learning rate returned by a schedule", rate, at_least=0)


def _check(schedule: Any, *counts: str) -> None:
    for name, value in vars(schedule).items():
        if name in counts:
            check_count(name, value)
        elif name in ("lr", "start", "end", "factor", "rate", "schedule"):
            check_rate(name, value)


def check_rate(name: str, value: Any) -> LearningRate:
    """Return a schedule unchanged, or a number as a float.

    Raises
    ------
    TypeError
        `value` is neither, for example the class of a schedule, or a model's parameters.
    ValueError
        The number is negative or not finite.
    """
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a number or a schedule, got the class {value.__name__}. Create a "
            f"schedule: {value.__name__}(...)"
        )
    many = hasattr(value, "__iter__") and getattr(value, "shape", None) != ()
    if callable(getattr(value, "parameters", None)) or (many and not isinstance(value, str)):
        raise TypeError(
            f"{name} must be a number or a schedule, got a {type(value).__name__}. Parameters are "
            "passed at each update: update(params, grads)"
        )
    return value if callable(value) else check_number(name, value, at_least=0)
