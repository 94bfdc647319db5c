"""Dropout against overfitting: none, the book's form, and the inverted form; and its masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import get_backend, to_host
from dlskills.checks import check_choice, check_count
from dlskills.experiments.choices import activation_name, parse_rates
from dlskills.experiments.claims import OURS, Check, claim, literature, tutorial
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.small_data import (
    BATCH_SIZE,
    DIGITS,
    HIDDEN_SIZES,
    LEARNING_RATE,
    below_all,
    better_on_test,
    plot_accuracies,
    smaller_gap,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.tables import Table
from dlskills.experiments.text import Text, Texts
from dlskills.layers import Dropout
from dlskills.networks import MultiLayerNetExtend
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("dropout")
RATIO = 0.15
UNITS = 100_000
NONE, CAPTION, CODE, INVERTED = "none", "book, 0.15", "book, 0.2", "inverted, 0.15"
FORMS = (NONE, CAPTION, CODE, INVERTED)


def run(
    settings: Settings,
    *,
    epochs: int = 301,
    forms: Sequence[str] = FORMS,
    lr: float = LEARNING_RATE,
    hidden: Sequence[int] = HIDDEN_SIZES,
    activation: str = "relu",
) -> Numbers:
    """Train the same network with several forms of Dropout, and look at masks.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 301
    forms : sequence of str, default ("none", "book, 0.15", "book, 0.2", "inverted, 0.15")
        ``"none"``, or ``"book"`` or ``"inverted"`` and a ratio.
    lr : float, default 0.01
    hidden : sequence of int, default (100,) * 6
        Units of each hidden layer.
    activation : str or class, default "relu"

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`, the networks under their forms'
        names; and ``masks``, see :func:`masks`.
    """
    steps = check_count("epochs", epochs) * (DIGITS // BATCH_SIZE)
    networks = {}
    for form in forms:
        kind, _, share = form.partition(", ")
        networks[form] = MultiLayerNetExtend(
            784, hidden, 10, activation_name(activation), use_dropout=kind != NONE,
            dropout_ratio=float(share or 0), inverted_dropout=kind == "inverted",
            seed=settings.seed, device=settings.device,
        )  # fmt: skip
    numbers = train_on_few(networks, settings, epochs=epochs, steps=steps, what="dropout", lr=lr)
    return numbers | {"masks": masks(settings)}


def masks(settings: Settings) -> Numbers:
    """Return what a Dropout layer in the book's form does to 100,000 units of output 1.

    Returns
    -------
    dict
        ``units``; ``kept``, in the first of two passes in training; ``differ``, units that only
        one of the two passes kept; ``leaks``, units at which the backward pass of the second
        differs from its forward pass; ``train`` and ``test``, the mean outputs in training
        and at inference.
    """
    backend = get_backend(settings.device)
    xp = backend.xp
    layer = Dropout(RATIO, seed=settings.seed)
    with backend.active():
        ones = backend.zeros((UNITS,), "float32") + 1
        first, second = layer.forward(ones, True), layer.forward(ones, True)
        back = layer.backward(ones)
        outcome = [xp.sum(first), xp.sum(xp.abs(first - second)), xp.sum(xp.abs(back - second)),
                   xp.mean(first), xp.mean(layer.forward(ones, False))]  # fmt: skip
        names = ("kept", "differ", "leaks", "train", "test")
        values = to_host(outcome).tolist()
    return {"units": UNITS} | dict(zip(names, values, strict=True))


def parse_forms(value: Any) -> list[str]:
    """Return forms of Dropout: none, and the book's and the inverted form at each ratio.

    Parameters
    ----------
    value : str or sequence
        Ratios, such as ``"0.1, 0.5"``, or forms such as ``"book, 0.1"``.
    """
    if not isinstance(value, str) and all(isinstance(form, str) for form in value):
        for form in value:
            kind, _, share = form.partition(", ")
            if form != NONE:
                check_choice("form", kind, ("book", "inverted"))
                parse_rates("ratio", at_least=0, below=1)(share)
        return list(value)
    ratios = parse_rates("ratio", at_least=0, below=1)(value)
    return [NONE, *(f"{kind}, {ratio:g}" for ratio in ratios for kind in ("book", "inverted"))]


def _name(form: str) -> Text:
    kind, _, share = form.partition(", ")
    return TEXTS(f"form-{kind}", ratio=share) if share else TEXTS.name(form)


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the accuracies over the epochs."""
    names = {form: _name(form) for form in runs[0]["curves"]}
    return {"dropout": plot_accuracies(runs, TEXTS, TEXTS("figure"), 2, names)}


def table(numbers: Numbers) -> Table:
    """Return where the networks end."""
    names = {form: _name(form) for form in numbers["final"]}
    return table_of_ends(numbers, TEXTS, "dropout", names)


def _off(numbers: Numbers, key: str, share: float) -> float:
    """Return how far a fraction of units is from the expected one, in standard deviations."""
    seen = numbers["masks"][key] / UNITS
    return float(abs(seen - share) / math.sqrt(share * (1 - share) / UNITS))


def _means_apart(numbers: Numbers) -> float:
    apart = abs(numbers["masks"]["train"] - numbers["masks"]["test"])
    return float(apart / math.sqrt(RATIO * (1 - RATIO) / UNITS))


SECTION = tutorial("dropout")

CLAIMS = (
    claim(TEXTS, "masks", SECTION,
          Check("kept", lambda n: _off(n, "kept", 1 - RATIO), at_most=4, form=".2f", combine=max,
                bound="chance"),
          Check("differ", lambda n: _off(n, "differ", 2 * RATIO * (1 - RATIO)), at_most=4,
                form=".2f", combine=max, bound="chance")),
    claim(TEXTS, "backward", SECTION,
          Check("leaks", lambda n: n["masks"]["leaks"], at_most=0, form=".0f", combine=max,
                bound="never")),
    claim(TEXTS, "factor", SECTION,
          Check("factor", lambda n: n["masks"]["test"], RATIO - 1e-6, RATIO + 1e-6, ".2f",
                bound="exact")),
    claim(TEXTS, "gap", SECTION,
          smaller_gap(TEXTS, NONE, CAPTION, at_least=2, bound="points"),
          smaller_gap(TEXTS, NONE, CODE, at_least=5, bound="gap-stronger")),
    claim(TEXTS, "below", SECTION,
          below_all(TEXTS, CAPTION, at_most=0.97, bound="not-100"),
          below_all(TEXTS, CODE, at_most=0.9, bound="not-100-stronger")),
    claim(TEXTS, "mean", literature("dropout"),
          Check("mean", _means_apart, at_most=4, form=".2f", combine=max, bound="chance")),
    claim(TEXTS, "generalizes", OURS,
          better_on_test(TEXTS, NONE, CAPTION, at_least=1, bound="point"),
          better_on_test(TEXTS, NONE, CODE, at_least=1, bound="point")),
    claim(TEXTS, "inverted", OURS,
          better_on_test(TEXTS, NONE, INVERTED, at_least=-2, bound="no-cost"),
          better_on_test(TEXTS, CAPTION, INVERTED, at_least=2, bound="points")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="dropout",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "epochs": "Epochs, of 3 batches each.",
            "forms": Option(
                "Dropout ratios to compare, such as '0.1, 0.5'; each in the book's form and in "
                "the inverted one.",
                parse_forms,
                flag="ratio",
            ),
            "lr": RATE,
            "hidden": HIDDEN,
            "activation": ACTIVATION,
        },
        quick={"epochs": 31},
        split="forms",
    )
)
