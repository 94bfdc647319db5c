"""Weight decay against overfitting: lambda 0 and 0.1 side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlskills.experiments.choices import activation_name, parse_rates
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import draw_curve, folded, over_seeds, panels, seeds_note
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE, SMALL_EPOCHS
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.small_data import (
    HIDDEN_SIZES,
    LEARNING_RATE,
    below_all,
    better_on_test,
    book_steps,
    plot_accuracies,
    smaller_gap,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.tables import Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("weight-decay")
PLAIN, DECAYED = "λ = 0", "λ = 0.1"


def run(
    settings: Settings,
    *,
    epochs: int = 201,
    decay: Sequence[float] = (0, 0.1),
    lr: float = LEARNING_RATE,
    hidden: Sequence[int] = HIDDEN_SIZES,
    activation: str = "relu",
) -> Numbers:
    """Train the same network with several strengths of weight decay.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 201
    decay : sequence of float, default (0, 0.1)
        Lambda.
    lr : float, default 0.01
    hidden : sequence of int, default (100,) * 6
        Units of each hidden layer.
    activation : str or class, default "relu"

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`; the networks are called
        ``"λ = 0"`` and so on.
    """
    networks = {
        f"λ = {strength:g}": MultiLayerNet(
            784, hidden, 10, activation_name(activation), weight_decay_lambda=strength,
            seed=settings.seed, device=settings.device,
        )
        for strength in decay
    }  # fmt: skip
    return train_on_few(
        networks, settings, epochs=epochs, steps=book_steps(epochs), what="weight-decay", lr=lr
    )


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the accuracies over the epochs; losses and penalties apart."""
    names = {name: TEXTS.name(name) for name in runs[0]["curves"]}
    return {
        "weight-decay": plot_accuracies(runs, TEXTS, TEXTS("figure"), 2, names),
        "weight-decay-loss": _plot_losses(runs),
    }


def _plot_losses(runs: list[Numbers]) -> Figure:
    figure, (left, right) = panels(
        2,
        columns=2,
        size=(4.5, 4.2),
        share=False,
        title=f"{TEXTS('title')}{seeds_note(runs, TEXTS)}",
    )
    for i, name in enumerate(runs[0]["curves"]):

        def curves(part: str, name: str = name) -> list[list[float]]:
            return over_seeds(runs, "curves", name, part)

        draw_curve(left, None, curves("train_loss"), i, str(TEXTS("data-loss", network=name)))
        if any(map(any, curves("penalty"))):
            words = str(TEXTS("penalty-of", network=name))
            draw_curve(left, None, curves("penalty"), i, words, linestyle="--")
        draw_curve(right, None, curves("squares"), i, name)
    left.set(yscale="log", ylabel=str(TEXTS("training-loss")))
    right.set(ylim=(0, None), ylabel="ΣW²")
    for panel, key in ((left, "apart"), (right, "squares")):
        panel.set_title(folded(TEXTS(key), figure))
        panel.set_xlabel(str(TEXTS("epoch")))
        panel.legend()
    return figure


def table(numbers: Numbers) -> Table:
    """Return where the networks end."""
    return table_of_ends(numbers, TEXTS, "weight-decay")


def _squares(numbers: Numbers, name: str) -> float:
    return float(numbers["curves"][name]["squares"][-1])


SECTION = tutorial("weight-decay")

CLAIMS = (
    claim(TEXTS, "smaller", SECTION,
          Check("squares", lambda n: _squares(n, DECAYED) / _squares(n, PLAIN), at_most=0.5,
                bound="visible")),
    claim(TEXTS, "gap", SECTION,
          smaller_gap(TEXTS, PLAIN, DECAYED, at_least=2, bound="points")),
    claim(TEXTS, "below", SECTION,
          below_all(TEXTS, DECAYED, at_most=0.97, bound="not-100")),
    claim(TEXTS, "generalizes", tutorial("zero"),
          better_on_test(TEXTS, PLAIN, DECAYED, at_least=1, bound="point")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="weight-decay",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "epochs": SMALL_EPOCHS,
            "decay": Option(
                "Strengths of weight decay to compare, such as '0, 0.01, 0.1'.",
                parse_rates("decay", at_least=0),
            ),
            "lr": RATE,
            "hidden": HIDDEN,
            "activation": ACTIVATION,
        },
        quick={"epochs": 41},
        split="decay",
    )
)
