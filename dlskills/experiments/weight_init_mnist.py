"""Initial weights on MNIST: the same network, from three spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.text import Text
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import new_figure, plot_curves, smooth_curve, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Initial weights on MNIST", "MNIST 上的权重初始值比较")
ABOUT = Text(
    "One 5-layer network with ReLU a spread of initial weights: standard deviation 0.01, Xavier's "
    "√(1/n), He's √(2/n). All three start from the same normal numbers, each scaled in its own "
    "way, and see the same batches of 128 of the first 10,000 digits (of all 60,000, as in the "
    "tutorial, with the full data); each has an SGD of its own. The loss of a batch "
    "is recorded before the update that it causes.",
    "三个使用 ReLU 的 5 层网络，只有权重初始值的尺度不同：标准差 0.01、Xavier 的 √(1/n)、"
    "He 的 √(2/n)。三者由同一组正态随机数缩放得到，每批的 128 个数字也相同，"
    "取自前 10,000 个数字（使用完整数据时与教程一样，取自全部 60,000 个）；各自使用独立的 SGD。"
    "记录的是更新之前该批的损失。",
)
RANDOM = True
QUICK = {"iterations": 200}
OPTIONS = {"iterations": "Steps of each network."}
INITS: dict[str, float | str] = {"std 0.01": 0.01, "Xavier": "xavier", "He": "he"}
BATCH_SIZE = 128
HIDDEN_SIZES = [100, 100, 100, 100]


def run(settings: Settings, *, iterations: int = 2000) -> Numbers:
    """Train one 5-layer network an initial spread, on the same batches.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 2000

    Returns
    -------
    dict
        ``train_loss``: for each spread the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``lr``: the learning rate; ``digits``: the number of
        training images.
    """
    steps = check_count("iterations", iterations)
    networks = {
        name: MultiLayerNet(
            784, HIDDEN_SIZES, 10, weight_init_std=std, seed=settings.seed, device=settings.device
        )
        for name, std in INITS.items()
    }
    # one each: a shared optimizer, as on the page, would mix their state if it had any
    optimizers = {name: SGD() for name in networks}
    return train_on_mnist(
        networks, optimizers, settings, batch_size=BATCH_SIZE, steps=steps, what="weight-init-mnist"
    )


ALT = {
    "weight-init-mnist": Text(
        "Training loss over 2000 iterations: with standard deviation 0.01 it stays at 2.3, the "
        "value of a guess; from Xavier's and He's initial weights it falls, from He's first.",
        "2000 次迭代的训练损失：标准差为 0.01 时一直停在 2.3，相当于随机猜测；"
        "使用 Xavier 和 He 初始值时损失下降，其中 He 更早下降。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The smoothed losses over the iterations."""
    figure, axes = new_figure()
    curves = {name: smooth_curve(loss) for name, loss in numbers["train_loss"].items()}
    count = max(map(len, curves.values()))
    plot_curves(axes, range(count), curves)
    axes.set(
        title=f"{TITLE}: 5-layer network, batches of {BATCH_SIZE} of {numbers['digits']:,} digits",
        xlabel="iteration",
        ylabel="loss of a batch before its update (smoothed)",
        xlim=(0, count),
        ylim=(0, 2.5),
    )
    return {"weight-init-mnist": figure}


def table(numbers: Numbers) -> Table:
    """When each network has begun to learn, how far it comes, and its accuracy in a test."""
    rows = []
    for name, accuracy in numbers["test_accuracy"].items():
        steps = _steps_to(numbers, name, 0.5)
        reached = "never" if np.isinf(steps) else f"{steps:.0f}"
        rows.append([name, reached, f"{late_loss(numbers, name, 1):.3f}", f"{accuracy:.1%}"])
    count = min(100, len(numbers["train_loss"][name]))
    return ["initial weights", "steps to loss 0.5", f"loss, last {count}", "test accuracy"], rows


def _steps_to(numbers: Numbers, name: str, loss: float) -> float:
    """How many steps it takes for the smoothed loss to come down to a value; infinite if never."""
    below = np.flatnonzero(smooth_curve(numbers["train_loss"][name]) <= loss)
    return float(below[0]) if below.size else np.inf


def _hundreds(numbers: Numbers, name: str) -> Array:
    """The mean losses of each hundred batches; an error where there is none."""
    losses = np.asarray(numbers["train_loss"][name])
    count = losses.size // 100
    return losses[: 100 * count].reshape(count, 100).mean(axis=1)


CLAIMS = (
    Claim(
        Text(
            "From a standard deviation of 0.01 the network does not learn at all.",
            "初始值的标准差为 0.01 时，网络完全无法学习。",
        ),
        (
            Check(
                Text(
                    "distance of the loss from a guess, ln 10, the largest of all hundreds of "
                    "batches",
                    "损失与随机猜测（ln 10）之差（每 100 批为一段，各段最大）",
                ),
                lambda n: float(np.max(np.abs(_hundreds(n, "std 0.01") - np.log(10)))),
                at_most=0.01,
            ),
        ),
    ),
    Claim(
        Text(
            "From Xavier's and He's initial weights it learns well.",
            "使用 Xavier 和 He 初始值时，学习进行得很顺利。",
        ),
        (
            Check(
                Text(
                    "loss of the last 100 batches, the higher of the two",
                    "最后 100 批的损失：两者中较高者",
                ),
                lambda n: max(late_loss(n, name) for name in ("Xavier", "He")),
                at_most=0.5,
            ),
            Check(
                Text("accuracy on the test data, the lower of the two", "测试精度：两者中较低者"),
                lambda n: min(n["test_accuracy"][name] for name in ("Xavier", "He")),
                at_least=0.85,
                form=".1%",
            ),
        ),
    ),
    Claim(
        Text("From He's it learns faster than from Xavier's.", "He 初始值比 Xavier 学得更快。"),
        (
            Check(
                Text(
                    "steps until the loss is 0.5, with He's over with Xavier's",
                    "损失降到 0.5 所需的步数：He 与 Xavier 之比",
                ),
                lambda n: _steps_to(n, "He", 0.5) / _steps_to(n, "Xavier", 0.5),
                at_most=0.75,
            ),
            Check(
                Text(
                    "loss of the last 100 batches, with He's over with Xavier's",
                    "最后 100 批的损失：He 与 Xavier 之比",
                ),
                lambda n: late_loss(n, "He") / late_loss(n, "Xavier"),
                at_most=0.97,
            ),
        ),
    ),
)
