"""Batch Norm: whether a network learns faster with it, and depends less on initial weights."""

from __future__ import annotations

import collections
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, get_backend, namespace, to_host
from dlskills.checks import check_count
from dlskills.experiments.choices import activation_name, parse_rates
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import (
    draw_curve,
    folded,
    legend_below,
    panels,
    seeds_note,
    titled,
)
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Cell, Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNetExtend
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import SGD
from dlskills.plotting import color, current_look, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("batch-norm")
SCALES = tuple(float(scale) for scale in np.logspace(0, -4, num=16))
DIGITS, BATCH_SIZE = 1000, 100
SHOWN = SCALES[7]  # 0.0136, for the figure of one scale
WITH, WITHOUT = "with Batch Norm", "without"


def run(
    settings: Settings,
    *,
    scales: Sequence[float] = SCALES,
    epochs: int = 20,
    lr: float = 0.01,
    hidden: Sequence[int] = (100,) * 5,
    activation: str = "relu",
) -> Numbers:
    """Train a pair of networks per scale, with and without Batch Norm.

    Parameters
    ----------
    settings : Settings
    scales : sequence of float, default 16 from 1 to 1e-4
        Standard deviations of the initial weights.
    epochs : int, default 20
        Of 10 steps each; the accuracy is measured after the first, with which the last one ends.
    lr : float, default 0.01
    hidden : sequence of int, default (100,) * 5
        Units of each hidden layer.
    activation : str or class, default "relu"

    Returns
    -------
    dict
        ``accuracy``: for each scale and network, on the training digits after the first step of
        each epoch, as long as it is finite; ``diverged``: for each scale the networks that did,
        with the ``step`` and ``where`` the first number was not finite.
    """
    count = check_count("epochs", epochs)
    x, t, _, _ = digits_on(settings)
    x, t = x[:DIGITS, :], t[:DIGITS]
    numbers: Numbers = {"accuracy": {}, "diverged": {}}

    def network(name: str, scale: float) -> MultiLayerNetExtend:
        return MultiLayerNetExtend(
            784, hidden, 10, activation_name(activation), scale, use_batchnorm=name == WITH,
            seed=settings.seed, device=settings.device,
        )  # fmt: skip

    # a network that diverges is a result, and no reason to warn
    with (
        Progress(len(scales) * count, "batch-norm", show=settings.verbose) as progress,
        np.errstate(over="ignore", invalid="ignore"),
        get_backend(settings.device).active(),
    ):
        for scale in scales:
            accuracy, diverged = _train_pair(
                settings, functools.partial(network, scale=scale), lr, x, t, count, progress
            )
            numbers["accuracy"][f"{scale:.3g}"] = accuracy
            numbers["diverged"][f"{scale:.3g}"] = diverged
            ends = (
                f"{name} {'diverged' if name in diverged else f'{values[-1]:.3f}'}"
                for name, values in accuracy.items()
            )
            progress.note(f"standard deviation {scale:.3g}, accuracy: {', '.join(ends)}")
    return numbers


def _train_pair(
    settings: Settings,
    network: Callable[[str], MultiLayerNetExtend],
    lr: float,
    x: Array,
    t: Array,
    epochs: int,
    progress: Progress,
) -> tuple[dict[str, list[float]], dict[str, Numbers]]:
    names = (WITH, WITHOUT)
    per_epoch = math.ceil(x.shape[0] / BATCH_SIZE)
    steps = per_epoch * (epochs - 1) + 1
    pair = SideBySide(
        {name: network(name) for name in names}, {name: SGD(lr) for name in names}, x, t,
        batch_size=BATCH_SIZE, steps=steps, seed=settings.seed,
    )  # fmt: skip
    accuracy: dict[str, list[float]] = {name: [] for name in names}
    diverged: dict[str, Numbers] = {}
    for step in range(steps):
        pair.step(step)
        if step % per_epoch:
            continue
        for name, learning in list(pair.networks.items()):
            if _finite(learning.params.flat):
                accuracy[name].append(learning.accuracy(x, t))
            else:
                del pair.networks[name]
                batches = map(pair.batch, itertools.count())
                diverged[name] = first_not_finite(network(name), SGD(lr), batches)
        progress.advance()
    return accuracy, diverged


