"""The page to play with: paths of update rules, and histograms of activations, with sliders.

Its script computes in the browser. The rules, their coefficients, the surfaces and the activation
functions in it are generated from the same formulas that the engines run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlskills.experiments.choices import optimizers
from dlskills.experiments.surfaces import SURFACES, Surface, surface_of
from dlskills.experiments.text import Texts
from dlskills.files import expanded, write_file
from dlskills.formulas.javascript import RUNTIME, function_source
from dlskills.optimizers import OPTIMIZERS, Optimizer
from dlskills.optimizers.traced import Hyperparameter, trace_optimizer
from dlskills.report.activations import FIRST, activation_scripts
from dlskills.report.figures import colour_variables
from dlskills.report.templates import LANGUAGES, environment
from dlskills.report.translate import as_formula, as_json, as_object, translated

WORDS = Texts("play")
STEPS = 200
"""Maximum number of points of a path."""
DEEPEST = 10
"""Maximum number of layers."""
UNITS = 100

# Rules whose steps are as long as those of one for which the surfaces state a rate.
_LIKE = {
    "Nesterov": "Momentum", "RMSprop": "Adam", "AdamW": "Adam", "AMSGrad": "Adam", "NAdam": "Adam",
    "Adamax": "Adam", "RAdam": "Adam", "Yogi": "Adam", "Adan": "Adam", "Lion": "Adam",
}  # fmt: skip


def write_play(
    path: Path,
    *,
    rules: Sequence[Any] = (),
    functions: Sequence[str] = (),
    activations: Sequence[Any] = (),
    languages: Sequence[str] = tuple(LANGUAGES),
    theme: str | None = None,
) -> None:
    """Write one HTML page that needs no network and no other file.

    Parameters
    ----------
    path : pathlib.Path
    rules : sequence of str or optimizer, optional
        Update rules that come first, see :func:`~dlskills.experiments.choices.parse_optimizers`.
        All rules of dlskills follow.
    functions : sequence of str, optional
        Surfaces that come first, see :func:`~dlskills.experiments.surfaces.surface_of`. All
        surfaces of dlskills follow.
    activations : sequence, optional
        Activation functions to list before the others; the first is shown. Each is a name,
        ``"FILE.py:NAME"``, or the object that NAME is, which is a class derived from
        :class:`~dlskills.layers.Activation`, a formula made by
        :func:`~dlskills.formulas.elementwise`, or a function ``f(x)``. All activations of dlskills
        follow.
    languages : sequence of str, default ("en", "zh")
        Of the page; the first is shown to a reader who has chosen none.
    theme : str, optional
        ``"light"`` or ``"dark"``: the page's colours until the reader chooses. By default those
        of the reader's system.

    Raises
    ------
    UnsuitedFormulaError
        A rule, a function or an activation can't be translated into JavaScript; the message gives
        the reason.
    """
    page = environment(languages, WORDS, theme).get_template("play.html").render(
        program=program(rules, functions, activations),
        steps=STEPS,
        deepest=DEEPEST,
        colours=colour_variables(["var(--grey-66)", "var(--grey-99)"]),
    )  # fmt: skip
    write_file(expanded(path), page)


def program(
    rules: Sequence[Any] = (), functions: Sequence[str] = (), activations: Sequence[Any] = ()
) -> str:
    """Return the generated part of the page's script: rules, surfaces, activation functions."""
    chosen = optimizers(rules)
    kinds = {type(rule) for rule in chosen.values()}
    chosen |= {kind.__name__: kind() for kind in OPTIMIZERS.values() if kind not in kinds}
    surfaces = {name: surface_of(name) for name in (*functions, *SURFACES)}
    scripts = activation_scripts(activations)
    parts = {
        "RULES": _array(_rule(name, optimizer, surfaces) for name, optimizer in chosen.items()),
        "SURFACES": as_object({name: _surface(one) for name, one in surfaces.items()}),
        "ACTIVATIONS": as_object(scripts),
        "FIRST": as_json(next(iter(scripts)) if activations else FIRST),
        "SPREADS": as_json(
            # what weight_initializer("xavier") and ("he") multiply by, for UNITS inputs
            {"Xavier": math.sqrt(1 / UNITS), "He": math.sqrt(2 / UNITS)}
        ),
        "UNITS": str(UNITS),
    }
    return RUNTIME + "".join(f"const {name} = {text};\n" for name, text in parts.items())


def _array(items: Any) -> str:
    return "[\n" + ",\n".join(items) + "\n]"


# Rules


def _rule(name: str, optimizer: Optimizer, surfaces: Mapping[str, Surface]) -> str:
    traced = trace_optimizer(optimizer, STEPS)
    rates = _rates(optimizer, surfaces)
    numbers = [_number(one, list(rates.values())) for one in traced.hyperparameters]
    return as_object(
        {
            "name": as_json(name),
            "rates": as_json(rates),
            "numbers": as_json(numbers),
            "slots": str(traced.slots),
            "unrolled": as_json(traced.unrolled),
            "coefficients": function_source(traced.coefficients),
            "update": function_source(traced.update),
        }
    )


def _rates(optimizer: Optimizer, surfaces: Mapping[str, Surface]) -> dict[str, float]:
    """Return learning rates that suit the surfaces, unless the rule was given one of its own."""
    kind = type(optimizer)
    default = inspect.signature(kind).parameters.get("lr")
    if OPTIMIZERS.get(kind.__name__.lower()) is not kind:
        return {}
    if default is None or optimizer._given("lr") != default.default:
        return {}
    like = _LIKE.get(kind.__name__, kind.__name__)
    return {key: one.rates[like] for key, one in surfaces.items() if like in one.rates}


def _number(one: Hyperparameter, rates: Sequence[float]) -> dict[str, Any]:
    """Return a hyperparameter with the ends and the kind of its slider."""
    found = {"name": one.name, "value": one.value, "bounds": dict(one.bounds)}
    if not isinstance(one.value, float):
        return found  # a schedule has no slider
    return found | _scale(one.name, one.value, one.bounds, rates)


def _scale(
    name: str, value: float, bounds: Mapping[str, float], rates: Sequence[float]
) -> dict[str, Any]:
    if bounds.get("below") == 1:
        return {"scale": "share"}
    if name == "lr":
        values = [value, *rates]
        low, high = _power(min(values) / 100), _power(max(values) * 10)
        return {"scale": "log", "low": low, "high": high}
    if value < 0:  # so that its sign can change
        return {"scale": "linear", "low": 10 * value, "high": -10 * value}
    if value == 0:
        return {"scale": "log", "low": 1e-4, "high": 1.0, "zero": True}
    zero = bounds.get("at_least", 0) <= 0 and "above" not in bounds
    low, high = _power(value / 1000), _power(value * 100)
    return {"scale": "log", "low": low, "high": high, "zero": zero}


def _power(value: float) -> float:
    """Return the least power of ten that is not less than a number."""
    return float(f"1e{math.ceil(math.log10(value) - 1e-9)}") if value > 0 else 1e-4


# Surfaces


def _surface(surface: Surface) -> str:
    plain = {
        name: as_json(getattr(surface, name))
        for name in ("formula", "start", "minimum", "window", "levels")
    }
    functions = {
        name: translated(surface.formula, as_formula(getattr(surface, name)), 2)
        for name in ("value", "gradient")
    }
    return as_object(plain | functions)
