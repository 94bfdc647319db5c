"""Gradient scaling, clipping, weight decay and bounds, fused into the pass of an update.

Each function takes a rule and returns a rule with one more step and one more coefficient (bounds
have two), the last. The result is a rule like any other, so every engine runs it in a single pass
over memory.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from dlskills.formulas.formula import Function, Update


@functools.cache
def scaled(rule: Function) -> Function:
    """Return a rule that uses ``grad * scale``: for averaging, unscaling, clipping by norm."""

    def scaled_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def scaled_update(param: Any, grad: Any, *rest: Any) -> Any:
            return update(param, grad * rest[-1], *rest[:-1])

        return scaled_update

    return scaled_rule


@functools.cache
def clipped(rule: Function) -> Function:
    """Return a rule that clips each gradient to ``[-limit, limit]``; NaN stays NaN."""

    def clipped_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def clipped_update(param: Any, grad: Any, *rest: Any) -> Any:
            within = xp.minimum(xp.maximum(grad, -rest[-1]), rest[-1])
            return update(param, within, *rest[:-1])

        return clipped_update

    return clipped_rule


@functools.cache
def decayed(rule: Function) -> Function:
    """Return a rule that first applies decoupled weight decay: ``param -= decay * param``.

    Loshchilov & Hutter (2019), "Decoupled weight decay regularization", algorithms 1 and 2.
    """

    def decayed_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def decayed_update(param: Any, grad: Any, *rest: Any) -> Any:
            param -= rest[-1] * param
            return update(param, grad, *rest[:-1])

        return decayed_update

    return decayed_rule


@functools.cache
def bounded(rule: Function) -> Function:
    """Return a rule that finally projects the parameter to ``[low, high]``; NaN stays NaN."""

    def bounded_rule(xp: ModuleType) -> Update:
        update = rule(xp)

        def bounded_update(param: Any, grad: Any, *rest: Any) -> Any:
            results = update(param, grad, *rest[:-2])
            param, *slots = results if isinstance(results, tuple) else (results,)
            return xp.minimum(xp.maximum(param, rest[-2]), rest[-1]), *slots

        return bounded_update

    return bounded_rule
