"""Validation of hyperparameters, and the learning-rate attribute."""

from __future__ import annotations

import collections
from typing import Any

from dlskills.checks import check_number
from dlskills.optimizers.groups import check_names, check_rates
from dlskills.optimizers.schedules import LearningRate, check_rate, rate_at

GROUP_NAMES = ("decay", "rates", "frozen")
"""The hyperparameters that define parameter groups."""


def check_hyperparameter(name: str, kind: str, value: Any) -> Any:
    """Validate a hyperparameter and return the value to store.

    Parameters
    ----------
    name : str
    kind : str
        The field's annotation. Only numbers and parameter groups are validated.
    value : object

    Raises
    ------
    ValueError
        A number is out of range.
    TypeError
        The value is not of the annotated kind.
    """
    if name in GROUP_NAMES and value is not None:
        return check_rates(value) if name == "rates" else check_names(name, value)
    if "float" not in kind or (value is None and "None" in kind):
        return value
    return check_number(name, value, **_RANGES[name])


class ScaledRate:
    """Descriptor of `lr`: set to a number or a schedule, read as the rate of the next update.

    While the coefficients of a parameter group are computed, the rate is multiplied by the factor
    of that group, the optimizer's attribute `_rate`.
    """

    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            return self
        lr = vars(optimizer).get("_lr")
        if lr is None:
            raise AttributeError(f"{owner.__name__} has no learning rate. Declare lr: float = ...")
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
