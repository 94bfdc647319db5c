"""Overfitting: a 7-layer network on 300 digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlskills.experiments.choices import activation_name
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE, SMALL_EPOCHS
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.small_data import (
    HIDDEN_SIZES,
    LEARNING_RATE,
    book_steps,
    gap,
    plot_accuracies,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.tables import Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("overfitting")
PLAIN = "no regularization"


def run(
    settings: Settings,
    *,
    epochs: int = 201,
    lr: float = LEARNING_RATE,
    hidden: Sequence[int] = HIDDEN_SIZES,
    activation: str = "relu",
) -> Numbers:
    """Train a network with more parameters than 300 digits can determine.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 201
    lr : float, default 0.01
    hidden : sequence of int, default (100,) * 6
        Units of each hidden layer.
    activation : str or class, default "relu"

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`; the one network is called
        ``"no regularization"``.
    """
    network = MultiLayerNet(
        784, hidden, 10, activation_name(activation), seed=settings.seed, device=settings.device
    )
    return train_on_few(
        {PLAIN: network}, settings, epochs=epochs, steps=book_steps(epochs), what="overfitting",
        lr=lr,
    )  # fmt: skip


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the accuracies over the epochs."""
    names = {PLAIN: TEXTS.name(PLAIN)}
    return {"overfitting": plot_accuracies(runs, TEXTS, TEXTS("title"), 1, names)}


def table(numbers: Numbers) -> Table:
    """Return where the network ends."""
    return table_of_ends(numbers, TEXTS, "network")


SECTION = tutorial("overfitting")

CLAIMS = (
    claim(TEXTS, "train", SECTION,
          Check("epoch-100", lambda n: n["curves"][PLAIN]["train_accuracy"][100], at_least=0.97,
                form=".1%", bound="near-100"),
          Check("from-150", lambda n: min(n["curves"][PLAIN]["train_accuracy"][150:]),
                at_least=0.99, form=".1%", bound="all-but-three")),
    claim(TEXTS, "test", SECTION,
          Check("gap", lambda n: gap(n, PLAIN), at_least=0.15, form=".1%", bound="large-gap")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="overfitting",
        title=TEXTS("title"),
        about=TEXTS("small-data"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={"epochs": SMALL_EPOCHS, "lr": RATE, "hidden": HIDDEN, "activation": ACTIVATION},
        quick={"epochs": 41},
    )
)
