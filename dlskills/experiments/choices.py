"""What users choose for an experiment: update rules, rates, initial weights, sizes, activations.

Each ``parse`` function takes text from the command line or objects from Python, checks them before
any work, and returns values that ``run`` takes. From text these are plain values, so that other
processes can be told them.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dlskills.checks import check_choice, check_count, check_number
from dlskills.experiments.loading import load_name
from dlskills.files import expanded
from dlskills.initializers import BY_NAME, weight_initializer
from dlskills.layers import ACTIVATIONS, Layer
from dlskills.optimizers import OPTIMIZERS, make_optimizer

_FILE = re.compile(r"^(.+\.py):(\w+)(?::(.*))?$", re.DOTALL)

INIT_LABELS = {"he": "He", "relu": "He", "xavier": "Xavier", "sigmoid": "Xavier"}
ACTIVATION_LABELS = {"relu": "ReLU", "gelu": "GELU", "leakyrelu": "Leaky ReLU"}


def _items(value: Any) -> list[Any]:
    """Return the parts of text between commas, or those of a sequence, or the only value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if isinstance(value, Sequence):
        return list(value)
    return [value]


# Update rules


def parse_optimizers(value: Any) -> list[Any]:
    """Check update rules.

    Parameters
    ----------
    value : str or sequence
        Text such as ``"SGD, Adam:lr=0.01, my.py:SignMomentum:lr=0.002"``; ``"six"`` means the
        book's six. In a sequence also optimizers and classes of optimizers.

    Returns
    -------
    list of str or optimizer
    """
    if isinstance(value, str) and value.strip().lower() == "six":
        value = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")
    items = _items(value)
    optimizers(items)
    return items


def optimizers(choices: Sequence[Any], lr: float | None = None) -> dict[str, Any]:
    """Make the update rules that were chosen.

    Parameters
    ----------
    choices : sequence of str, optimizer or class
        See :func:`parse_optimizers`. An optimizer is copied, so that runs share no state.
    lr : float, optional
        Learning rate of those that name none.

    Returns
    -------
    dict
        By their names; with their settings where one rule is chosen more than once.

    Raises
    ------
    ValueError
        A rule is not known, or chosen twice with the same settings.
    TypeError
        It has no such setting, or no ``update(params, grads)``.
    """
    made = [_optimizer(choice, lr) for choice in choices]
    kinds = [type(rule).__name__ for rule, _ in made]
    named: dict[str, Any] = {}
    for kind, (rule, told) in zip(kinds, made, strict=True):
        name = f"{kind} {told}".strip() if kinds.count(kind) > 1 else kind
        if name in named:
            raise ValueError(f"optimizers names {name} twice, got {choices!r}")
        named[name] = rule
    return named


def _optimizer(choice: Any, lr: float | None) -> tuple[Any, str]:
    """Return an optimizer, and its settings in words."""
    if not isinstance(choice, str):
        rule = choice() if isinstance(choice, type) else copy.deepcopy(choice)
        rate = getattr(rule, "lr", None)
        return _checked(rule), "" if rate is None else f"lr={rate:g}"
    found = _FILE.match(choice)
    name, told = (found[2], found[3] or "") if found else (choice, "")
    if not found and ":" in choice:
        name, _, told = choice.partition(":")
    settings = dict(_setting(choice, part) for part in told.split(":") if part)
    if lr is not None:
        settings.setdefault("lr", lr)
    if found:
        return _checked(load_name(found[1], name, "an optimizer")(**settings)), told
    return make_optimizer(name, **settings), told.replace(":", " ")


def _setting(choice: str, part: str) -> tuple[str, Any]:
    name, equals, text = part.partition("=")
    if not equals:
        known = ", ".join(rule.__name__ for rule in OPTIMIZERS.values())
        raise ValueError(
            f"optimizer {choice!r} must be NAME, NAME:setting=value or FILE.py:CLASS:setting=value,"
            f" got {part!r} in place of a setting; known names are: {known}"
        )
    try:
        return name.strip(), ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return name.strip(), text.strip()


def _checked(rule: Any) -> Any:
    if not callable(getattr(rule, "update", None)):
        raise TypeError(f"an optimizer must have a method update(params, grads), got {rule!r}")
    return rule


# Numbers


def parse_sizes(value: Any) -> list[int]:
    """Check the numbers of units of the hidden layers, such as ``"100, 100"``."""
    return [check_count("hidden", _number(item)) for item in _items(value)]


