"""Weight decay against overfitting: lambda 0 and 0.1 side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlskills.experiments import small_data
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.small_data import (
    HIDDEN_SIZES,
    below_all,
    better_on_test,
    book_steps,
    plot_accuracies,
    smaller_gap,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.text import Text
from dlskills.networks import MultiLayerNet
from dlskills.plotting import COLORS, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Weight decay against overfitting", "用权值衰减抑制过拟合")
ABOUT = Text(
    "Half of λ times the sum of squares of all weights (not of biases), the square of their L2 "
    f"norm, is added to the loss, with λ = 0 and λ = 0.1. {small_data.ABOUT.en} The loss that is "
    "shown is that of the data alone; the penalty is shown apart, as sums of the two cannot be "
    "compared between different λ.",
    "在损失上加上全部权重（不含偏置）平方和（即 L2 范数的平方）的 λ/2 倍，λ 取 0 和 0.1。"
    f"{small_data.ABOUT.zh}图中的损失只含数据部分，惩罚项单独画出：λ 不同时两者之和无法比较。",
)
RANDOM = True
QUICK = {"epochs": 41}
OPTIONS = {"epochs": "Epochs, of 3 batches each; the last one ends with its first batch."}
SPLIT = "decays"
PLAIN, DECAYED = "λ = 0", "λ = 0.1"


def run(settings: Settings, *, epochs: int = 201, decays: Sequence[float] = (0, 0.1)) -> Numbers:
    """Train the same network with several strengths of weight decay.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 201
    decays : sequence of float, default (0, 0.1)
        Lambda.

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`; the networks are called
        ``"λ = 0"`` and so on.
    """
    networks = {
        f"λ = {decay:g}": MultiLayerNet(
            784,
            HIDDEN_SIZES,
            10,
            weight_decay_lambda=decay,
            seed=settings.seed,
            device=settings.device,
        )
        for decay in decays
    }
    steps = book_steps(epochs)
    return train_on_few(networks, settings, epochs=epochs, steps=steps, what="weight-decay")


ALT = {
    "weight-decay": Text(
        "Two panels of accuracies over 200 epochs. Without weight decay the training curve reaches "
        "100 % and the test curve stays near 75 %; with λ = 0.1 the training curve stays near "
        "90 %, and the test curve is lower, too.",
        "两个小图，200 个 epoch 的识别精度。没有权值衰减时训练曲线达到 100 %，测试曲线停在约 75 %；"
        "λ = 0.1 时训练曲线停在约 90 %，测试曲线也更低。",
    ),
    "weight-decay-loss": Text(
        "Left the loss on the training data, which falls to 0 without weight decay and stays near "
        "0.6 with it; the penalty is drawn apart and falls from 60 to about 20. Right the sum "
        "of squares of the weights: it stays near 1,250 without weight decay, and falls to a third "
        "with it.",
        "左图是训练数据的损失：没有权值衰减时降到 0，有权值衰减时停在约 0.6；惩罚项单独画出，"
        "从 60 降到约 20。右图是权重的平方和：没有权值衰减时约为 1,250，"
        "有权值衰减时降到三分之一。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The accuracies over the epochs; losses and penalties apart."""
    title = f"{TITLE}: 300 digits, 7 layers"
    return {
        "weight-decay": plot_accuracies(numbers, title, 2),
        "weight-decay-loss": _plot_losses(numbers),
    }


def _plot_losses(numbers: Numbers) -> Figure:
    figure, axes = new_figure(1, 2, size=(9, 4.4))
    left, right = axes
    for i, (name, own) in enumerate(numbers["curves"].items()):
        look = {"color": COLORS[i], "marker": MARKERS[i], "markevery": 10}
        epochs = range(len(own["squares"]))
        left.plot(epochs, own["train_loss"], label=f"{name}: data", **look)
        if any(own["penalty"]):
            left.plot(epochs, own["penalty"], "--", label=f"{name}: penalty ½λΣW²", **look)
        right.plot(epochs, own["squares"], label=name, **look)
    left.set(yscale="log", ylabel="loss on the training images", title="Loss and penalty apart")
    right.set(ylim=(0, None), ylabel="ΣW²", title="Sum of squares of the weights")
    for panel in axes:
        panel.set_xlabel("epoch")
        panel.legend()
    figure.suptitle(str(TITLE))
    return figure


def table(numbers: Numbers) -> Table:
    """Where the networks end."""
    return table_of_ends(numbers, "weight decay")


def _squares(numbers: Numbers, name: str) -> float:
    return float(numbers["curves"][name]["squares"][-1])


CLAIMS = (
    Claim(
        Text(
            "Weight decay makes the weights smaller.",
            "权值衰减使权重参数的值变小。",
        ),
        (
            Check(
                Text("ΣW² with λ = 0.1 over that with λ = 0", "ΣW²：λ = 0.1 与 λ = 0 之比"),
                lambda n: _squares(n, DECAYED) / _squares(n, PLAIN),
                at_most=0.5,
            ),
        ),
    ),
    Claim(
        Text(
            "With weight decay the gap between training and test data becomes smaller.",
            "使用权值衰减后，训练数据与测试数据的识别精度差距变小。",
        ),
        (smaller_gap(PLAIN, DECAYED, at_least=2),),
    ),
    Claim(
        Text(
            "The accuracy on the training data does not reach 100 %.",
            "训练数据的识别精度没有达到 100 %。",
        ),
        (below_all(DECAYED, at_most=0.97),),
    ),
    Claim(
        Text(
            "So overfitting is suppressed: the network does better on digits it has not seen.",
            "这说明过拟合受到了抑制：网络在没有见过的数字上表现更好。",
        ),
        (
            smaller_gap(PLAIN, DECAYED, at_least=2),
            better_on_test(PLAIN, DECAYED, at_least=1),
        ),
        remark=Text(
            "The tutorial infers it from the gap, and says elsewhere that weight decay raises the "
            "power to generalize. The gap is smaller, but because the network fits its training "
            "data less well: the accuracy on test data falls, too. A smaller gap alone does not "
            "show that a network generalizes better.",
            "教程由差距变小推出这一点，并在别处说权值衰减能提高泛化能力。差距确实变小了，"
            "但原因是网络对训练数据拟合得更差：测试数据的识别精度也下降了。"
            "仅凭差距变小，不能说明泛化能力提高了。",
        ),
    ),
)
