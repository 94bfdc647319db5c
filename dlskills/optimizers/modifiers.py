"""What can be done to gradients and parameters in the same pass as an update.

Each takes a rule and gives one that does a little more, and takes one coefficient more, the last.
The results are rules like any other, so every engine runs them, in the one pass over memory that
it makes anyway.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from dlskills.formulas.formula import Function, Update


@functools.cache
def scaled(rule: Function) -> Function:
    """The rule for ``grad * scale``: to average, to unscale, to clip by norm."""

    def scaled_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def scaled_update(param: Any, grad: Any, *rest: Any) -> Any:
            return update(param, grad * rest[-1], *rest[:-1])

        return scaled_update

    return scaled_rule


@functools.cache
def clipped(rule: Function) -> Function:
    """The rule for a gradient cut to ``-limit <= grad <= limit``; NaN stays NaN."""

    def clipped_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def clipped_update(param: Any, grad: Any, *rest: Any) -> Any:
            within = xp.minimum(xp.maximum(grad, -rest[-1]), rest[-1])
            return update(param, within, *rest[:-1])

        return clipped_update

    return clipped_rule


@functools.cache
def decayed(rule: Function) -> Function:
    """The rule after ``param -= decay * param``: decoupled weight decay.

    Loshchilov & Hutter (2019), "Decoupled weight decay regularization", algorithms 1 and 2.
    """

    def decayed_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def decayed_update(param: Any, grad: Any, *rest: Any) -> Any:
            param -= rest[-1] * param
            return update(param, grad, *rest[:-1])

        return decayed_update

    return decayed_rule
