"""Parameter groups: which parameters decay, learn at another rate, or are frozen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dlskills.checks import check_number, suggestion

Names: TypeAlias = Collection[str] | Callable[[str], bool]
"""Names of parameters: a collection of them, or a function that is true for them."""


class Group(NamedTuple):
    """What parameters of one group have in common.

    Attributes
    ----------
    rate : float
        The factor of their learning rate.
    decays : bool
        Whether `weight_decay` applies to them.
    """

    rate: float = 1.0
    decays: bool = True


ALL = [Group()]
"""The groups of an optimizer that treats all parameters alike."""


def check_names(what: str, value: Any) -> Names:
    """Names as a tuple, or the function that tells them; anything else is refused."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) or not isinstance(value, Collection):
        raise TypeError(
            f"{what} must be a collection of parameters' names, such as ('W1',), or a function of "
            f"a name, got {value!r}"
        )
    return tuple(value)


def check_rates(value: Any) -> dict[str, float]:
    """A copy of the factors of learning rates, by the names of parameters."""
    if not isinstance(value, Mapping):
        raise TypeError(
            "rates must be a mapping of parameters' names to factors of the learning rate, such "
            f"as {{'W1': 0.1}}, got {value!r}"
        )
    return {
        name: check_number(f"rates[{name!r}]", rate, at_least=0) for name, rate in value.items()
    }


def assign_groups(
    names: Sequence[str], decay: Names | None, rates: Mapping[str, float] | None, frozen: Names
) -> tuple[list[int | None], list[Group]]:
    """The group of each parameter, None for those that are frozen; and the groups.

    Raises
    ------
    ValueError
        `decay`, `rates` or `frozen` name something that is no parameter.
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
                f"{what} names {name!r}, which is no parameter{suggestion(str(name), names)}; "
                f"there are: {', '.join(map(str, names))}"
            )