def parse_rates(name: str, **bounds: float) -> Callable[[Any], list[float]]:
    """Return a function that checks a list of numbers, such as ``"0, 0.1"``."""

    def parse(value: Any) -> list[float]:
        return [check_number(name, _number(item), **bounds) for item in _items(value)]

    return parse


def parse_rate(name: str, **bounds: float) -> Callable[[Any], float]:
    """Return a function that checks one number."""
    return lambda value: check_number(name, value, **bounds)


def parse_point(value: Any) -> list[float]:
    """Check a start point, such as ``"-7, 2"``."""
    point = parse_rates("start")(value)
    if len(point) != 2:
        raise ValueError(f"start must be two numbers, such as '-7, 2', got {value!r}")
    return point


def _number(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    try:
        return int(item)
    except ValueError:
        pass
    try:
        return float(item)
    except ValueError:
        return item


# Initial weights and activations


def parse_inits(value: Any) -> list[Any]:
    """Check initial weights: standard deviations and names, such as ``"0.01, xavier, he"``."""
    items = [_number(item) for item in _items(value)]
    for item in items:
        weight_initializer(item)
    return [item.lower() if isinstance(item, str) else item for item in items]


def init_label(choice: Any) -> str:
    """Return what to call initial weights: "std 0.01", "Xavier", "He"."""
    if isinstance(choice, str):
        name = check_choice("weight_init", choice, BY_NAME)
        return INIT_LABELS.get(name, name.replace("_", " "))
    return f"std {choice:g}" if isinstance(choice, int | float) else repr(choice)


def parse_activation(value: Any) -> Any:
    """Check an activation: a name, ``FILE.py:CLASS``, or a class of layers."""
    activation_name(value)
    return value


def parse_activations(value: Any) -> list[Any]:
    """Check several activations."""
    items = _items(value)
    for item in items:
        activation_name(item)
    return items


def activation_name(choice: Any) -> str:
    """Return the name by which networks take an activation, a user's own among them."""
    found = _FILE.match(choice) if isinstance(choice, str) else None
    if isinstance(choice, str) and found is None:
        return check_choice("activation", choice, ACTIVATIONS)
    kind, name = choice, getattr(choice, "__name__", repr(choice))
    if found is not None:
        kind, name = load_name(found[1], found[2], "an activation"), found[2]
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise TypeError(f"an activation must be a class derived from Layer, got {kind!r}")
    name = name.lower()
    if ACTIVATIONS.get(name, kind) is not kind:
        raise ValueError(f"there is an activation {name!r} already; give the class another name")
    known: dict[str, type[Layer]] = ACTIVATIONS  # type: ignore[assignment]
    known[name] = kind
    return name


def activation_label(choice: Any) -> str:
    """Return what to call an activation in figures."""
    name = activation_name(choice)
    if name in ACTIVATION_LABELS:
        return ACTIVATION_LABELS[name]
    own = name not in ("sigmoid", "tanh")
    return ACTIVATIONS[name].__name__ if own else name


# What a run depends on


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: objects by what they are, and their source code."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    kind = value if isinstance(value, type) else type(value)
    return {"object": repr(value), "source": _digest(_source(kind))}


def is_plain(value: Any) -> bool:
    """Return whether other processes can be told a value."""
    return not any(True for _ in _objects(value))


def _objects(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _objects(item)
    elif not (value is None or isinstance(value, str | int | float | bool)):
        yield value


def _source(kind: type) -> bytes:
    try:
        return inspect.getsource(kind).encode()
    except (OSError, TypeError):  # a class made by hand, or of a program without source
        return repr(kind).encode()


def files_of(value: Any) -> list[str]:
    """Return digests of the Python files that options name: other source code, another run."""
    return [file_digest(file) for file in named_files(value)]


def file_digest(file: str | Path) -> str:
    """Return a digest of a file's content."""
    return hashlib.sha256(expanded(Path(file)).read_bytes()).hexdigest()


def named_files(value: Any) -> list[str]:
    """Return the paths of the Python files that options name."""
    if isinstance(value, dict):
        return [file for item in value.values() for file in named_files(item)]
    if isinstance(value, list | tuple):
        return [file for item in value for file in named_files(item)]
    found = _FILE.match(value) if isinstance(value, str) else None
    return [found[1]] if found else []


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
