"""A 7-layer network on 300 digits, where overfitting shows, and what is done against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.claims import Check
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.text import Text
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import SGD
from dlskills.plotting import new_figure, plot_curves
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = 300
HIDDEN_SIZES = [100] * 6
BATCH_SIZE = 100
LEARNING_RATE = 0.01
SHOWN = 1000
"""Test images that the curves are measured on; the last accuracy is of all of them."""

ABOUT = Text(
    "The first 300 digits, batches of 100, SGD with learning rate 0.01, six hidden layers of 100 "
    "units; all networks start from the same weights and see the same batches. As in the "
    "tutorial, an epoch is recorded after its first batch. Its test curve is of 1,000 test images, "
    "drawn once: all 10,000 at every epoch would take ten times as long as the training itself. "
    "The accuracies in the titles, the table and the claims are of all of them, at the end.",
    "取前 300 个数字，每批 100 个，SGD 学习率 0.01，6 个隐藏层、每层 100 个神经元；"
    "各网络的初始权重和批次都相同。与教程一样，每个 epoch 在其第一批之后记录。"
    "测试曲线用一次抽出的 1,000 张测试图像：若每个 epoch 都测全部 10,000 张，"
    "耗时是训练本身的十倍。标题、表格和论断中的精度则是结束时在全部测试图像上测得的。",
)


def measure(network: Sequential, x: Array, t: Array, known: int) -> Array:
    """Measure a network on samples of which it has seen the first so many.

    Parameters
    ----------
    network : Sequential
    x, t : array
    known : int
        How many were trained on; they and the others are measured in one pass.

    Returns
    -------
    array, shape (5,)
        On the device: how many of the known ones and of the others are right, their mean losses
        without weight decay, and the sum of squares of all weights. See :func:`curves`.
    """
    xp = network.backend.xp
    y = network.predict(x)
    with network.backend.active():
        right = xp.astype(xp.argmax(y, axis=1) == t, y.dtype)
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
    """What :func:`measure` gave over time, as lists of plain numbers."""
    names = ("train_accuracy", f"{test}_accuracy", "train_loss", f"{test}_loss", "squares")
    columns = (to_host(measured).astype(np.float64) / [known, others, 1, 1, 1]).T
    return {
        name: [float(f"{value:.6g}") for value in column]
        for name, column in zip(names, columns, strict=True)
    }


def train_on_few(
    networks: Mapping[str, Sequential], settings: Settings, *, epochs: int, steps: int, what: str
) -> Numbers:
    """Train networks on the first 300 digits.

    Parameters
    ----------
    networks : mapping of str to Sequential
    settings : Settings
    epochs : int
        How many are recorded, each after its first batch.
    steps : int
        All batches.
    what : str
        The progress bar's name.

    Returns
    -------
    dict
        ``curves``: for each network its ``train_accuracy``, ``test_accuracy``, ``train_loss`` and
        ``test_loss`` (without weight decay), ``squares`` (the sum of squares of its weights) and
        ``penalty`` (what weight decay adds to the loss), an entry an epoch; ``final``: for each
        its accuracies at the end, on all test images.
    """
    x_train, t_train, x_test, t_test = digits_on(settings)
    x, t = x_train[:DIGITS, ...], t_train[:DIGITS, ...]
    training = SideBySide(
        networks, {name: SGD(lr=LEARNING_RATE) for name in networks}, x, t,
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
    """The batches of the page's loop, which ends with the first one of its last epoch."""
    return (check_count("epochs", epochs) - 1) * (DIGITS // BATCH_SIZE) + 1


def plot_accuracies(numbers: Numbers, title: str, columns: int) -> Figure:
    """A panel for each network: accuracies over the epochs, and those at the end above it."""
    names = list(numbers["curves"])
    rows = -(-len(names) // columns)
    size = (8.0 if columns == 1 else 9.0, 4.8 if rows == 1 else 7.2)
    figure, axes = new_figure(rows, columns, size=size, sharex=True, sharey=True, squeeze=False)
    for panel in axes.flat[len(names) :]:
        panel.remove()
    for panel, name in zip(axes.flat, names, strict=False):
        own, final = numbers["curves"][name], numbers["final"][name]
        train, test = (final[f"{part}_accuracy"] for part in ("train", "test"))
        lines = {f"{DIGITS} training images": own["train_accuracy"],
                 f"{SHOWN:,} test images": own["test_accuracy"]}  # fmt: skip
        plot_curves(panel, range(len(own["train_accuracy"])), lines)
        panel.get_legend().remove()
        panel.set(
            title=f"{name}\nat the end: train {train:.1%}, test {test:.1%}",
            ylim=(0, 1.03),
        )
    for panel in axes[:, 0]:
        panel.set_ylabel("accuracy")
    for panel in axes[-1]:
        panel.set_xlabel("epoch (3 batches; measured after the first)")
    axes[0, 0].legend(loc="lower right")
    figure.suptitle(title)
    return figure


def table_of_ends(numbers: Numbers, first: str) -> Table:
    """Accuracies at the end, their difference, and how large the weights have become."""
    rows = []
    for name, final in numbers["final"].items():
        train, test = final["train_accuracy"], final["test_accuracy"]
        own = numbers["curves"][name]
        rows.append(
            [name, f"{train:.1%}", f"{test:.1%}", f"{train - test:.1%}",
             f"{own['train_loss'][-1]:.3f}", f"{own['penalty'][-1]:.2f}",
             f"{own['squares'][-1]:.0f}"]
        )  # fmt: skip
    return [first, "train", "test", "gap", "loss", "penalty", "ΣW²"], rows


def accuracy(numbers: Numbers, name: str, part: str) -> float:
    """The accuracy of a network at the end, of ``"train"`` or of ``"test"``."""
    return float(numbers["final"][name][f"{part}_accuracy"])


def gap(numbers: Numbers, name: str) -> float:
    """How far the accuracy on test images stays below that on the training images."""
    return accuracy(numbers, name, "train") - accuracy(numbers, name, "test")


def below_all(name: str, **bounds: Any) -> Check:
    """That `name` does not get all training images right."""
    return Check(
        Text(f"training accuracy with “{name}”", f"“{name}”的训练精度"),
        lambda n: accuracy(n, name, "train"),
        form=".1%",
        **bounds,
    )


def smaller_gap(plain: str, other: str, **bounds: Any) -> Check:
    """That the gap of `other` is smaller than that of `plain`; bounds in percentage points."""
    return Check(
        Text(
            f"gap, percentage points: “{plain}” minus “{other}”",
            f"精度差距（百分点）：“{plain}”减“{other}”",
        ),
        lambda n: 100 * (gap(n, plain) - gap(n, other)),
        form=".1f",
        **bounds,
    )


def better_on_test(plain: str, other: str, **bounds: Any) -> Check:
    """That test images are recognized better by `other`; bounds in percentage points."""
    return Check(
        Text(
            f"test accuracy, percentage points: “{other}” minus “{plain}”",
            f"测试精度（百分点）：“{other}”减“{plain}”",
        ),
        lambda n: 100 * (accuracy(n, other, "test") - accuracy(n, plain, "test")),
        form=".1f",
        **bounds,
    )
