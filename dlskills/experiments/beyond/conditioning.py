"""An ill-conditioned quadratic: how much faster momentum converges, beside the theory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.checks import check_count, check_number
from dlskills.experiments.claims import Check, claim, literature
from dlskills.experiments.drawing import draw_curve, legend_below, titled
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.optimizers import SGD, Momentum, Nesterov
from dlskills.plotting import current_look, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("conditioning")
EIGENVALUES = 41
TARGET = 1e-6
"""Distance to the minimum, over that at the start, at which the steps are counted."""

FITTED = 1000
"""Steps from which the contraction is computed."""


def rules(condition: float) -> dict[str, Any]:
    """Return the rules with the settings that are best for eigenvalues from 1 / condition to 1."""
    root = math.sqrt(condition)
    return {
        "SGD": SGD(2 / (1 + 1 / condition)),
        "Momentum": Momentum(4 / (1 + 1 / root) ** 2, ((root - 1) / (root + 1)) ** 2),
        "Nesterov": Nesterov(1.0, (root - 1) / (root + 1)),
    }


def theory(condition: float) -> dict[str, float]:
    """Return by what each step multiplies the distance in the limit."""
    root = math.sqrt(condition)
    return {
        "SGD": (condition - 1) / (condition + 1),
        "Momentum": (root - 1) / (root + 1),
        "Nesterov": 1 - 1 / root,
    }


def contraction(path: Any, order: int) -> float:
    """Return the largest root of the recurrences that fit a path, one per coordinate.

    Parameters
    ----------
    path : array, shape (steps, n)
        Each coordinate follows a linear recurrence: the matrix is diagonal.
    order : int
        1 for SGD, 2 for a rule with a velocity.

    Returns
    -------
    float
        Of a pair of roots that are equal but for rounding, or conjugate, the geometric mean: it
        is the modulus of both, and rounding in it is not magnified by a square root.
    """
    largest = 0.0
    for x in path.T:
        columns = np.stack([x[order - 1 - i : len(x) - 1 - i] for i in range(order)], axis=1)
        fitted = np.linalg.lstsq(columns, x[order:], rcond=None)[0]
        roots = np.roots([1.0, *-fitted])
        if order == 2 and abs(roots[0] - roots[1]) < 1e-5:
            roots = np.sqrt(abs(np.prod(roots)))
        largest = max(largest, float(np.max(np.abs(roots))))
    return largest


def run(settings: Settings, *, condition: float = 10_000.0, steps: int = 100_000) -> Numbers:
    """Minimize a quadratic with each rule, from 1 in every coordinate, in float64.

    Parameters
    ----------
    settings : Settings
    condition : float, default 10_000.0
        The largest eigenvalue over the smallest; 41 of them, evenly spaced on a logarithmic axis.
    steps : int, default 100_000
        At most this many, if the distance does not fall to a millionth.

    Returns
    -------
    dict
        ``distance``: for each rule the distance to the minimum over that at the start, before
        each of the ``drawn`` steps; ``steps``: the number until it is a millionth, or null;
        ``contraction`` and ``theory``: see the functions; ``condition``.
    """
    most = check_count("steps", steps)
    check_number("condition", condition, above=1)
    eigenvalues = np.logspace(-math.log10(condition), 0, EIGENVALUES)
    numbers: Numbers = {"distance": {}, "drawn": {}, "steps": {}, "contraction": {}}
    made = rules(condition)
    with Progress(len(made), "conditioning", show=settings.verbose) as progress:
        for name, optimizer in made.items():
            params, distances = {"x": np.ones(EIGENVALUES)}, [1.0]
            path: list[Any] = []
            while distances[-1] > TARGET and len(distances) <= most:
                if len(path) <= FITTED:
                    path.append(params["x"].copy())
                optimizer.update(params, {"x": eigenvalues * params["x"]})
                distances.append(float(np.linalg.norm(params["x"])) / math.sqrt(EIGENVALUES))
            count = len(distances) - 1
            drawn = np.unique(np.geomspace(1, count + 1, 300).round().astype(int)) - 1
            numbers["drawn"][name] = drawn.tolist()
            numbers["distance"][name] = np.asarray(distances)[drawn].tolist()
            numbers["steps"][name] = count if distances[-1] <= TARGET else None
            order = 1 if name == "SGD" else 2
            numbers["contraction"][name] = contraction(np.asarray(path), order)
            progress.advance()
    return numbers | {"theory": theory(condition), "condition": condition}


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the distances, and dotted the slopes that theory gives."""
    numbers = runs[0]
    figure, panel = new_figure()
    for i, (name, distances) in enumerate(numbers["distance"].items()):
        steps = np.asarray(numbers["drawn"][name]) + 1
        draw_curve(panel, steps, [distances], i, name)
        slope = numbers["theory"][name] ** (steps - 1.0)
        label = str(TEXTS("by-theory")) if i == 0 else None
        panel.plot(steps, slope, ":", color=current_look().ink, label=label, zorder=1)
    highest = max(max(distances) for distances in numbers["distance"].values())
    panel.set(xscale="log", yscale="log", ylim=(TARGET, 2 * highest))
    panel.set(xlabel=str(TEXTS("step")), ylabel=str(TEXTS("distance")))
    titled(panel, TEXTS("figure", condition=numbers["condition"]))
    legend_below(figure, panel)
    return {"conditioning": figure}


def table(numbers: Numbers) -> Table:
    """Return each rule's contraction, that of theory, and its steps to a millionth."""
    rows = [
        [name, Number(numbers["contraction"][name], ".7f"), Number(limit, ".7f"),
         TEXTS("never") if numbers["steps"][name] is None else Number(numbers["steps"][name], ",")]
        for name, limit in numbers["theory"].items()
    ]  # fmt: skip
    return Table([TEXTS("method"), TEXTS("contraction"), TEXTS("by-theory"), TEXTS("steps")], rows)


def _off(name: str) -> Check:
    return Check(
        "off", lambda n: abs(n["contraction"][name] - n["theory"][name]),
        at_most=1e-6, form=".1e", bound="millionth",
    )  # fmt: skip


def _fewer(numbers: Numbers) -> float:
    steps = numbers["steps"]
    if steps["SGD"] is None or steps["Momentum"] is None:
        return math.nan
    return float(steps["SGD"] / steps["Momentum"] / math.sqrt(numbers["condition"]))


CLAIMS = (
    claim(TEXTS, "gradient-descent", literature("momentum"), _off("SGD")),
    claim(TEXTS, "momentum", literature("momentum"), _off("Momentum")),
    claim(TEXTS, "nesterov", literature("nesterov"), _off("Nesterov")),
    claim(TEXTS, "fewer", literature("momentum"),
          Check("steps", _fewer, at_least=0.5, at_most=2, bound="order")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="conditioning",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "condition": "Largest eigenvalue over the smallest.",
            "steps": "Most steps of each rule.",
        },
        quick={"condition": 100.0},
        random=False,
        uses=(),
    ),
    beyond=True,
)
