"""Optimizers on MNIST: which one brings the loss down fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.text import Text
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import OPTIMIZERS as ALL_OPTIMIZERS
from dlskills.optimizers import make_optimizer
from dlskills.plotting import new_figure, plot_curves, smooth_curve, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Optimizers on MNIST", "MNIST 上的优化方法比较")
ABOUT = Text(
    "One 5-layer network a method, all from the same initial weights, trained on the same batches "
    "of 128 of the first 10,000 digits (of all 60,000, as in the tutorial, with the full data). "
    "The loss of a batch is recorded before the update that it causes: after it, the network has "
    "just been fitted to that very batch, and the loss looks better than it is.",
    "每种方法训练一个 5 层网络，初始权重相同，每批的 128 个数字也相同，"
    "取自前 10,000 个数字（使用完整数据时与教程一样，取自全部 60,000 个）。"
    "记录的是更新之前该批的损失：更新之后网络刚刚拟合过这一批，损失会显得偏低。",
)
RANDOM = True
QUICK = {"iterations": 300}
OPTIONS = {
    "iterations": "Steps of each method.",
    "optimizers": "Names, separated by commas; 'six' for the page's six.",
}
OPTIMIZERS = ("SGD", "Momentum", "AdaGrad", "Adam")
SIX = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")
BATCH_SIZE = 128
HIDDEN_SIZES = [100, 100, 100, 100]


def run(
    settings: Settings,
    *,
    iterations: int = 2000,
    optimizers: str | Sequence[str] = ",".join(OPTIMIZERS),
) -> Numbers:
    """Train one 5-layer network a method, all from the same weights and on the same batches.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 2000
    optimizers : str or sequence of str, default "SGD,Momentum,AdaGrad,Adam"
        Names, in any case; each at its default learning rate. In a string they are separated by
        commas, and ``"six"`` means the page's six.

    Returns
    -------
    dict
        ``train_loss``: for each method the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``lr``: its learning rate; ``digits``: the number of
        training images.
    """
    methods = {type(o).__name__: o for o in map(make_optimizer, _names(optimizers))}
    networks = {
        name: MultiLayerNet(784, HIDDEN_SIZES, 10, seed=settings.seed, device=settings.device)
        for name in methods
    }
    steps = check_count("iterations", iterations)
    return train_on_mnist(
        networks, methods, settings, batch_size=BATCH_SIZE, steps=steps, what="optimizer-mnist"
    )


def _names(optimizers: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(optimizers, str):
        return optimizers
    if optimizers.strip().lower() == "six":
        return SIX
    names = [name.strip() for name in optimizers.split(",")]
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(f"optimizers names one twice, got {optimizers!r}")
    return names


ALT = {
    "optimizer-mnist": Text(
        "Training loss over 2000 iterations: SGD falls slowest; Momentum, AdaGrad and Adam fall "
        "fast and close together.",
        "2000 次迭代的训练损失：SGD 下降最慢，Momentum、AdaGrad 和 Adam 下降很快且彼此接近。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
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
    return {"optimizer-mnist": figure}


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


def _early(numbers: Numbers, name: str) -> float:
    losses = numbers["train_loss"][name][:300]
    return float(np.mean(losses)) if len(losses) == 300 else np.nan


def _share_ahead(numbers: Numbers) -> float:
    """In how many hundreds of batches AdaGrad's mean loss is the lowest of the three, as a share.

    The losses of the last batches alone depend on the seed by factors of 10: Adam's come down in
    jumps, and up again.
    """
    count = len(numbers["train_loss"]["AdaGrad"]) // 100
    means = {
        name: np.reshape(numbers["train_loss"][name][: 100 * count], (count, 100)).mean(axis=1)
        for name in _OTHERS
    }
    lowest = np.minimum(means["Momentum"], means["Adam"])
    return float(np.mean(means["AdaGrad"] < lowest)) if count else np.nan


_OTHERS = ("Momentum", "AdaGrad", "Adam")

CLAIMS = (
    Claim(
        Text("SGD is slowest; the other three learn faster.", "SGD 最慢，其他三种方法学习得更快。"),
        (
            Check(
                Text(
                    "loss of the last 100 batches, SGD's over the highest of the others",
                    "最后 100 批的损失：SGD 与其他方法中最高者之比",
                ),
                lambda n: late_loss(n, "SGD") / max(late_loss(n, name) for name in _OTHERS),
                at_least=2,
            ),
        ),
    ),
    Claim(
        Text(
            "The other three learn at about the same speed.",
            "其他三种方法的学习速度基本相同。",
        ),
        (
            Check(
                Text(
                    "loss of the first 300 batches, highest of the three over lowest",
                    "前 300 批的损失：三者中最高与最低之比",
                ),
                lambda n: (
                    max(_early(n, name) for name in _OTHERS)
                    / min(_early(n, name) for name in _OTHERS)
                ),
                at_most=2,
            ),
        ),
        remark=Text(
            "Judged while they learn. At the end their losses may be far apart, and say little: "
            "2000 batches of 128 are 25 passes over 10,000 digits, which by then are known by "
            "heart, to a loss of 0.02 to 0.0003, by seed and method. With all 60,000 digits the "
            "losses of the last 100 batches are within a factor of 1.5 (3 seeds).",
            "以学习过程中的损失来判断。到最后三者的损失可能相差很远，却说明不了什么："
            "2000 批、每批 128 个，相当于把 10,000 个数字看了 25 遍，那时已能背下来，"
            "损失随种子和方法在 0.02 到 0.0003 之间。"
            "使用全部 60,000 个数字时，最后 100 批的损失相差不到 1.5 倍（3 个种子）。",
        ),
    ),
    Claim(
        Text(
            "AdaGrad learns a little faster than Momentum and Adam at first.",
            "起初 AdaGrad 的学习比 Momentum 和 Adam 稍快一点。",
        ),
        (
            Check(
                Text(
                    "loss of the first 300 batches, AdaGrad's over the lowest of the others",
                    "前 300 批的损失：AdaGrad 与其他方法中最低者之比",
                ),
                lambda n: _early(n, "AdaGrad") / min(_early(n, "Momentum"), _early(n, "Adam")),
                at_most=0.97,
            ),
        ),
    ),
    Claim(
        Text("AdaGrad is ahead to the end.", "AdaGrad 直到最后都领先。"),
        (
            Check(
                Text(
                    "share of all hundreds of batches in which AdaGrad's loss is the lowest",
                    "每 100 批为一段：AdaGrad 的损失最低的段所占比例",
                ),
                _share_ahead,
                at_least=0.95,
                form=".0%",
            ),
        ),
        remark=Text(
            "The tutorial looks at one run, drawn to a loss of 1. After the first few hundred "
            "batches AdaGrad's steps have shrunk for good, and Adam's have not: its loss goes "
            "below AdaGrad's, jumps up and comes down again, at other times with each seed.",
            "教程只看了一次运行，纵轴画到 1。最初几百批之后，AdaGrad 的步长已不可逆地缩小，"
            "而 Adam 没有：Adam 的损失会低于 AdaGrad，又跳上去再降下来，时刻随种子而不同。",
        ),
    ),
)
