"""A 7-layer network on 300 digits: what the experiments on overfitting share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.claims import Check
from dlskills.experiments.drawing import (
    draw_curve,
    legend_below,
    over_seeds,
    panels,
    seeds_note,
)
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Text, Texts
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import SGD
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = 300
HIDDEN_SIZES = (100,) * 6
BATCH_SIZE = 100
LEARNING_RATE = 0.01
SHOWN = 1000
"""Test images on which the curves are measured; the last accuracy is of all of them."""


def measure(network: Sequential, x: Array, t: Array, known: int) -> Array:
    """Measure a network on its training samples, the first `known`, and on others.

    Parameters
    ----------
    network : Sequential
    x, t : array
    known : int
        Number trained on; they and the others are measured in one pass.

    Returns
    -------
    array, shape (5,)
        On the device: the number of correct ones among the known and among the others, their mean
        losses without weight decay, and the sum of squares of all weights. See :func:`curves`.
    """
    xp = network.backend.xp
    y = network.predict(x)
    with network.backend.active():
        right = xp.astype(network.loss_layer.correct(y, t), y.dtype)
        losses = [
            network.loss_layer.forward(y[rows, ...], t[rows])
            for rows in (slice(known, None), slice(None, known))
        ]
        squares = [
            xp.sum(param * param) for name, param in network.params.items() if name[0] == "W"
        ]
        total = xp.sum(xp.stack(squares))
        return xp.stack([xp.sum(right[:known]), xp.sum(right[known:]), *losses[::-1], total])


def curves(measured: list[Array], known: int, others: int, test: str = "test") -> Numbers:
    """Return the results of :func:`measure` over time, as lists of plain numbers."""
    names = ("train_accuracy", f"{test}_accuracy", "train_loss", f"{test}_loss", "squares")
    columns = (to_host(measured).astype(np.float64) / [known, others, 1, 1, 1]).T
    return {
        name: [float(f"{value:.6g}") for value in column]
        for name, column in zip(names, columns, strict=True)
    }


def train_on_few(
    networks: Mapping[str, Sequential],
    settings: Settings,
    *,
    epochs: int,
    steps: int,
    what: str,
    lr: float = LEARNING_RATE,
) -> Numbers:
    """Train networks on the first 300 digits.

    Parameters
    ----------
    networks : mapping of str to Sequential
    settings : Settings
    epochs : int
        Number of epochs recorded, each after its first batch.
    steps : int
        Number of batches.
    what : str
        Name of the progress bar.
    lr : float, default 0.01

    Returns
    -------
    dict
        ``curves``: for each network its ``train_accuracy``, ``test_accuracy``, ``train_loss`` and
        ``test_loss`` (without weight decay), ``squares`` (the sum of squares of its weights) and
        ``penalty`` (what weight decay adds to the loss), one entry per epoch; ``final``: for each
        its accuracies at the end, on all test images.
    """
    x_train, t_train, x_test, t_test = digits_on(settings)
    x, t = x_train[:DIGITS, ...], t_train[:DIGITS, ...]
    training = SideBySide(
        networks, {name: SGD(lr=lr) for name in networks}, x, t,
        batch_size=BATCH_SIZE, steps=steps, seed=settings.seed,
    )  # fmt: skip
    count = t_test.shape[0]
    drawn = np.sort(stream(settings.seed, "test images").permutation(count)[:SHOWN])
    backend = next(iter(networks.values())).backend
    xp, rows = backend.xp, backend.asarray(drawn)
    with backend.active():
        x_both = xp.concat([x, xp.take(x_test, rows, axis=0)])
        t_both = xp.concat([t, xp.take(t_test, rows, axis=0)])
    measured: dict[str, list[Array]] = {name: [] for name in networks}
    every = DIGITS // BATCH_SIZE
    with Progress(steps, what, show=settings.verbose) as progress:
        for i in range(steps):
            training.step(i)
            if i % every == 0 and i // every < epochs:
                for name, network in networks.items():
                    measured[name].append(measure(network, x_both, t_both, DIGITS))
            progress.advance()
    numbers: Numbers = {"curves": {}, "final": {}}
    for name, network in networks.items():
        own = curves(measured[name], DIGITS, len(drawn))
        half = 0.5 * network.weight_decay_lambda
        own["penalty"] = [half * squares for squares in own["squares"]]
        numbers["curves"][name] = own
        numbers["final"][name] = {
            "train_accuracy": network.accuracy(x, t),
            "test_accuracy": network.accuracy(x_test, t_test),
        }
    return numbers


def book_steps(epochs: int) -> int:
    """Return the steps of the tutorial's loop, which ends with the first batch of an epoch."""
    return (check_count("epochs", epochs) - 1) * (DIGITS // BATCH_SIZE) + 1


def plot_accuracies(
    runs: Sequence[Numbers], texts: Texts, title: Text, columns: int, names: Mapping[str, Text]
) -> Figure:
    """Draw one panel per network: accuracies over the epochs, and those at the end above it.

    Parameters
    ----------
    runs : sequence of Numbers
        One per seed.
    texts : Texts
    title : Text
    columns : int
        Panels per row.
    names : mapping of str to Text
        What to call the networks.
    """
    figure, axes = panels(
        len(names), columns=columns, size=(8.0 if columns == 1 else 4.5, 3.9),
        xlabel=texts("small-epoch"), ylabel=texts("accuracy"),
        title=f"{title}{seeds_note(runs, texts)}",
    )  # fmt: skip
    parts = {"train": texts("training-images", count=DIGITS),
             "test": texts("test-images", count=SHOWN)}  # fmt: skip
    for panel, (name, shown) in zip(axes, names.items(), strict=True):
        for i, (part, label) in enumerate(parts.items()):
            found = over_seeds(runs, "curves", name, f"{part}_accuracy")
            draw_curve(panel, None, found, i, str(label))
        train, test = (
            float(np.mean([accuracy(numbers, name, part) for numbers in runs])) for part in parts
        )
        words = f"{shown}\n{texts('at-the-end', train=train, test=test)}"
        panel.set(title=words, ylim=(0, 1.03))
    legend_below(figure, axes[0])
    return figure


def table_of_ends(
    numbers: Numbers, texts: Texts, first: str, names: Mapping[str, Text] | None = None
) -> Table:
    """Return accuracies at the end, their difference, and how large the weights have become."""
    rows: list[list[Any]] = []
    for name in numbers["final"]:
        own = numbers["curves"][name]
        train, test = (accuracy(numbers, name, part) for part in ("train", "test"))
        rows.append(
            [names[name] if names else texts.name(name), Number(train, ".1%"), Number(test, ".1%"),
             Number(train - test, ".1%"), Number(own["train_loss"][-1], ".3f"),
             Number(own["penalty"][-1], ".2f"), Number(own["squares"][-1], ".0f")]
        )  # fmt: skip
    columns = [first, "train", "test", "gap", "loss", "penalty"]
    return Table([*(texts(column) for column in columns), "ΣW²"], rows)


def accuracy(numbers: Numbers, name: str, part: str) -> float:
    """Return the accuracy of a network at the end, for ``"train"`` or ``"test"``."""
    return float(numbers["final"][name][f"{part}_accuracy"])


def gap(numbers: Numbers, name: str) -> float:
    """Return the accuracy on the training images minus that on the test images."""
    return accuracy(numbers, name, "train") - accuracy(numbers, name, "test")


def below_all(texts: Texts, name: str, **options: Any) -> Check:
    """Return a check that `name` does not get all training images right."""
    return Check(
        texts("check-train", network=texts.name(name)),
        lambda n: accuracy(n, name, "train"), form=".1%", **options,
    )  # fmt: skip


def smaller_gap(texts: Texts, plain: str, other: str, **options: Any) -> Check:
    """Return a check that `other` has a smaller gap than `plain`, in percentage points."""
    return Check(
        texts("check-gap", plain=texts.name(plain), other=texts.name(other)),
        lambda n: 100 * (gap(n, plain) - gap(n, other)), form=".1f", **options,
    )  # fmt: skip


def better_on_test(texts: Texts, plain: str, other: str, **options: Any) -> Check:
    """Return a check that `other` is better than `plain` on test images, in percentage points."""
    return Check(
        texts("check-test", plain=texts.name(plain), other=texts.name(other)),
        lambda n: 100 * (accuracy(n, other, "test") - accuracy(n, plain, "test")),
        form=".1f", **options,
    )  # fmt: skip
