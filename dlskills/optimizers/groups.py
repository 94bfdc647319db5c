"""Parameter groups: weight decay, learning-rate factors and freezing, per parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dlskills.checks import check_number, suggestion

Names: TypeAlias = Collection[str] | Callable[[str], bool]
"""Parameters selected by name: a collection of names, or a predicate of a name."""


class Group(NamedTuple):
    """The settings that the parameters of one group share.

    Attributes
    ----------
    rate : float
        Factor of the learning rate.
    decays : bool
        Whether `weight_decay` applies.
    """

    rate: float = 1.0
    decays: bool = True


ALL = [Group()]
"""The groups of an optimizer that treats all parameters alike: a single one."""


def check_names(what: str, value: Any) -> Names:
    """Return a collection of names as a tuple, or a predicate unchanged.

    Raises
    ------
    TypeError
        `value` is neither; a single string is not a collection of names.
    """
    if callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) or not isinstance(value, Collection) or not _are_names(value):
        raise TypeError(
            f"{what} must be a collection of parameter names, such as ('W1',), or a function of a "
            f"name, got {value!r}"
        )
    return tuple(value)


def _are_names(values: Collection[Any]) -> bool:
    return all(isinstance(value, Hashable) for value in values)


def check_rates(value: Any) -> dict[str, float]:
    """Return a validated copy of a mapping from parameter names to learning-rate factors."""
    if not isinstance(value, Mapping):
        raise TypeError(
            "rates must be a mapping of parameter names to factors of the learning rate, such as "
            f"{{'W1': 0.1}}, got {value!r}"
        )
    return {
        name: check_number(f"rates[{name!r}]", rate, at_least=0) for name, rate in value.items()
    }


def assign_groups(
    names: Sequence[str], decay: Names | None, rates: Mapping[str, float] | None, frozen: Names
) -> tuple[list[int | None], list[Group]]:
    """Assign each parameter to a group.

    Returns
    -------
    assigned : list of int or None
        The group index of each of `names`; None for frozen parameters.
    groups : list of Group

    Raises
    ------
    ValueError
        `decay`, `rates` or `frozen` contains an unknown name.
    """
    for what, given in (("decay", decay), ("rates", rates), ("frozen", frozen)):
        if given is not None and not callable(given):
            _check_known(what, given, names)
    groups: dict[Group, int] = {}
    assigned: list[int | None] = []
    for name in names:
        if _holds(frozen, name):
            assigned.append(None)
            continue
        rate = 1.0 if rates is None else rates.get(name, 1.0)
        group = Group(rate, decay is None or _holds(decay, name))
        assigned.append(groups.setdefault(group, len(groups)))
    return assigned, list(groups)


def _holds(names: Names, name: str) -> bool:
    return bool(names(name)) if callable(names) else name in names


def _check_known(what: str, given: Collection[str], names: Sequence[str]) -> None:
    known = set(names)
    for name in given:
        if name not in known:
            raise ValueError(
                f"{what} must contain names of parameters, got {name!r}"
                f"{suggestion(str(name), names) or '.'} Choose from: "
                f"{', '.join(map(str, names))}"
            )
