"""Batch Norm on MNIST as in its paper: how many steps it saves a network of sigmoids."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_count
from dlskills.experiments.choices import parse_rate
from dlskills.experiments.claims import Check, claim, literature
from dlskills.experiments.drawing import draw_curve, legend_below, over_seeds, seeds_note, titled
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNetExtend
from dlskills.optimizers import SGD
from dlskills.plotting import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("batch-norm-steps")
BATCH_SIZE = 60
STD = 0.1
"""Of the initial weights: the paper says "small random Gaussian values"."""

EARLY = 1000
"""The step at which the accuracies are compared."""

EVERY = 100
PLAIN, NORMED = "plain", "Batch Norm"


def run(
    settings: Settings, *, iterations: int = 5000, lr: float = 0.1, units: int = 100
) -> Numbers:
    """Train 3 layers of sigmoids with and without Batch Norm, on the same batches of 60 digits.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 5000
        Steps; the paper takes 50,000.
    lr : float, default 0.1
    units : int, default 100
        Of each hidden layer.

    Returns
    -------
    dict
        ``accuracy``: of each network on the test data, after each of the ``steps``.
    """
    count = check_count("iterations", iterations)
    x, t, x_test, t_test = digits_on(settings)
    networks = {
        name: MultiLayerNetExtend(
            784, [check_count("units", units)] * 3, 10, "sigmoid", STD,
            use_batchnorm=name == NORMED, seed=settings.seed, device=settings.device,
        )
        for name in (PLAIN, NORMED)
    }  # fmt: skip
    training = SideBySide(
        networks, {name: SGD(lr) for name in networks}, x, t,
        batch_size=BATCH_SIZE, steps=count, seed=settings.seed,
    )  # fmt: skip
    steps = [*range(EVERY, count, EVERY), count]
    accuracy = training.accuracies(
        steps, x_test, t_test, what="batch-norm-steps", show=settings.verbose
    )
    return {"steps": steps, "accuracy": accuracy}


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the test accuracies over the steps."""
    figure, panel = new_figure()
    for i, name in enumerate(runs[0]["accuracy"]):
        curves = over_seeds(runs, "accuracy", name)
        draw_curve(panel, runs[0]["steps"], curves, i, str(TEXTS.name(name)))
    titled(panel, f"{TEXTS('figure')}{seeds_note(runs, TEXTS)}")
    panel.set(xlabel=str(TEXTS("iteration")), ylabel=str(TEXTS("test-accuracy")), ylim=(0, 1))
    panel.yaxis.set_major_formatter("{x:.0%}")
    legend_below(figure, panel)
    return {"batch-norm-steps": figure}


def _early(numbers: Numbers, name: str) -> float:
    return float(numbers["accuracy"][name][numbers["steps"].index(EARLY)])


def _steps_to_best(numbers: Numbers) -> float:
    """Return the steps until Batch Norm reaches the plain network's best; infinite if never."""
    best = max(numbers["accuracy"][PLAIN])
    pairs = zip(numbers["steps"], numbers["accuracy"][NORMED], strict=True)
    return next((step for step, accuracy in pairs if accuracy >= best), math.inf)


def table(numbers: Numbers) -> Table:
    """Return each network's accuracy after the first steps and at the best."""
    first = EARLY if EARLY in numbers["steps"] else numbers["steps"][0]
    at = numbers["steps"].index(first)
    rows: list[list[Any]] = [
        [TEXTS.name(name), Number(curve[at], ".1%"), Number(max(curve), ".1%")]
        for name, curve in numbers["accuracy"].items()
    ]
    return Table([TEXTS("network"), TEXTS("after", count=first), TEXTS("best-accuracy")], rows)


SOURCE = literature("batch-norm")

CLAIMS = (
    claim(TEXTS, "faster", SOURCE,
          Check("gain", lambda n: _early(n, NORMED) - _early(n, PLAIN), at_least=0.1,
                form=".1%", bound="ten-points"),
          Check("steps", lambda n: _steps_to_best(n) / n["steps"][-1], at_most=0.5,
                form=".2f", bound="half-steps")),
    claim(TEXTS, "higher", SOURCE,
          Check("best", lambda n: max(n["accuracy"][NORMED]) - max(n["accuracy"][PLAIN]),
                at_least=1e-4, form=".2%", bound="higher")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="batch-norm-steps",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "iterations": "Steps of each network.",
            "lr": Option("Learning rate of SGD.", parse_rate("lr", at_least=0)),
            "units": "Units of each hidden layer.",
        },
        quick={"iterations": 200},
    ),
    beyond=True,
)
