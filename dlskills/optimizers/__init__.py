"""Optimizers: update rules, parameter groups, clipping and learning-rate schedules."""

from __future__ import annotations

import warnings
from typing import Any

from dlskills.checks import check_choice
from dlskills.formulas.engines import ENGINES, EngineMissingError, engine
from dlskills.optimizers import schedules
from dlskills.optimizers.adam import Adam, AdamW, AMSGrad, Lion, NAdam
from dlskills.optimizers.adam_variants import Adamax, Adan, RAdam, Yogi
from dlskills.optimizers.adaptive import AdaDelta, AdaGrad
from dlskills.optimizers.gradient_descent import SGD, Momentum, Nesterov
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.rmsprop import RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {
    rule.__name__.lower(): rule
    for rule in (
        SGD, Momentum, Nesterov, AdaGrad, RMSprop, AdaDelta, Adam, AdamW, AMSGrad, NAdam, Adamax,
        RAdam, Yogi, Adan, Lion,
    )
}  # fmt: skip
"""All optimizers, keyed by class name in lower case."""


def make_optimizer(name: str, **hyperparameters: Any) -> Optimizer:
    """Create an optimizer by name: ``make_optimizer("adam", lr=0.01)``.

    Parameters
    ----------
    name : str
        The name of the class, in any case. The tutorial's Trainer spells RMSprop "rmsprpo"; this
        spelling is accepted with a DeprecationWarning.
    **hyperparameters
        Arguments of the class.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        No optimizer has this name; the message suggests the nearest.
    TypeError
        The optimizer has no such hyperparameter.
    """
    if isinstance(name, str) and name.strip().lower() == "rmsprpo":
        warnings.warn("optimizer 'rmsprpo' is read as 'rmsprop'", DeprecationWarning, stacklevel=2)
        name = "rmsprop"
    rule = OPTIMIZERS[check_choice("optimizer", name, OPTIMIZERS)]
    return rule(**hyperparameters)


__all__ = [
    "ENGINES",
    "OPTIMIZERS",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "EngineMissingError",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Number",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Yogi",
    "engine",
    "make_optimizer",
    "schedules",
]
