"""Four optimizers on the surface f(x, y) = x**2 / 20 + y**2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlskills.backend import Array, get_backend, to_host
from dlskills.experiments.results import Numbers, Settings, Table
from dlskills.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer
from dlskills.parameters import Parameters
from dlskills.plotting import COLORS, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Paths of four optimizers on x²/20 + y²"
START = (-7.0, 2.0)
ITERATIONS = 30


def optimizers() -> dict[str, Optimizer]:
    """The four methods, at the page's learning rates."""
    return {
        "SGD": SGD(lr=0.95),
        "Momentum": Momentum(lr=0.1),
        "AdaGrad": AdaGrad(lr=1.5),
        "Adam": Adam(lr=0.3),
    }


def run(settings: Settings) -> Numbers:
    """Follow each method from (-7, 2).

    Parameters
    ----------
    settings : Settings
        `iterations` is the number of points of a path, the start among them; 30 on the page.
        `seed` and `subset` play no part.

    Returns
    -------
    dict
        ``paths``: for each method its points, in float64; ``lr``: its learning rate.
    """
    backend = get_backend(settings.device)
    count = settings.iterations or ITERATIONS
    methods = optimizers()
    paths = {}
    progress = Progress(len(methods), "optimizer-paths", show=settings.verbose)
    with progress, backend.active():
        for name, optimizer in methods.items():
            start = {k: backend.asarray(v, "float64") for k, v in zip("xy", START, strict=True)}
            params = Parameters(start)
            grads = params.zeros_like()
            points = []
            for _ in range(count):
                points.append(params.copy().flat)
                grads["x"] = params["x"] / 10
                grads["y"] = params["y"] * 2
                optimizer.update(params, grads)
            paths[name] = to_host(points).tolist()
            progress.advance()
    return {"paths": paths, "lr": {name: optimizer.lr for name, optimizer in methods.items()}}


def height(x: Array, y: Array) -> Array:
    """The surface."""
    return x**2 / 20 + y**2


@styled
def plot(numbers: Numbers) -> Figure:
    """The paths over contours of the surface, one panel a method."""
    figure, axes = new_figure(2, 2, size=(9, 5.4), sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-10, 10, 201), np.linspace(-5, 5, 201))
    for panel, (name, path), color in zip(
        axes.flat, numbers["paths"].items(), COLORS, strict=False
    ):
        panel.contour(x, y, height(x, y), levels=[0.1, 0.5, 1, 2, 4, 8, 16], colors="#999999",
                      linewidths=0.8)  # fmt: skip
        points = np.asarray(path)
        panel.plot(points[:, 0], points[:, 1], "o-", color=color, markersize=4)
        panel.plot(*points[0], "s", color="black", label="start")
        panel.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=2, label="minimum")
        panel.set(title=f"{name}, learning rate {numbers['lr'][name]:g}", aspect="equal")
        panel.set(xlim=(-10, 10), ylim=(-5, 5), xticks=range(-8, 9, 4))
    for panel in axes[:, 0]:
        panel.set_ylabel("y")
    for panel in axes[-1]:
        panel.set_xlabel("x")
    axes[0, 0].legend(loc="upper right", fontsize=9, frameon=True, framealpha=1, edgecolor="none")
    figure.suptitle(f"{TITLE}: the first {len(points)} points")
    return figure


def table(numbers: Numbers) -> Table:
    """Where each path ends, how long it is, how often it crosses the valley."""
    rows = []
    for name, path in numbers["paths"].items():
        points = np.asarray(path)
        length = np.sum(np.hypot(*np.diff(points, axis=0).T))
        crossings = np.sum(np.diff(np.sign(points[:, 1])) != 0)
        end = points[-1]
        rows.append(
            [name, f"{numbers['lr'][name]:g}", f"({end[0]:.3f}, {end[1]:.3f})",
             f"{height(*end):.2e}", f"{length:.1f}", str(crossings)]
        )  # fmt: skip
    columns = ["method", "lr", "last point", "f there", "path length", "y = 0 crossed"]
    return columns, rows