def first_not_finite(
    network: Sequential, optimizer: Any, batches: Iterator[tuple[Array, Array]]
) -> Numbers:
    """Return where training first goes wrong.

    Parameters
    ----------
    network : Sequential
        In its initial state; it is trained once more, with every number checked.
    optimizer : Optimizer
    batches : iterator of (x, t)

    Returns
    -------
    dict
        ``step``, counted from 1, and ``where``: a layer's output such as ``"ReLU 3"``, ``"loss"``,
        or a parameter's gradient such as ``"gradient of W2"``, or the parameter, after its update.
    """
    for step, (x, t) in enumerate(batches, 1):
        signal, seen = x, collections.Counter[str]()
        for layer in network.layers:
            kind = type(layer).__name__
            seen[kind] += 1
            signal = layer.forward(signal, train_flg=True)
            if not _finite(signal):
                return {"step": step, "where": f"{kind} {seen[kind]}"}
        loss, grads = network.loss_and_gradient(x, t)
        if not _finite(loss):
            return {"step": step, "where": "loss"}
        for name in reversed(list(grads)):  # as they are computed, from the output to the input
            if not _finite(grads[name]):
                return {"step": step, "where": f"gradient of {name}"}
        optimizer.update(network.params, grads)
        for name, param in network.params.items():
            if not _finite(param):
                return {"step": step, "where": name}
    raise ValueError("all numbers stay finite on these batches")


