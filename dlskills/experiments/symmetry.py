"""Weights that all start at the same value: hidden units that stay copies of each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import folded, plot_losses
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.options import RATE
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.initializers import Initializer, constant, he, xavier, zeros
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import current_look, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("symmetry")
HIDDEN_SIZE, BATCH_SIZE = 48, 100
SHOWN_UNITS = 4
COPIES = ("sigmoid, all 0", "sigmoid, all 0.01", "ReLU, all 0.01")
"""Networks whose units start alike and learn."""
RANDOM = ("sigmoid, random", "ReLU, random")
INITS: dict[str, dict[str, Initializer]] = {
    "sigmoid": {"all 0": zeros(), "all 0.01": constant(0.01), "random": xavier()},
    "ReLU": {"all 0": zeros(), "all 0.01": constant(0.01), "random": he()},
}


def run(settings: Settings, *, iterations: int = 1000, lr: float = 0.1) -> Numbers:
    """Train one network per activation function and kind of initial weights.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 1000
    lr : float, default 0.1

    Returns
    -------
    dict
        By the names of the networks, such as ``"ReLU, all 0"``: ``train_loss``, of each batch
        before its update; ``test_accuracy``; ``units``, how many hidden units differ at the end;
        ``spread``, the largest difference between the changes of their weights over the largest
        change; ``change``, for each parameter the largest; ``pictures``, the changes of the first
        four units' weights, 14 x 14. And ``lr`` and ``digits``.
    """
    steps = check_count("iterations", iterations)
    networks = {
        f"{activation}, {start}": MultiLayerNet(
            784, [HIDDEN_SIZE], 10, activation=activation, weight_init_std=initializer,
            seed=settings.seed, device=settings.device, dtype="float64",
        )
        for activation, starts in INITS.items()
        for start, initializer in starts.items()
    }  # fmt: skip
    before = {
        name: {key: np.array(to_host(param)) for key, param in network.params.items()}
        for name, network in networks.items()
    }
    optimizers = {name: SGD(lr) for name in networks}
    numbers = train_on_mnist(
        networks, optimizers, settings, batch_size=BATCH_SIZE, steps=steps, what="symmetry"
    )
    for name, network in networks.items():
        changes = {key: to_host(param) - before[name][key] for key, param in network.params.items()}
        found = {
            "units": distinct_units(to_host(network.params["W1"])),
            "spread": _spread(changes["W1"]),
            "change": {key: float(np.max(np.abs(change))) for key, change in changes.items()},
            "pictures": [picture_of(changes["W1"][:, i]) for i in range(SHOWN_UNITS)],
        }
        for key, value in found.items():
            numbers.setdefault(key, {})[name] = value
    return numbers


def distinct_units(weights: Array) -> int:
    """Return how many columns differ, by more than a millionth of the largest number.

    Parameters
    ----------
    weights : numpy.ndarray, shape (inputs, units)

    Returns
    -------
    int
    """
    different: list[Array] = []
    close = 1e-6 * np.max(np.abs(weights))
    for unit in weights.T:
        if all(np.max(np.abs(unit - other)) > close for other in different):
            different.append(unit)
    return len(different)


def _spread(changes: Array) -> float:
    """Return the largest difference of two units' changes over the largest change, or NaN."""
    largest = np.max(np.abs(changes))
    return float(np.max(np.ptp(changes, axis=1)) / largest) if largest else math.nan


