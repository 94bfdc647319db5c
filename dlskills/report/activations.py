"""Activation functions of the page to play with: those of dlskills, and a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlskills.checks import check_choice
from dlskills.experiments.choices import ACTIVATION_LABELS
from dlskills.experiments.loading import load_name
from dlskills.formulas.formula import Formula, Function
from dlskills.layers import ACTIVATIONS, Activation
from dlskills.report.translate import as_formula, as_json, as_object, translated

FIRST = "sigmoid"
"""What the page shows at first, unless activations are given: the tutorial's."""

_ENDS = {"sigmoid": (0, 1), "tanh": (-1, 1)}


def activation_scripts(choices: Sequence[Any]) -> dict[str, str]:
    """Return activation functions by name, each as a JavaScript object.

    Parameters
    ----------
    choices : sequence
        Those that come first; all of dlskills follow. Each is a name of
        :data:`~dlskills.layers.ACTIVATIONS`, or ``"FILE.py:NAME"`` or the object that NAME is: a
        class derived from :class:`~dlskills.layers.Activation`, a formula made by
        :func:`~dlskills.formulas.elementwise`, or a function ``f(x)`` that may use NumPy.

    Raises
    ------
    ValueError
        A name is not known, or taken.
    TypeError
        An object is none of these.
    UnsuitedFormulaError
        An activation can't be translated.
    """
    chosen: dict[str, str] = {}
    for choice in choices:
        name, label, function = _found(choice)
        if name in chosen:
            raise ValueError(f"activation {name!r} is given twice; give one another name")
        chosen[name] = _script(name, label, function)
    for name, kind in ACTIVATIONS.items():
        if name not in chosen:
            chosen[name] = _script(name, _label(name, kind), _of_class(kind))
    return chosen


def _found(choice: Any) -> tuple[str, str, Function]:
    """Return an activation's name, its label, and its formula of one operand."""
    if isinstance(choice, str) and ".py:" not in choice:
        kind = ACTIVATIONS[check_choice("activation", choice, ACTIVATIONS)]
        return choice, _label(choice, kind), _of_class(kind)
    found: Any = choice
    if isinstance(choice, str):
        path, _, name = choice.rpartition(":")
        found = load_name(path, name, "an activation")
    name = getattr(found, "__name__", "")
    if name in ACTIVATIONS:
        raise ValueError(f"there is an activation {name!r} already; give yours another name")
    if isinstance(found, type) and issubclass(found, Activation):
        return name, name, _of_class(found)
    if isinstance(found, Formula) and not found.has_axis:
        return name, name, found.function
    if callable(found) and not isinstance(found, type | Formula):
        return name, name, as_formula(found)
    raise TypeError(
        f"{choice} must be a class derived from Activation, a formula made by elementwise, or a "
        f"function f(x), got {found!r}"
    )


def _label(name: str, kind: type) -> str:
    return ACTIVATION_LABELS.get(name, name if name in _ENDS else kind.__name__)


def _of_class(kind: type[Activation]) -> Function:
    layer = kind()

    def function(xp: Any) -> Any:
        y = layer.function(xp)
        return lambda x: y(x, *layer.numbers())

    return function


def _script(name: str, label: str, function: Function) -> str:
    return as_object(
        {
            "label": as_json(label),
            "ends": as_json(_ENDS.get(name)),
            "apply": translated(f"activation {name}", function, 1),
        }
    )
