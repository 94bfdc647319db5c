"""What a rule is: the formula of an update, for one element or for whole arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

Update: TypeAlias = Callable[..., Any]
"""``update(param, grad, *slots, *coefficients)`` gives param, or (param, *slots)."""

Rule: TypeAlias = Callable[[ModuleType], Update]
"""Given a namespace, the update."""


class UnsuitedRuleError(TypeError):
    """An engine can't run a rule; the message says what in the rule it can't."""


@functools.cache
def update_of(rule: Rule, xp: ModuleType) -> Update:
    """The rule's update in a namespace, made once."""
    return rule(xp)


def as_tuple(results: Any) -> tuple[Any, ...]:
    """What an update gave, (param, *slots), also where it is `param` alone."""
    return results if isinstance(results, tuple) else (results,)
