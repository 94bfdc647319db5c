"""Overfitting: a 7-layer network on 300 digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.small_data import (
    ABOUT,
    HIDDEN_SIZES,
    book_steps,
    gap,
    plot_accuracies,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.text import Text
from dlskills.networks import MultiLayerNet
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ABOUT", "ALT", "CLAIMS", "OPTIONS", "QUICK", "RANDOM", "TITLE", "plot", "run", "table"]

TITLE = Text("Overfitting: 300 digits, 7 layers", "过拟合：300 个数字，7 层网络")
RANDOM = True
QUICK = {"epochs": 41}
OPTIONS = {"epochs": "Epochs, of 3 batches each; the last one ends with its first batch."}
PLAIN = "no regularization"


def run(settings: Settings, *, epochs: int = 201) -> Numbers:
    """Train a network with more parameters than 300 digits can settle.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 201

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`; the one network is called
        ``"no regularization"``.
    """
    steps = book_steps(epochs)
    network = MultiLayerNet(784, HIDDEN_SIZES, 10, seed=settings.seed, device=settings.device)
    return train_on_few({PLAIN: network}, settings, epochs=epochs, steps=steps, what="overfitting")


ALT = {
    "overfitting": Text(
        "Accuracy over 200 epochs: on the 300 training images it rises to 100 %; on test images "
        "it stays near 75 %.",
        "200 个 epoch 中的识别精度：在 300 张训练图像上升到 100 %，在测试图像上停在约 75 %。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The accuracies over the epochs."""
    return {"overfitting": plot_accuracies(numbers, str(TITLE), 1)}


def table(numbers: Numbers) -> Table:
    """Where the network ends."""
    return table_of_ends(numbers, "network")


CLAIMS = (
    Claim(
        Text(
            "After about 100 epochs the accuracy on the training data is nearly 100 %.",
            "大约 100 个 epoch 之后，训练数据的识别精度几乎都是 100 %。",
        ),
        (
            Check(
                Text("accuracy on the training data at epoch 100", "第 100 个 epoch 的训练精度"),
                lambda n: n["curves"][PLAIN]["train_accuracy"][100],
                at_least=0.97,
                form=".1%",
            ),
            Check(
                Text("lowest one from epoch 150 on", "第 150 个 epoch 以后的最低训练精度"),
                lambda n: min(n["curves"][PLAIN]["train_accuracy"][150:]),
                at_least=0.99,
                form=".1%",
            ),
        ),
    ),
    Claim(
        Text(
            "The accuracy on the test data stays far below it: only the training data were fitted.",
            "测试数据的识别精度离它还有很大差距：网络只拟合了训练数据。",
        ),
        (
            Check(
                Text("accuracy, training minus test data", "训练精度减测试精度"),
                lambda n: gap(n, PLAIN),
                at_least=0.15,
                form=".1%",
            ),
        ),
    ),
)
