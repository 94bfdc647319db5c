"""The online problem on which Adam converges to the worst point, and AMSGrad to the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlskills.checks import check_count
from dlskills.experiments.choices import parse_rate
from dlskills.experiments.claims import Check, claim, literature
from dlskills.experiments.drawing import draw_curve, legend_below, panels
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.optimizers import Adam, AMSGrad
from dlskills.optimizers.schedules import InverseSqrt
from dlskills.plotting import styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("adam-counterexample")
PERIOD = 101
STEEP, SHALLOW = 1010.0, -10.0
"""Slope of the first loss of each period, and of the others; their sum over a period is 10."""

DRAWN = 400
"""Number of points of a curve."""


def run(settings: Settings, *, iterations: int = 100_000, lr: float = 0.5) -> Numbers:
    """Minimize ``f_t(x) = 1010 x`` in every 101st round and ``-10 x`` in the others, over [-1, 1].

    Reddi, Kale and Kumar (2018), "On the convergence of Adam and beyond", section 5: beta1 = 0.9,
    beta2 = 0.99, a rate that falls with the root of the rounds, no bias correction.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 100_000
        Rounds.
    lr : float, default 0.5
        Learning rate of the first round.

    Returns
    -------
    dict
        For each rule: ``x``, before some of the rounds, whose numbers from 1 are in ``rounds``;
        ``regret``: the mean so far of the loss minus that of x = -1, and ``late`` its mean over the
        second half; ``end``: the last x.
    """
    count = check_count("iterations", iterations)
    rounds = np.unique(np.linspace(1, count, min(DRAWN, count)).round().astype(int))
    slopes = np.where(np.arange(1, count + 1) % PERIOD == 1, STEEP, SHALLOW)
    numbers: Numbers = {"rounds": rounds.tolist(), "x": {}, "regret": {}, "end": {}, "late": {}}
    with Progress(2, "adam-counterexample", show=settings.verbose) as progress:
        for rule in (Adam, AMSGrad):
            optimizer = rule(InverseSqrt(lr), 0.9, 0.99, bias_correction=False, bounds=(-1, 1))
            params, path = {"x": np.zeros(1)}, np.empty(count)
            for i, slope in enumerate(slopes[:, None]):
                path[i] = params["x"][0]
                optimizer.update(params, {"x": slope})
            each = slopes * (path + 1)
            regret = np.cumsum(each) / np.arange(1, count + 1)
            numbers["x"][rule.__name__] = path[rounds - 1].tolist()
            numbers["regret"][rule.__name__] = regret[rounds - 1].tolist()
            numbers["end"][rule.__name__] = float(params["x"][0])
            numbers["late"][rule.__name__] = float(each[count // 2 // PERIOD * PERIOD :].mean())
            progress.advance()
    return numbers


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw x and the average regret over the rounds."""
    numbers = runs[0]
    figure, axes = panels(2, columns=2, size=(4.5, 3.6), xlabel=TEXTS("round"),
                          title=TEXTS("figure"), share=False)  # fmt: skip
    for panel, what in zip(axes, ("x", "regret"), strict=True):
        for i, name in enumerate(numbers[what]):
            draw_curve(panel, numbers["rounds"], [numbers[what][name]], i, name)
        panel.set_title(str(TEXTS(f"of-{what}")))
    axes[0].set_ylim(-1.08, 1.08)
    late = [value for curve in numbers["regret"].values() for value in curve[len(curve) // 20 :]]
    axes[1].set_ylim(0, 1.1 * max(late))
    legend_below(figure, axes[0])
    return {"adam-counterexample": figure}


def table(numbers: Numbers) -> Table:
    """Return where each rule ends, and its average regret."""
    rows = [
        [name, Number(end, ".3f"), Number(numbers["regret"][name][-1], ".3f")]
        for name, end in numbers["end"].items()
    ]
    return Table([TEXTS("method"), TEXTS("of-x"), TEXTS("of-regret")], rows)


SOURCE = literature("amsgrad")
WORST = 2 * (STEEP + (PERIOD - 1) * SHALLOW) / PERIOD
"""Regret per round of x = +1, 0.198."""


def _falls(numbers: Numbers) -> float:
    """Return AMSGrad's average regret at the end over that after half of the rounds."""
    regret = numbers["regret"]["AMSGrad"]
    return float(regret[-1] / regret[len(regret) // 2])


CLAIMS = (
    claim(TEXTS, "adam", SOURCE,
          Check("x", lambda n: n["end"]["Adam"], at_least=0.95, form=".3f", bound="near-end")),
    claim(TEXTS, "amsgrad", SOURCE,
          Check("x", lambda n: n["end"]["AMSGrad"], at_most=-0.95, form=".3f", bound="near-end")),
    claim(TEXTS, "regret", SOURCE,
          Check("adam", lambda n: n["late"]["Adam"] / WORST, at_least=0.9, bound="at-the-worst"),
          Check("amsgrad", _falls, at_most=0.75, bound="regret-falls")),
)  # fmt: skip


EXPERIMENT = register(
    Experiment(
        name="adam-counterexample",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "iterations": "Rounds.",
            "lr": Option("Learning rate of the first round.", parse_rate("lr", at_least=0)),
        },
        quick={"iterations": 5000},
        random=False,
        uses=(),
    ),
    beyond=True,
)
