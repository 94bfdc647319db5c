"""The hyperparameters of optimizers: how they are checked, and the learning rate."""

from __future__ import annotations

import collections
from typing import Any

from dlskills.checks import check_number
from dlskills.optimizers.groups import check_names, check_rates
from dlskills.optimizers.schedules import LearningRate, check_rate, rate_at

GROUP_NAMES = ("decay", "rates", "frozen")
"""The hyperparameters that make groups of parameters."""


def check_hyperparameter(name: str, kind: str, value: Any) -> Any:
    """The value of a hyperparameter as it is kept, refused if it is out of its range.

    Parameters
    ----------
    name : str
    kind : str
        Its annotation. Anything but numbers is taken as it is.
    value : object
    """
    if name in GROUP_NAMES and value is not None:
        return check_rates(value) if name == "rates" else check_names(name, value)
    if "float" not in kind or (value is None and "None" in kind):
        return value
    return check_number(name, value, **_RANGES[name])


class ScaledRate:
    """The attribute `lr`: takes a number or a schedule, gives the number of the next update.

    While the coefficients of a group of parameters are computed, it is multiplied by that group's
    factor, the attribute `_rate`.
    """

    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            return self
        lr = vars(optimizer).get("_lr")
        if lr is None:
            raise AttributeError(f"{owner.__name__} has no learning rate: declare lr: float = ...")
        if callable(lr):
            lr = rate_at(lr, optimizer.step)
        return lr if optimizer._rate == 1 else lr * optimizer._rate

    def __set__(self, optimizer: Any, lr: LearningRate) -> None:
        vars(optimizer)["_lr"] = check_rate("lr", lr)


_RANGES: collections.defaultdict[str, dict[str, float]] = collections.defaultdict(dict)
_RANGES |= {
    "momentum": {"at_least": 0, "below": 1},
    "decay_rate": {"at_least": 0, "below": 1},
    "rho": {"at_least": 0, "below": 1},
    "beta1": {"at_least": 0, "below": 1},
    "beta2": {"at_least": 0, "below": 1},
    "epsilon": {"at_least": 0},
    "weight_decay": {"at_least": 0},
    "momentum_decay": {"at_least": 0},
    "clip_value": {"above": 0},
    "clip_norm": {"above": 0},
}
