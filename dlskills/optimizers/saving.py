"""What an optimizer saves: flat arrays, and plain data that JSON can hold."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from dlskills.optimizers import schedules
from dlskills.optimizers.state import State

_FIELDS = {"optimizer", "step", "hyperparameters", "functions", "schedule", "schedules"}


def described_schedule(schedule: Any) -> Any:
    """A schedule of ours by name and settings, a number as it is, None for other functions."""
    if not callable(schedule):
        return schedule
    name = type(schedule).__name__
    if schedules.SCHEDULES.get(name) is not type(schedule):
        return None
    if isinstance(schedule, schedules.Chain):
        parts = [[steps, described_schedule(part)] for steps, part in schedule.parts]
        described: Any = {"name": name, "parts": parts}
        return None if any(part is None for _, part in parts) else described
    settings = {
        field.name: described_schedule(getattr(schedule, field.name))
        for field in dataclasses.fields(schedule)
    }
    return None if None in settings.values() else {"name": name, "settings": settings}


def restored_schedule(described: Any) -> Any:
    """The schedule of a description.

    Raises
    ------
    TypeError, ValueError
    """
    match described:
        case int() | float():
            return described
        case {"name": "Chain", "parts": [*parts]} if all(
            isinstance(part, list | tuple) and len(part) == 2 for part in parts
        ):
            return schedules.Chain(*((steps, restored_schedule(part)) for steps, part in parts))
        case {"name": str(name), "settings": Mapping() as settings} if name in schedules.SCHEDULES:
            return schedules.SCHEDULES[name](
                **{key: restored_schedule(value) for key, value in settings.items()}
            )
    raise ValueError("the state has a schedule of no known kind; update dlskills")


def flat_state(
    name: str, step: int, hyperparameters: list[tuple[str, Any]], state: State | None
) -> dict[str, Any]:
    """The state of an optimizer, as :meth:`Optimizer.state_dict` gives it."""
    plain = {key: copy.copy(v) for key, v in hyperparameters if not callable(v)}
    rate = dict(hyperparameters).get("lr")
    flat = {
        "optimizer": name,
        "step": step,
        "hyperparameters": plain,
        "functions": [key for key, value in hyperparameters if callable(value)],
        "schedule": described_schedule(rate) if callable(rate) else None,
    }
    others = {
        key: described_schedule(value)
        for key, value in hyperparameters
        if callable(value) and key != "lr"
    }
    if any(others.values()):
        flat["schedules"] = {key: value for key, value in others.items() if value is not None}
    for slot, values in ({} if state is None else state.on_host()).items():
        for key, value in values.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"a parameter must have a string as its name to be saved, got {key!r}"
                )
            flat[f"{slot}/{key}"] = value
    return flat


def slots_of(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of a state for each slot and parameter.

    Raises
    ------
    ValueError
        The state lacks something, or has something that no state has.
    """
    missing = {"optimizer", "step", "hyperparameters"} - set(state)
    if missing:
        raise ValueError(f"the state lacks {', '.join(sorted(missing))}; got {list(state)[:9]}")
    if "slots" in state:  # as up to version 0.1: a mapping of mappings
        if not isinstance(state["slots"], Mapping):
            raise ValueError(f"slots must be a mapping, got a {type(state['slots']).__name__}")
        return {slot: dict(values) for slot, values in state["slots"].items()}
    slots: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        slot, separator, key = str(name).partition("/")
        if separator:
            slots.setdefault(slot, {})[key] = value
        elif name not in _FIELDS:
            raise ValueError(f"the state has {name!r}, which is nothing of an optimizer")
    return slots


def scheduled(state: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the hyperparameters that have a schedule, in the state or now, and the rate.

    Raises
    ------
    ValueError
        The state has a schedule for something that is no hyperparameter.
    """
    names = ["lr", *state.get("schedules", {})]
    if unknown := set(names[1:]) - set(own):
        raise ValueError(f"the state has schedules for {sorted(unknown)}, which are unknown")
    return [name for name in names if name in own]


def value_of(name: str, state: Mapping[str, Any], own: Any) -> Any:
    """Return the number or schedule to continue with; warn where it is another one.

    Parameters
    ----------
    name : str
        Of the hyperparameter.
    state : mapping
    own : float or schedule
        The optimizer's at present.
    """
    hyperparameters, functions = state["hyperparameters"], state.get("functions", ())
    saved = state.get("schedule") if name == "lr" else state["schedules"][name]
    of = "" if name == "lr" else f" of {name}"
    if saved is not None:
        schedule = restored_schedule(saved)
        if not callable(own):
            _warn(
                f"it was made under {schedule!r}{of}, which replaces {name}={own!r} of this "
                "optimizer"
            )
            return schedule
        if own != schedule:
            _warn(f"it was made under {schedule!r}{of}; this optimizer keeps its own, {own!r}")
        return own
    if callable(own):
        return own
    if name in functions or (name not in hyperparameters and own is not None):
        _warn(
            "it was made under a schedule, which it can't hold as it is a function; this optimizer "
            f"continues with {name}={own!r}. Give it the schedule"
        )
    return hyperparameters.get(name, own)


def warn_of_functions(state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Warn of hyperparameters that were functions and are none in the optimizer that loads."""
    for name in state.get("functions", ()):
        if name == "lr" or name in state.get("schedules", {}) or callable(own.get(name)):
            continue
        _warn(
            f"its {name} was a function, which it can't hold; this optimizer has "
            f"{name}={own.get(name)!r}. Give it the function"
        )


def _warn(what: str) -> None:
    warnings.warn(f"the state of the optimizer is loaded, but {what}", stacklevel=4)
