"""Hyperparameters: numbers that may follow a schedule, and their validation."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import TYPE_CHECKING, Any, overload

from dlskills.checks import check_flag, check_number
from dlskills.optimizers.groups import check_names, check_rates
from dlskills.optimizers.schedules import LearningRate, Schedule, check_rate, rate_at, value_at

GROUP_NAMES = ("decay", "rates", "frozen")
"""The hyperparameters that define parameter groups."""


class Number:
    """Descriptor of a hyperparameter: set to a number or a schedule, read as a number.

    An optimizer's ``momentum: Number = Number(0.9)`` tells type checkers so. Without them
    ``momentum: float = 0.9`` does the same: every field annotated as a float becomes a
    :class:`Number`.

    Numbers are stored in the instance, where Python finds them without calling the descriptor.
    Schedules are stored in the instance's ``_schedules``, and are evaluated here.

    Parameters
    ----------
    default : float or None, optional
        Without it, the optimizer's constructor requires a value.
    """

    def __init__(self, default: Any = dataclasses.MISSING) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Any: ...

    @overload
    def __get__(self, optimizer: object, owner: type) -> float: ...

    def __get__(self, optimizer: Any, owner: type) -> Any:
        schedule = None if optimizer is None else optimizer._schedules.get(self._name)
        if schedule is None:
            if self._default is dataclasses.MISSING:
                raise AttributeError(f"{owner.__name__} has no value of {self._name}")
            return self._default
        return value_at(schedule, optimizer.step, self._name, **RANGES[self._name])

    if TYPE_CHECKING:  # at run time, Optimizer.__setattr__ stores the value

        def __set__(self, optimizer: Any, value: float | Schedule) -> None: ...


class OptionalNumber(Number):
    """A :class:`Number` that may be None."""

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # None is what this class adds
        def __get__(self, optimizer: None, owner: type) -> Any: ...

        @overload
        def __get__(self, optimizer: object, owner: type) -> float | None: ...

        def __get__(self, optimizer: Any, owner: type) -> Any: ...

        def __set__(self, optimizer: Any, value: float | Schedule | None) -> None: ...


def is_number_kind(kind: str) -> bool:
    """Return whether an annotation is that of a number, or of None or a number."""
    return ("float" in kind or "Number" in kind) and "tuple" not in kind


def check_hyperparameter(name: str, kind: str, value: Any) -> Any:
    """Validate a hyperparameter and return the value to store.

    Parameters
    ----------
    name : str
    kind : str
        The field's annotation. Only numbers, bools, bounds and parameter groups are validated.
    value : object

    Raises
    ------
    ValueError
        A number is out of range.
    TypeError
        The value is not of the annotated kind.
    """
    if name == "frozen" and value is None:
        return ()
    if name in GROUP_NAMES and value is not None:
        return check_rates(value) if name == "rates" else check_names(name, value)
    if name == "bounds" and value is not None:
        return check_bounds(value)
    if kind in ("bool", "<class 'bool'>"):
        return check_flag(name, value)
    optional = "None" in kind or "Optional" in kind
    if not is_number_kind(kind) or (value is None and optional):
        return value
    if callable(value):
        return check_rate(name, value)
    return check_number(name, value, **RANGES[name])


def check_bounds(value: Any) -> tuple[float | None, float | None]:
    """Return validated bounds of parameters.

    Raises
    ------
    TypeError, ValueError
        `value` is not a pair of numbers, or of None, in ascending order.
    """
    if isinstance(value, str) or not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"bounds must be a pair (low, high) of numbers, or None for no bound, got {value!r}"
        )
    low, high = (
        None if bound is None else check_number(f"the {which} bound", bound)
        for which, bound in zip(("lower", "upper"), value, strict=True)
    )
    if low is not None and high is not None and low > high:
        raise ValueError(f"bounds must have low <= high, got {value!r}")
    return low, high


def as_numbers(bounds: tuple[float | None, float | None]) -> tuple[float, float]:
    """Return bounds as numbers, infinite where there is none."""
    low, high = bounds
    return -math.inf if low is None else low, math.inf if high is None else high


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


RANGES: collections.defaultdict[str, dict[str, float]] = collections.defaultdict(dict)
RANGES |= {
    "momentum": {"at_least": 0, "below": 1},
    "decay_rate": {"at_least": 0, "below": 1},
    "rho": {"at_least": 0, "below": 1},
    "beta1": {"at_least": 0, "below": 1},
    "beta2": {"at_least": 0, "below": 1},
    "beta3": {"at_least": 0, "below": 1},
    "initial_accumulator": {"at_least": 0},
    "max_weight_norm": {"above": 0},
    "epsilon": {"at_least": 0},
    "weight_decay": {"at_least": 0},
    "momentum_decay": {"at_least": 0},
    "clip_value": {"above": 0},
    "clip_norm": {"above": 0},
}
"""Ranges by name, as arguments of :func:`~dlskills.checks.check_number`."""
