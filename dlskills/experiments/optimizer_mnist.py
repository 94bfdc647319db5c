"""Optimizers on MNIST: which one brings the loss down fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlskills.backend import Array, get_backend, to_host
from dlskills.data import load_mnist
from dlskills.experiments.results import Numbers, Settings, Table
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import OPTIMIZERS as ALL_OPTIMIZERS
from dlskills.optimizers import make_optimizer
from dlskills.plotting import new_figure, plot_curves, smooth_curve, styled
from dlskills.random import resolve_seed, stream
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Optimizers on MNIST"
OPTIMIZERS = ("SGD", "Momentum", "AdaGrad", "Adam")
ITERATIONS = 2000
BATCH_SIZE = 128
HIDDEN_SIZES = [100, 100, 100, 100]


def run(settings: Settings, optimizers: Sequence[str] = OPTIMIZERS) -> Numbers:
    """Train one 5-layer network a method, all from the same weights and on the same batches.

    Parameters
    ----------
    settings : Settings
        2000 `iterations` on the page.
    optimizers : sequence of str
        Names, in any case; each at its default learning rate.

    Returns
    -------
    dict
        ``train_loss``: for each method the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``lr``: its learning rate; ``digits``: the number of
        training images.
    """
    backend = get_backend(settings.device)
    (x_train, t_train), (x_test, t_test) = (
        tuple(map(backend.asarray, part)) for part in load_mnist(subset=settings.subset)
    )
    count = settings.iterations or ITERATIONS
    seed = resolve_seed(settings.seed)
    methods = {type(o).__name__: o for o in map(make_optimizer, optimizers)}
    networks = {
        name: MultiLayerNet(784, HIDDEN_SIZES, 10, seed=seed, device=settings.device)
        for name in methods
    }
    losses: dict[str, list[Array]] = {name: [] for name in methods}
    # all batches are drawn, with replacement as on the page, and moved to the device, beforehand
    rows = stream(seed, "batches").integers(x_train.shape[0], size=(count, BATCH_SIZE))
    order = backend.asarray(rows)
    xp = backend.xp
    with Progress(count, "optimizer-mnist", show=settings.verbose) as progress, backend.active():
        for i in range(count):
            x = xp.take(x_train, order[i, :], axis=0)
            t = xp.take(t_train, order[i, :], axis=0)
            for name, network in networks.items():
                loss, grads = network.loss_and_gradient(x, t)
                methods[name].update(network.params, grads)
                losses[name].append(loss)
            progress.advance()
            if i % 100 == 0:
                last = (f"{name} {float(loss[-1]):.3f}" for name, loss in losses.items())
                progress.note(f"iteration {i}, loss: {', '.join(last)}")
    return {
        "train_loss": {name: to_host(loss).tolist() for name, loss in losses.items()},
        "test_accuracy": {n: network.accuracy(x_test, t_test) for n, network in networks.items()},
        "lr": {name: method.lr for name, method in methods.items()},
        "digits": x_train.shape[0],
    }


@styled
def plot(numbers: Numbers) -> Figure:
    """The smoothed losses over the iterations."""
    figure, axes = new_figure()
    curves = {
        f"{name} (learning rate {numbers['lr'][name]:g})": smooth_curve(loss)
        for name, loss in numbers["train_loss"].items()
    }
    count = max(map(len, curves.values()))
    plot_curves(axes, range(count), curves, looks=[_look(name) for name in numbers["train_loss"]])
    # the page's window once all methods have come down into it; before, up to where they begin
    top = 1 if all(curve[-1] < 1 for curve in curves.values()) else 2.5
    axes.set(
        title=f"{TITLE}: 5-layer network, batches of {BATCH_SIZE} of {numbers['digits']:,} digits",
        xlabel="iteration",
        ylabel="loss of a batch before its update (smoothed)",
        xlim=(0, count),
        ylim=(0, top),
    )
    return figure


def _look(name: str) -> int:
    """The page's methods first, in its order, then the others."""
    page = [known.lower() for known in OPTIMIZERS]
    return [*page, *(known for known in ALL_OPTIMIZERS if known not in page)].index(name.lower())


def table(numbers: Numbers) -> Table:
    """Early and late losses, and the accuracy on the test data."""
    count = max(map(len, numbers["train_loss"].values()))
    first, last = min(300, count), min(100, count)
    rows = []
    for name, loss in numbers["train_loss"].items():
        accuracy = numbers["test_accuracy"][name]
        rows.append(
            [name, f"{numbers['lr'][name]:g}", f"{np.mean(loss[:first]):.3f}",
             f"{np.mean(loss[-last:]):.3f}", f"{accuracy:.1%}"]
        )  # fmt: skip
    columns = ["method", "lr", f"loss, first {first}", f"loss, last {last}", "test accuracy"]
    return columns, rows