def picture_of(change: Array) -> list[list[float]]:
    """Return 784 numbers as 14 x 14, each the mean of four, to three digits."""
    means = change.reshape(14, 2, 14, 2).mean(axis=(1, 3))
    return [[float(f"{value:.3g}") for value in row] for row in means]


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw what four units have learned, for the first seed, and the losses."""
    title = TEXTS("figure", units=HIDDEN_SIZE, digits=runs[0]["digits"])
    return {
        "symmetry": _plot_units(runs[0]),
        "symmetry-loss": plot_losses(runs, TEXTS, title, window=2.7, legend_columns=3),
    }


def _plot_units(numbers: Numbers) -> Figure:
    names = list(numbers["pictures"])
    narrow = current_look().narrow
    across = 1 if narrow else 2
    figure, axes = new_figure(
        len(names) // across, across * (SHOWN_UNITS + 1) - 1,
        size=(4.0, 9.4) if narrow else (9, 4.9), squeeze=False,
        width_ratios=[1] * SHOWN_UNITS + ([] if narrow else [0.3] + [1] * SHOWN_UNITS),
    )  # fmt: skip
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for i, name in enumerate(names):
        column, row = divmod(i, len(names) // across)
        first = column * (SHOWN_UNITS + 1)
        _draw_units(axes[row][first : first + SHOWN_UNITS], numbers, name)
    figure.suptitle(folded(f"{TEXTS('title')}\n{TEXTS('pictures')}", figure))
    return figure


def _draw_units(panels: Any, numbers: Numbers, name: str) -> None:
    for picture, panel in zip(numbers["pictures"][name], panels, strict=True):
        limit = np.max(np.abs(picture)) or 1
        panel.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        panel.spines[:].set(visible=True, color="#999999")
    units = numbers["units"][name]
    alike = TEXTS("alike") if units == 1 else TEXTS("different", units=units)
    # not a title of the first picture, which would have to be as wide as the text above all four
    words = TEXTS("network-and-units", network=TEXTS.name(name), units=alike)
    text = panels[0].text(0, 1.08, str(words), transform=panels[0].transAxes)
    text.set_in_layout(False)


def table(numbers: Numbers) -> Table:
    """Return how many hidden units differ, what has changed, and what was learned."""
    rows: list[list[Any]] = [
        [TEXTS.name(name), Number(numbers["units"][name], ".0f"),
         Number(numbers["change"][name]["W1"], ".2g"),
         Number(late_loss(numbers, name, 1), ".3f"), Number(accuracy, ".1%")]
        for name, accuracy in numbers["test_accuracy"].items()
    ]  # fmt: skip
    columns = ["network", "units", "change-of-w1", "late-loss", "test-accuracy"]
    return Table([TEXTS(column) for column in columns], rows)


ZERO = tutorial("zero")

CLAIMS = (
    claim(TEXTS, "copies", ZERO,
          Check("units", lambda n: max(n["units"][name] for name in COPIES), at_most=1, form=".0f",
                bound="exact"),
          Check("spread", lambda n: max(n["spread"][name] for name in COPIES), at_most=1e-6,
                bound="rounding")),
    claim(TEXTS, "sigmoid-0", ZERO,
          Check("change", lambda n: n["change"]["sigmoid, all 0"]["W1"], at_least=1e-3,
                bound="moves"),
          Check("units", lambda n: n["units"]["sigmoid, all 0"], at_most=1, form=".0f",
                bound="exact")),
    claim(TEXTS, "relu-0", ZERO,
          Check("change",
                lambda n: max(n["change"]["ReLU, all 0"][name] for name in ("W1", "W2")),
                at_least=1e-3, bound="moves")),
    claim(TEXTS, "no-learning", ZERO,
          Check("accuracy",
                lambda n: max(n["test_accuracy"][name] for name in (*COPIES, "ReLU, all 0")),
                at_most=0.5, form=".1%", bound="half-right")),
    claim(TEXTS, "random", ZERO,
          Check("units", lambda n: min(n["units"][name] for name in RANDOM), at_least=HIDDEN_SIZE,
                form=".0f", bound="exact"),
          Check("accuracy", lambda n: min(n["test_accuracy"][name] for name in RANDOM),
                at_least=0.85, form=".1%", bound="good")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="symmetry",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={"iterations": "Steps of each network.", "lr": RATE},
        quick={"iterations": 150},
    )
)