def _finite(values: Array) -> bool:
    xp = namespace(values)
    return bool(to_host(xp.all(xp.isfinite(values))))


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the accuracies at one scale, and at all of them."""
    return {"batch-norm": _plot_one(runs), "batch-norm-scales": _plot_all(runs)}


def _plot_one(runs: list[Numbers]) -> Figure:
    figure, panel = new_figure()
    scale = _shown(runs[0])
    _draw(panel, runs, scale, points=10)
    titled(panel, f"{TEXTS('figure', scale=scale)}{seeds_note(runs, TEXTS)}")
    panel.set(xlabel=str(TEXTS("epoch-first-step")), ylim=(0, 1.02))
    panel.set_ylabel(folded(TEXTS("digits-accuracy", count=DIGITS), figure))
    legend_below(figure, panel)
    return figure


def _plot_all(runs: list[Numbers]) -> Figure:
    scales = list(runs[0]["accuracy"])
    figure, axes = panels(
        len(scales), columns=4, narrow=2, size=(2.25, 1.75), xlabel=TEXTS("epoch"),
        ylabel=TEXTS("accuracy"), title=f"{TEXTS('figure-scales')}{seeds_note(runs, TEXTS)}",
    )  # fmt: skip
    for panel, scale in zip(axes, scales, strict=True):
        _draw(panel, runs, scale, points=8, markersize=3)
        panel.set_title(str(TEXTS("std", std=scale)), fontsize=10)
        panel.set(ylim=(0, 1.02), yticks=(0, 0.5, 1))
    legend_below(figure, axes[0])
    return figure


def _draw(panel: Any, runs: list[Numbers], scale: str, points: float, **look: Any) -> None:
    for i, (name, style) in enumerate({WITH: "-", WITHOUT: "--"}.items()):
        curves = [numbers["accuracy"][scale][name] for numbers in runs]
        draw_curve(panel, None, curves, i, str(TEXTS.name(name)), linestyle=style, **look)
        # the first seed's step: they differ
        found = [numbers["diverged"][scale].get(name) for numbers in runs]
        gone = [step for step in found if step]
        if gone:
            words = TEXTS("gone", network=TEXTS.name(name), step=gone[0]["step"],
                          where=gone[0]["where"])  # fmt: skip
            panel.text(
                0.05, 0.97, str(words), ha="left", va="top", fontsize=points, color=color(i),
                transform=panel.transAxes,
                bbox={"fc": current_look().paper, "ec": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    panel.locator_params(axis="x", integer=True)


def _shown(numbers: Numbers) -> str:
    """Return the scale nearest to that of the first figure."""
    scales: dict[str, Any] = numbers["accuracy"]
    return min(scales, key=lambda scale: abs(math.log(float(scale) / SHOWN)))


def table(numbers: Numbers) -> Table:
    """Return for each scale the mean and the last accuracy of both networks."""
    rows: list[list[Cell]] = []
    for scale, accuracy in numbers["accuracy"].items():
        row: list[Cell] = [scale]
        for name, values in accuracy.items():
            found = numbers["diverged"][scale].get(name)
            row.append(Number(_mean(numbers, scale, name), ".3f"))
            row.append(TEXTS("diverged-at", where=found["where"]) if found
                       else Number(values[-1], ".3f"))  # fmt: skip
        rows.append(row)
    columns = ["initial-std", "mean-with", "last-with", "mean-without", "last-without"]
    return Table([TEXTS(column) for column in columns], rows)


def _mean(numbers: Numbers, scale: str, name: str) -> float:
    """Return the mean accuracy over the epochs: the area below the curve, 0 after divergence."""
    accuracy: dict[str, list[float]] = numbers["accuracy"][scale]
    return sum(accuracy[name]) / max(map(len, accuracy.values()), default=1)


def _last(numbers: Numbers, scale: str, name: str) -> float:
    """Return the last accuracy; 0 for a network that has diverged."""
    diverged = name in numbers["diverged"][scale]
    return 0 if diverged else float(numbers["accuracy"][scale][name][-1])


def _epochs_to(numbers: Numbers, name: str, wanted: float) -> float:
    """Return the epoch, from 0, that reaches an accuracy at the shown scale; else infinity."""
    accuracy = numbers["accuracy"][_shown(numbers)][name]
    return next((i for i, value in enumerate(accuracy) if value >= wanted), math.inf)


def _share(numbers: Numbers, holds: Callable[[str], float]) -> float:
    """Return the fraction of scales for which something holds."""
    return statistics.fmean(map(holds, numbers["accuracy"]))


SECTION = tutorial("batch-norm")

CLAIMS = (
    claim(TEXTS, "faster", SECTION,
          Check("with", lambda n: _epochs_to(n, WITH, 0.8), at_most=10, form=".0f",
                bound="half-time"),
          Check("without", lambda n: max(n["accuracy"][_shown(n)][WITHOUT]), at_most=0.2,
                bound="twice-guess")),
    claim(TEXTS, "most-scales", SECTION,
          Check("share",
                lambda n: _share(n, lambda scale: _mean(n, scale, WITH) > _mean(n, scale, WITHOUT)),
                at_least=13 / 16, form=".0%", bound="almost-all")),
    claim(TEXTS, "needs-scale", SECTION,
          Check("share", lambda n: _share(n, lambda scale: _last(n, scale, WITHOUT) < 0.2),
                at_least=12 / 16, form=".0%", bound="most"),
          Check("best", lambda n: max(_last(n, scale, WITHOUT) for scale in n["accuracy"]),
                at_least=0.8, bound="four-fifths")),
    claim(TEXTS, "robust", SECTION,
          Check("worst", lambda n: min(_last(n, scale, WITH) for scale in n["accuracy"]),
                at_least=0.3, bound="three-guesses"),
          Check("share",
                lambda n: _share(
                    n,
                    lambda scale: (_last(n, scale, WITH) > 0.8) - (_last(n, scale, WITHOUT) > 0.8),
                ),
                at_least=3 / 16, form=".0%", bound="three-more")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="batch-norm",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "epochs": "Of 10 steps each; the last one has a single step.",
            "scales": Option(
                "Standard deviations of the initial weights, such as '0.1, 0.01'.",
                parse_rates("weight-init", above=0),
                flag="weight-init",
            ),
            "lr": RATE,
            "hidden": HIDDEN,
            "activation": ACTIVATION,
        },
        quick={"scales": SCALES[::5], "epochs": 6},
        split="scales",
    )
)
