"""Dropout and the max-norm constraint on MNIST, in the size of the paper."""

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
from dlskills.optimizers import Momentum
from dlskills.optimizers.schedules import Linear
from dlskills.plotting import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("dropout-mnist")
BATCH_SIZE = 100
HIDDEN_DROPOUT, INPUT_DROPOUT, MAX_NORM = 0.5, 0.2, 3.0
PLAIN, DROPOUT, CONSTRAINED = "plain", "Dropout", "Dropout, max-norm"
FULL = 60_000
"""Training digits to which the paper's numbers apply."""


def run(settings: Settings, *, epochs: int = 60, units: int = 1024, lr: float = 0.05) -> Numbers:
    """Train 3 layers of ReLU plain, with Dropout, and with Dropout and max-norm.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 60
    units : int, default 1024
        Of each hidden layer.
    lr : float, default 0.05
        Of Momentum, at the start; it falls linearly to 0.

    Returns
    -------
    dict
        ``error``: for each network the test error after each epoch; ``digits``: of training.
    """
    count = check_count("epochs", epochs)
    x, t, x_test, t_test = digits_on(settings)
    per_epoch = x.shape[0] // BATCH_SIZE
    rate = Linear(lr, 0.0, count * per_epoch)
    networks = {
        name: MultiLayerNetExtend(
            784, [check_count("units", units)] * 3, 10, use_dropout=name != PLAIN,
            dropout_ratio=HIDDEN_DROPOUT,
            input_dropout_ratio=0.0 if name == PLAIN else INPUT_DROPOUT,
            seed=settings.seed, device=settings.device,
        )
        for name in (PLAIN, DROPOUT, CONSTRAINED)
    }  # fmt: skip
    rules = {
        name: Momentum(rate, max_weight_norm=MAX_NORM if name == CONSTRAINED else None)
        for name in networks
    }
    training = SideBySide(
        networks, rules, x, t, batch_size=BATCH_SIZE, steps=count * per_epoch, seed=settings.seed
    )
    ends = range(per_epoch, count * per_epoch + 1, per_epoch)
    accuracy = training.accuracies(
        ends, x_test, t_test, what="dropout-mnist", show=settings.verbose
    )
    error = {name: [1 - right for right in found] for name, found in accuracy.items()}
    return {"error": error, "digits": int(x.shape[0])}


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the test errors over the epochs."""
    figure, panel = new_figure()
    for i, name in enumerate(runs[0]["error"]):
        curves = over_seeds(runs, "error", name)
        draw_curve(panel, range(1, len(curves[0]) + 1), curves, i, str(TEXTS.name(name)))
    titled(panel, f"{TEXTS('figure', digits=runs[0]['digits'])}{seeds_note(runs, TEXTS)}")
    panel.set(xlabel=str(TEXTS("epoch")), ylabel=str(TEXTS("test-error")), yscale="log")
    panel.yaxis.set_major_formatter("{x:.1%}")
    panel.yaxis.set_minor_formatter("{x:.1%}")
    legend_below(figure, panel)
    return {"dropout-mnist": figure}


def table(numbers: Numbers) -> Table:
    """Return the test errors at the end."""
    rows: list[list[Any]] = [
        [TEXTS.name(name), Number(error[-1], ".2%")] for name, error in numbers["error"].items()
    ]
    return Table([TEXTS("network"), TEXTS("test-error")], rows)


def _gain(numbers: Numbers, name: str, other: str) -> float:
    return float(numbers["error"][name][-1] - numbers["error"][other][-1])


def _of_all(numbers: Numbers, name: str) -> float:
    """Return the error at the end; NaN if the network saw only some of the digits."""
    return float(numbers["error"][name][-1]) if numbers["digits"] == FULL else math.nan


SOURCE = literature("dropout-mnist")

CLAIMS = (
    claim(TEXTS, "helps", SOURCE,
          Check("gain", lambda n: _gain(n, PLAIN, DROPOUT), at_least=1e-4, form=".2%",
                bound="higher")),
    claim(TEXTS, "max-norm", SOURCE,
          Check("gain", lambda n: _gain(n, DROPOUT, CONSTRAINED), at_least=1e-4, form=".2%",
                bound="higher")),
    claim(TEXTS, "error", SOURCE,
          Check("dropout", lambda n: _of_all(n, DROPOUT), at_least=0.75 * 0.0125,
                at_most=1.25 * 0.0125, form=".2%", bound="paper-quarter"),
          Check("max-norm", lambda n: _of_all(n, CONSTRAINED), at_least=0.75 * 0.0106,
                at_most=1.25 * 0.0106, form=".2%", bound="paper-quarter")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="dropout-mnist",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "epochs": "Epochs.",
            "units": "Units of each hidden layer.",
            "lr": Option("Learning rate of Momentum at the start.", parse_rate("lr", at_least=0)),
        },
        quick={"epochs": 1, "units": 50},
        long=True,
    ),
    beyond=True,
)
