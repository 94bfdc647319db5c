"""Initial weights on MNIST: the same network, from three scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.checks import check_count
from dlskills.experiments.choices import activation_name, init_label
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import plot_losses
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.options import ACTIVATION, HIDDEN, RATE, WEIGHT_INITS
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import smooth_curve, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("weight-init-mnist")
BATCH_SIZE = 128


def run(
    settings: Settings,
    *,
    iterations: int = 2000,
    weight_init: Sequence[float | str] = (0.01, "xavier", "he"),
    lr: float = 0.01,
    hidden: Sequence[int] = (100, 100, 100, 100),
    activation: str = "relu",
) -> Numbers:
    """Train one network per scale of initial weights, on the same batches.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 2000
    weight_init : sequence of float or str, default (0.01, "xavier", "he")
    lr : float, default 0.01
    hidden : sequence of int, default (100, 100, 100, 100)
        Units of each hidden layer.
    activation : str or class, default "relu"

    Returns
    -------
    dict
        ``train_loss``: for each scale the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``change``: the largest change of a weight matrix over its
        norm at the start; ``lr``: the learning rate; ``digits``: the number of training images.
    """
    steps = check_count("iterations", iterations)
    networks = {
        init_label(choice): MultiLayerNet(
            784, hidden, 10, activation_name(activation), choice,
            seed=settings.seed, device=settings.device,
        )
        for choice in weight_init
    }  # fmt: skip
    before = {name: _weights(network) for name, network in networks.items()}
    # one each: a shared optimizer, as in the tutorial, would mix their state if it had any
    optimizers = {name: SGD(lr) for name in networks}
    numbers = train_on_mnist(
        networks, optimizers, settings, batch_size=BATCH_SIZE, steps=steps, what="weight-init-mnist"
    )
    numbers["change"] = {
        name: max(
            float(np.linalg.norm(after - start) / np.linalg.norm(start))
            for after, start in zip(_weights(network), before[name], strict=True)
            if np.any(start)
        )
        for name, network in networks.items()
        if any(map(np.any, before[name]))
    }
    return numbers


def _weights(network: MultiLayerNet) -> list[Array]:
    return [
        np.array(to_host(param)) for name, param in network.params.items() if name.startswith("W")
    ]


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the smoothed losses over the iterations."""
    title = TEXTS("figure", digits=runs[0]["digits"])
    return {"weight-init-mnist": plot_losses(runs, TEXTS, title)}


def table(numbers: Numbers) -> Table:
    """Return when each network has begun to learn, how far it gets, and its test accuracy."""
    rows: list[list[Any]] = []
    for name, accuracy in numbers["test_accuracy"].items():
        steps = _steps_to(numbers, name, 0.5)
        reached = TEXTS("never") if np.isinf(steps) else Number(steps, ".0f")
        rows.append([TEXTS.name(name), reached, Number(late_loss(numbers, name, 1), ".3f"),
                     Number(accuracy, ".1%")])  # fmt: skip
    count = min(100, len(numbers["train_loss"][name]))
    return Table(
        [TEXTS("initial-weights"), TEXTS("steps-to-loss", loss=0.5),
         TEXTS("loss-last", count=count), TEXTS("test-accuracy")], rows,
    )  # fmt: skip


def _steps_to(numbers: Numbers, name: str, loss: float) -> float:
    """Return the steps until the smoothed loss comes down to a value; infinite if it never does."""
    below = np.flatnonzero(smooth_curve(numbers["train_loss"][name]) <= loss)
    return float(below[0]) if below.size else np.inf


def _hundreds(numbers: Numbers, name: str) -> Array:
    """Return the mean loss of each hundred batches; an error where there is none."""
    losses = np.asarray(numbers["train_loss"][name])
    count = losses.size // 100
    return losses[: 100 * count].reshape(count, 100).mean(axis=1)


SECTION = tutorial("mnist-init")
GOOD = ("Xavier", "He")

CLAIMS = (
    claim(TEXTS, "std-001", SECTION,
          Check("guess",
                lambda n: float(np.max(np.abs(_hundreds(n, "std 0.01") - np.log(10)))),
                at_most=0.01, bound="guess")),
    claim(TEXTS, "still", SECTION,
          Check("change", lambda n: n["change"]["std 0.01"], at_most=0.01, bound="still")),
    claim(TEXTS, "learns", SECTION,
          Check("late", lambda n: max(late_loss(n, name) for name in GOOD), at_most=0.5,
                bound="learned"),
          Check("accuracy", lambda n: min(n["test_accuracy"][name] for name in GOOD),
                at_least=0.85, form=".1%", bound="good")),
    claim(TEXTS, "he-faster", SECTION,
          Check("steps", lambda n: _steps_to(n, "He", 0.5) / _steps_to(n, "Xavier", 0.5),
                at_most=0.75, bound="quarter-sooner"),
          Check("late", lambda n: late_loss(n, "He") / late_loss(n, "Xavier"), at_most=0.97,
                bound="three-percent")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="weight-init-mnist",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "iterations": "Steps of each network.",
            "weight_init": WEIGHT_INITS,
            "lr": RATE,
            "hidden": HIDDEN,
            "activation": ACTIVATION,
        },
        quick={"iterations": 200},
    )
)
