"""Optimizers on MNIST: which one brings the loss down fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.checks import check_count
from dlskills.experiments.choices import activation_name, parse_optimizers
from dlskills.experiments.choices import optimizers as make_optimizers
from dlskills.experiments.claims import OURS, Check, claim, tutorial
from dlskills.experiments.drawing import plot_losses
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE, WEIGHT_INIT
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import OPTIMIZERS
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("optimizer-mnist")
FOUR = ("SGD", "Momentum", "AdaGrad", "Adam")
FASTER = FOUR[1:]
BATCH_SIZE = 128


def run(
    settings: Settings,
    *,
    iterations: int = 2000,
    optimizers: Sequence[Any] = FOUR,
    lr: float | None = None,
    hidden: Sequence[int] = (100, 100, 100, 100),
    activation: str = "relu",
    weight_init: float | str = "he",
) -> Numbers:
    """Train one network per method, all from the same weights and on the same batches.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 2000
    optimizers : str or sequence, default ("SGD", "Momentum", "AdaGrad", "Adam")
        See :func:`~dlskills.experiments.choices.parse_optimizers`.
    lr : float, optional
        Learning rate of methods that name none; by default each method's own.
    hidden : sequence of int, default (100, 100, 100, 100)
        Units of each hidden layer.
    activation : str or class, default "relu"
    weight_init : float or str, default "he"

    Returns
    -------
    dict
        ``train_loss``: for each method the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``lr``: its learning rate; ``digits``: the number of
        training images.
    """
    methods = make_optimizers(parse_optimizers(optimizers), lr)
    networks = {
        name: MultiLayerNet(
            784, hidden, 10, activation_name(activation), weight_init,
            seed=settings.seed, device=settings.device,
        )
        for name in methods
    }  # fmt: skip
    steps = check_count("iterations", iterations)
    return train_on_mnist(
        networks, methods, settings, batch_size=BATCH_SIZE, steps=steps, what="optimizer-mnist"
    )


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the smoothed losses over the iterations."""
    first = runs[0]
    names = {
        name: name if rate is None else TEXTS("at-rate", name=name, rate=rate)
        for name, rate in first["lr"].items()
    }
    # the tutorial's window once all methods are within it; before, up to where they begin
    late = [np.mean(loss[-11:]) for numbers in runs for loss in numbers["train_loss"].values()]
    figure = plot_losses(
        runs, TEXTS, TEXTS("figure", digits=first["digits"]), names=names,
        looks=[_look(name, i) for i, name in enumerate(names)],
        window=1 if max(late) < 1 else 2.5, legend_columns=2,
    )  # fmt: skip
    return {"optimizer-mnist": figure}


def _look(name: str, i: int) -> int:
    """Return a number for the look: the tutorial's methods first, then others, the user's last."""
    known = [*FOUR, *(rule.__name__ for rule in OPTIMIZERS.values() if rule.__name__ not in FOUR)]
    return known.index(name) if name in known else i


def table(numbers: Numbers) -> Table:
    """Return early and late losses, and the accuracy on the test data."""
    count = max(map(len, numbers["train_loss"].values()))
    first, last = min(300, count), min(100, count)
    rows: list[list[Any]] = []
    for name, loss in numbers["train_loss"].items():
        rate = numbers["lr"][name]
        rows.append(
            [name, "–" if rate is None else f"{rate:g}",
             Number(float(np.mean(loss[:first])), ".3f"),
             Number(float(np.mean(loss[-last:])), ".3f"),
             Number(numbers["test_accuracy"][name], ".1%")]
        )  # fmt: skip
    return Table(
        [TEXTS("method"), TEXTS("lr"), TEXTS("loss-first", count=first),
         TEXTS("loss-last", count=last), TEXTS("test-accuracy")], rows,
    )  # fmt: skip


def _early(numbers: Numbers, name: str) -> float:
    losses = numbers["train_loss"][name][:300]
    return float(np.mean(losses)) if len(losses) == 300 else np.nan


def _share_ahead(numbers: Numbers) -> float:
    """Return the fraction of hundreds of batches in which AdaGrad's mean loss is the lowest.

    The losses of the last batches alone depend on the seed by factors of 10: Adam's come down in
    jumps, and up again.
    """
    count = len(numbers["train_loss"]["AdaGrad"]) // 100
    means = {
        name: np.reshape(numbers["train_loss"][name][: 100 * count], (count, 100)).mean(axis=1)
        for name in FASTER
    }
    lowest = np.minimum(means["Momentum"], means["Adam"])
    return float(np.mean(means["AdaGrad"] < lowest)) if count else np.nan


WHICH = tutorial("which")

CLAIMS = (
    claim(TEXTS, "slowest", WHICH,
          Check("late", lambda n: late_loss(n, "SGD") / max(late_loss(n, m) for m in FASTER),
                at_least=2, bound="visible")),
    claim(TEXTS, "alike", WHICH,
          Check("early",
                lambda n: max(_early(n, m) for m in FASTER) / min(_early(n, m) for m in FASTER),
                at_most=2, bound="same-speed")),
    claim(TEXTS, "adagrad", WHICH,
          Check("early",
                lambda n: _early(n, "AdaGrad") / min(_early(n, "Momentum"), _early(n, "Adam")),
                at_most=0.97, bound="little-faster")),
    claim(TEXTS, "accuracy", WHICH,
          Check("accuracy",
                lambda n: 100 * (
                    max(n["test_accuracy"][m] for m in FASTER) - n["test_accuracy"]["SGD"]
                ),
                at_least=1, form=".1f", bound="point")),
    claim(TEXTS, "adagrad-end", OURS,
          Check("share", _share_ahead, at_least=0.95, form=".0%", bound="to-the-end")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="optimizer-mnist",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "iterations": "Steps of each method.",
            "optimizers": Option(
                "Update rules, such as 'SGD, Adam:lr=0.01, my.py:MyRule:lr=0.002'; 'six' "
                "for the book's six.",
                parse_optimizers,
            ),
            "lr": RATE,
            "hidden": HIDDEN,
            "activation": ACTIVATION,
            "weight_init": WEIGHT_INIT,
        },
        quick={"iterations": 300},
    )
)
