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


@functools.cache
def update_of(rule: Rule, xp: ModuleType) -> Update:
    """The rule's update in a namespace, made once."""
    return rule(xp)


def as_tuple(results: Any, count: int) -> tuple[Any, ...]:
    """What an update gave, (param, *slots), also where it is `param` alone.

    Raises
    ------
    TypeError
        It is not `count` values.
    """
    updated = results if isinstance(results, tuple) else (results,)
    if len(updated) != count or any(value is None for value in updated):
        raise TypeError(
            f"a rule's update must return (param, *slots), {count} in all, in this order; got "
            f"{'nothing' if results is None else f'{len(updated)} of them'}"
        )
    return updated
