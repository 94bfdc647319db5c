"""Keyword arguments of other libraries' optimizers, and their names here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dlskills.checks import known_keywords
from dlskills.optimizers.schedules import check_rate

_PARAMETERS = "update(params, grads): parameters are passed at each step"
FOREIGN_KEYWORDS: Mapping[str, str] = {
    "learning_rate": "lr=...",
    "eta": "lr=...",
    "betas": "beta1=..., beta2=...",
    "beta_1": "beta1=...",
    "beta_2": "beta2=...",
    "eps": "epsilon=...",
    "alpha": "decay_rate=... for RMSprop",
    "rho": "decay_rate=... for RMSprop",
    "momentum": "Momentum(lr=..., momentum=...)",
    "initial_accumulator_value": "initial_accumulator=... for AdaGrad",
    "nesterov": "Nesterov(lr=..., momentum=...)",
    "amsgrad": "AMSGrad(lr=...)",
    "weight_decay_lambda": "weight_decay=..., or pass it to the network",
    "max_norm": "clip_norm=... for gradients, or max_weight_norm=... for weights",
    "constraint": "max_weight_norm=... or bounds=(low, high)",
    "max_grad_norm": "clip_norm=...",
    "clipnorm": "clip_norm=...",
    "global_clipnorm": "clip_norm=...",
    "clipvalue": "clip_value=...",
    "lr_decay": "lr=schedules.InverseTimeDecay(...)",
    "scheduler": "lr=schedules.CosineDecay(...)",
    "params": _PARAMETERS,
    "parameters": _PARAMETERS,
    "model": _PARAMETERS,
}


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap an optimizer's constructor to reject other libraries' keywords with a hint."""
    known = known_keywords(FOREIGN_KEYWORDS)(init)
    begins_with_rate = list(inspect.signature(init).parameters)[1:2] == ["lr"]

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **keywords: Any) -> None:
        # Python's own errors would be about lr given twice, or about the number of arguments
        if begins_with_rate and args and ("lr" in keywords or len(args) > 1):
            check_rate("lr", args[0])
        known(self, *args, **keywords)

    return __init__
