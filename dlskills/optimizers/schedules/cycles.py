"""Schedules that rise again: cosines with restarts, and one cycle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlskills.checks import check_number
from dlskills.optimizers.schedules.base import Described, cosine


@dataclass(frozen=True)
class CosineRestarts(Described):
    """Decay from `lr` to `end` along half a cosine, again and again.

    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", equation 5.

    Parameters
    ----------
    lr : float
        The rate after each restart.
    steps : int
        Length of the first cycle.
    end : float, default 0.0
        The rate that each cycle decays to; the step after, the next begins.
    growth : float, default 1.0
        Length of a cycle divided by that of the one before, at least 1; T_mult in the paper.
    factor : float, default 1.0
        Height of a cycle, ``lr - end``, divided by that of the one before.
    """

    lr: float
    steps: int
    end: float = 0.0
    growth: float = 1.0
    factor: float = 1.0

    counts = ("steps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("growth", self.growth, at_least=1)

    def __call__(self, step: int) -> float:
        cycle, length, position = 0, float(self.steps), float(step)
        if self.growth == 1:
            cycle, position = divmod(step, self.steps)
        while position >= length:
            cycle, position, length = cycle + 1, position - length, length * self.growth
        top = self.end + (self.lr - self.end) * math.pow(self.factor, cycle)
        return cosine(top, self.end, position / length)


@dataclass(frozen=True)
class OneCycle(Described):
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

    counts = ("steps",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rise", self.rise, above=0, below=1)
        check_number("start_divisor", self.start_divisor, above=0)
        check_number("end_divisor", self.end_divisor, above=0)

    def __call__(self, step: int) -> float:
        start = self.lr / self.start_divisor
        top = self.rise * self.steps - 1  # counted from 0; the last step is steps - 1
        if step < top:
            return cosine(start, self.lr, step / top)
        done = min((step - top) / (self.steps - 1 - top), 1.0)
        return cosine(self.lr, start / self.end_divisor, done)
