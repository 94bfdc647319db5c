"""Initial values of deep networks: 30 layers of ReLU, and gradients through 5 layers of tanh."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.checks import check_count
from dlskills.diagnostics.monitor import Monitor
from dlskills.experiments.choices import parse_rate
from dlskills.experiments.claims import Check, claim, literature
from dlskills.experiments.drawing import draw_curve, over_seeds, panels, seeds_note
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.initializers import uniform
from dlskills.layers import Affine, Layer, Tanh
from dlskills.networks import MultiLayerNet, Sequential
from dlskills.optimizers import Momentum
from dlskills.plotting import current_look, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("deep-initial-values")
BATCH_SIZE = 100
EVERY = 100
TANH_LAYERS, TANH_UNITS, TANH_SAMPLES = 5, 1000, 300
LIMITS: dict[str, Callable[[int, int], float]] = {
    "standard": lambda fan_in, fan_out: 1 / math.sqrt(fan_in),
    "normalized": lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out)),
}
"""Limits of uniform initial weights: Glorot and Bengio (2010), equations 1 and 16."""

STANDARD = 1 / math.sqrt(3)
"""By what the standard initial weights multiply gradients per layer: n var(w) = 1/3."""


def run(
    settings: Settings, *, iterations: int = 1200, layers: int = 30, units: int = 128,
    lr: float = 0.001,
) -> Numbers:  # fmt: skip
    """Train deep ReLU networks from Xavier's and He's initial weights; send gradients through tanh.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 1200
        Steps of Momentum on batches of 100.
    layers, units : int, default 30, 128
        Of the ReLU networks.
    lr : float, default 0.001

    Returns
    -------
    dict
        ``error``: for both the test error after each of the ``steps``; ``gradient_std``: for both
        of Glorot's initial weights the standard deviation of the gradient at the input
        of each tanh, the first layer first; ``ratio``: by what it changes per layer backwards.
    """
    count = check_count("iterations", iterations)
    hidden = [check_count("units", units)] * check_count("layers", layers)
    x, t, x_test, t_test = digits_on(settings)
    networks = {
        name: MultiLayerNet(784, hidden, 10, "relu", name.lower(), seed=settings.seed,
                            device=settings.device)
        for name in ("Xavier", "He")
    }  # fmt: skip
    training = SideBySide(
        networks, {name: Momentum(lr) for name in networks}, x, t,
        batch_size=BATCH_SIZE, steps=count, seed=settings.seed,
    )  # fmt: skip
    steps = [*range(EVERY, count, EVERY), count]
    accuracy = training.accuracies(
        steps, x_test, t_test, what="deep-initial-values", show=settings.verbose
    )
    error = {name: [1 - right for right in found] for name, found in accuracy.items()}
    stds = {name: _gradient_stds(settings, name, x, t) for name in LIMITS}
    ratio = {name: (std[0] / std[-1]) ** (1 / (len(std) - 1)) for name, std in stds.items()}
    return {"steps": steps, "error": error, "gradient_std": stds, "ratio": ratio}


def _gradient_stds(settings: Settings, name: str, x: Array, t: Array) -> list[float]:
    """Return the standard deviation of the gradient at each tanh layer's input, before training."""
    layers: list[Layer] = []
    sizes = [784, *[TANH_UNITS] * TANH_LAYERS, 10]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [Affine(fan_in, fan_out, uniform(LIMITS[name](fan_in, fan_out))), Tanh()]
    network = Sequential(layers[:-1], seed=settings.seed, device=settings.device)
    monitor = Monitor(network)
    monitor.observe(x[:TANH_SAMPLES], t[:TANH_SAMPLES])
    return [float(std) for std in monitor.history("gradient_std")[0][: 2 * TANH_LAYERS : 2]]


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the errors over the steps, and the gradients of each layer with the slope of theory."""
    figure, axes = panels(2, columns=2, size=(4.5, 3.8), share=False,
                          title=f"{TEXTS('figure')}{seeds_note(runs, TEXTS)}")  # fmt: skip
    errors, gradients = axes
    for i, name in enumerate(runs[0]["error"]):
        draw_curve(errors, runs[0]["steps"], over_seeds(runs, "error", name), i, name)
    errors.set(title=str(TEXTS("errors")), xlabel=str(TEXTS("iteration")), ylim=(0, 1))
    errors.yaxis.set_major_formatter("{x:.0%}")
    numbers = range(1, TANH_LAYERS + 1)
    for i, name in enumerate(LIMITS, 2):
        curves = over_seeds(runs, "gradient_std", name)
        draw_curve(gradients, numbers, curves, i, str(TEXTS.name(name)))
    last = float(np.median([curve[-1] for curve in over_seeds(runs, "gradient_std", "standard")]))
    slope = [last * STANDARD ** (TANH_LAYERS - number) for number in numbers]
    gradients.plot(numbers, slope, ":", color=current_look().ink, label=str(TEXTS("theory")))
    gradients.set(title=str(TEXTS("gradients")), xlabel=str(TEXTS("layer")), yscale="log")
    gradients.set_xticks(list(numbers))
    for panel in axes:
        panel.legend(fontsize=10)
    return {"deep-initial-values": figure}


def table(numbers: Numbers) -> Table:
    """Return the test errors at the end, and by what gradients change per layer."""
    rows: list[list[Any]] = [
        [name, Number(error[-1], ".1%"), TEXTS("none")] for name, error in numbers["error"].items()
    ]
    rows += [
        [TEXTS.name(name), TEXTS("none"), Number(ratio, ".3f")]
        for name, ratio in numbers["ratio"].items()
    ]
    return Table([TEXTS("initial-weights"), TEXTS("error"), TEXTS("ratio")], rows)


CLAIMS = (
    claim(TEXTS, "xavier", literature("he"),
          Check("error", lambda n: n["error"]["Xavier"][-1], at_least=0.8, form=".1%",
                bound="near-guess")),
    claim(TEXTS, "he", literature("he"),
          Check("error", lambda n: n["error"]["He"][-1], at_most=0.1, form=".1%",
                bound="nine-in-ten")),
    claim(TEXTS, "standard", literature("glorot"),
          Check("ratio", lambda n: n["ratio"]["standard"], at_least=STANDARD - 0.02,
                at_most=STANDARD + 0.02, form=".3f", bound="root-3")),
    claim(TEXTS, "normalized", literature("glorot"),
          Check("ratio", lambda n: n["ratio"]["normalized"], at_least=0.9, at_most=1.1,
                form=".3f", bound="level")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="deep-initial-values",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "iterations": "Steps of each ReLU network.",
            "layers": "Hidden layers of the ReLU networks.",
            "units": "Units of each.",
            "lr": Option("Learning rate of Momentum.", parse_rate("lr", at_least=0)),
        },
        quick={"iterations": 20, "layers": 10},
    ),
    beyond=True,
)
