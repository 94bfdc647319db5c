"""Schedules of the learning rate, or of any other hyperparameter.

A schedule is a function of the number of updates done, 0 before the first update. Any function
will do; those defined here are dataclasses with a readable ``repr`` and equality, which
checkpoints save. An optimizer evaluates its schedules on the host, once per step, at negligible
cost. The classes call the value that changes `lr`, whatever it is used for.

>>> from dlskills import SGD, Momentum
>>> optimizer = SGD(lr=Warmup(100, CosineDecay(0.1, steps=1000)))
>>> optimizer.lr
0.001
>>> Momentum(lr=0.01, momentum=Linear(0.5, 0.99, steps=1000)).momentum
0.5

Numbers of steps are numbers of epochs after :meth:`~Described.in_epochs`:

>>> CosineDecay(0.1, steps=90).in_epochs(steps_per_epoch=500)
CosineDecay(lr=0.1, steps=45000, end=0.0)
"""

from dlskills.optimizers.schedules.base import (
    Described,
    LearningRate,
    Schedule,
    check_rate,
    rate_at,
    value_at,
)
from dlskills.optimizers.schedules.combined import Chain, Warmup
from dlskills.optimizers.schedules.cycles import CosineRestarts, OneCycle
from dlskills.optimizers.schedules.decays import (
    CosineDecay,
    ExponentialDecay,
    InverseSqrt,
    InverseTimeDecay,
    Linear,
    Polynomial,
    StepDecay,
)

SCHEDULES: dict[str, type[Described]] = {
    made.__name__: made
    for made in (
        StepDecay, ExponentialDecay, InverseTimeDecay, InverseSqrt, Linear, Polynomial,
        CosineDecay, CosineRestarts, OneCycle, Warmup, Chain,
    )
}  # fmt: skip
"""All schedules of this package by name; a saved optimizer refers to them so."""

__all__ = [
    "SCHEDULES",
    "Chain",
    "CosineDecay",
    "CosineRestarts",
    "Described",
    "ExponentialDecay",
    "InverseSqrt",
    "InverseTimeDecay",
    "LearningRate",
    "Linear",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "Warmup",
    "check_rate",
    "rate_at",
    "value_at",
]
