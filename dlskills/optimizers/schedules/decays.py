"""Schedules that change one way: decays, and the linear and polynomial change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlskills.checks import check_number
from dlskills.optimizers.schedules.base import Described, cosine


@dataclass(frozen=True)
class StepDecay(Described):
    """Multiply `lr` by `factor` every `every` steps: ``lr * factor ** (step // every)``."""

    lr: float
    every: int
    factor: float = 0.1

    counts = ("every",)

    def __call__(self, step: int) -> float:
        return self.lr * math.pow(self.factor, step // self.every)


@dataclass(frozen=True)
class ExponentialDecay(Described):
    """Decay `lr` exponentially, by `rate` per `every` steps: ``lr * rate ** (step / every)``.

    The rate never falls below `end`.
    """

    lr: float
    rate: float
    every: int = 1
    end: float = 0.0

    counts = ("every",)

    def __call__(self, step: int) -> float:
        return max(self.lr * math.pow(self.rate, step / self.every), float(self.end))


@dataclass(frozen=True)
class InverseTimeDecay(Described):
    """``lr / (1 + rate * step / every)``: half of `lr` after `every` / `rate` steps.

    Robbins & Monro (1951), "A stochastic approximation method". With ``staircase=True`` the rate
    changes every `every` steps only, as ``step // every`` replaces ``step / every``.
    """

    lr: float
    rate: float
    every: int = 1
    staircase: bool = False

    counts = ("every",)

    def __call__(self, step: int) -> float:
        time = step // self.every if self.staircase else step / self.every
        return self.lr / (1 + self.rate * time)


@dataclass(frozen=True)
class InverseSqrt(Described):
    """``lr * sqrt(flat / t)`` for update number ``t``, and `lr` for the first `flat` updates.

    With ``flat=1`` that is ``lr / sqrt(t)``, the step size of regret bounds (Zinkevich, 2003,
    "Online convex programming and generalized infinitesimal gradient ascent"); with more, the
    schedule of Raffel et al. (2020), "Exploring the limits of transfer learning with a unified
    text-to-text transformer", section 3.1.2.

    Parameters
    ----------
    lr : float
        The rate of the first update.
    flat : int, default 1
        The number of updates before the rate decreases.
    """

    lr: float
    flat: int = 1

    counts = ("flat",)

    def __call__(self, step: int) -> float:
        return self.lr * math.sqrt(self.flat / max(step + 1, self.flat))


@dataclass(frozen=True)
class Linear(Described):
    """Change linearly from `start` to `end` over `steps` steps, then stay at `end`."""

    start: float
    end: float
    steps: int

    counts = ("steps",)

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.start + done * (self.end - self.start)


@dataclass(frozen=True)
class Polynomial(Described):
    """Decay from `lr` to `end` by ``(1 - step / steps) ** power``, then stay at `end`.

    Parameters
    ----------
    lr : float
        The first rate.
    steps : int
        Length of the decay.
    end : float, default 0.0
        The last rate.
    power : float, default 1.0
        Greater than 0; 1 is linear, 0.5 falls late, 2 falls early.
    cycle : bool, default False
        Whether the rate rises again instead of staying at `end`: each time the decay reaches its
        end, it is stretched to the next multiple of `steps`, as in Keras's PolynomialDecay.
    """

    lr: float
    steps: int
    end: float = 0.0
    power: float = 1.0
    cycle: bool = False

    counts = ("steps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("power", self.power, above=0)

    def __call__(self, step: int) -> float:
        steps = self.steps
        if self.cycle:
            steps *= max(math.ceil(step / self.steps), 1)
        left = 1 - min(step / steps, 1.0)
        return self.end + (self.lr - self.end) * math.pow(left, self.power)


@dataclass(frozen=True)
class CosineDecay(Described):
    """Decay from `lr` to `end` along half a cosine over `steps` steps, then stay at `end`.

    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", equation 5
    for a single cycle; :class:`CosineRestarts` has several.
    """

    lr: float
    steps: int
    end: float = 0.0

    counts = ("steps",)

    def __call__(self, step: int) -> float:
        return cosine(self.lr, self.end, min(step / self.steps, 1.0))
