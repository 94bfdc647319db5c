"""Weights that start all the same: hidden units that stay copies of each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.side_by_side import late_loss, train_on_mnist
from dlskills.experiments.text import Text
from dlskills.initializers import Initializer, constant, he, xavier, zeros
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import new_figure, plot_curves, smooth_curve, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Can weights start at 0?", "可以将权重初始值设为 0 吗？")
ABOUT = Text(
    "Networks with one hidden layer of 48 units learn 10,000 digits of MNIST (or all, with the "
    "full data) from weights that are all 0, all 0.01, or random (Xavier's for sigmoid, He's for "
    "ReLU), on the same batches of 100 digits, with SGD of learning rate 0.1. Two hidden units "
    "count as one if their weights differ by less than a millionth of the largest. Copies stay "
    "copies only if a matrix product rounds all columns alike; hence float64, and 48 columns, "
    "which processors' vectors divide evenly.",
    "隐藏层有 48 个神经元的网络学习 MNIST 的 10,000 个数字（使用完整数据时为全部），"
    "权重初始值分别为全 0、全 0.01 或随机"
    "（sigmoid 用 Xavier，ReLU 用 He），每批的 100 个数字相同，SGD 的学习率为 0.1。"
    "如果两个神经元的权重之差小于最大权重的百万分之一，就算作同一个。"
    "只有当矩阵乘积对各列的舍入完全相同时，复制品才会一直是复制品；"
    "因此使用 float64 和 48 列（可被处理器的向量长度整除）。",
)
RANDOM = True
QUICK = {"iterations": 150}
OPTIONS = {"iterations": "Steps of each network."}
HIDDEN_SIZE, BATCH_SIZE, LEARNING_RATE = 48, 100, 0.1
SHOWN_UNITS = 4
COPIES = ("sigmoid, all 0", "sigmoid, all 0.01", "ReLU, all 0.01")
"""Networks whose units start alike and learn."""
INITS: dict[str, dict[str, Initializer]] = {
    "sigmoid": {"all 0": zeros(), "all 0.01": constant(0.01), "random": xavier()},
    "ReLU": {"all 0": zeros(), "all 0.01": constant(0.01), "random": he()},
}


def run(settings: Settings, *, iterations: int = 1000) -> Numbers:
    """Train a network an activation function and way to start.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 1000

    Returns
    -------
    dict
        By the names of the networks, such as ``"ReLU, all 0"``: ``train_loss``, of each batch
        before its update; ``test_accuracy``; ``units``, how many hidden units differ at the end;
        ``spread``, by how much at most the changes of their weights do, in parts of the largest
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
    optimizers = {name: SGD(LEARNING_RATE) for name in networks}
    numbers = train_on_mnist(
        networks, optimizers, settings, batch_size=BATCH_SIZE, steps=steps, what="symmetry"
    )
    for name, network in networks.items():
        changes = {key: to_host(param) - before[name][key] for key, param in network.params.items()}
        found = {
            "units": distinct_units(to_host(network.params["W1"])),
            "spread": _spread(changes["W1"]),
            "change": {key: float(np.max(np.abs(change))) for key, change in changes.items()},
            "pictures": [_picture(changes["W1"][:, i]) for i in range(SHOWN_UNITS)],
        }
        for key, value in found.items():
            numbers.setdefault(key, {})[name] = value
    return numbers


def distinct_units(weights: Array) -> int:
    """How many columns differ, by more than a millionth of the largest number.

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
    """The largest difference of two units' changes over the largest change; NaN without any."""
    largest = np.max(np.abs(changes))
    return float(np.max(np.ptp(changes, axis=1)) / largest) if largest else math.nan


def _picture(change: Array) -> list[list[float]]:
    """784 numbers as 14 x 14, each the mean of four, to three digits."""
    means = change.reshape(14, 2, 14, 2).mean(axis=(1, 3))
    return [[float(f"{value:.3g}") for value in row] for row in means]


ALT = {
    "symmetry": Text(
        "What the first four hidden units have learned, as pictures. From weights all 0.01 the "
        "four pictures are the same, with sigmoid and with ReLU; from all 0 they are the same "
        "with sigmoid and empty with ReLU; from random weights all four differ.",
        "前四个隐藏神经元学到的权重变化，画成图像。初始值全为 0.01 时四幅图完全相同（sigmoid 和 "
        "ReLU 都是如此）；全为 0 时，sigmoid 的四幅图相同，ReLU 的四幅图是空白；"
        "随机时四幅图各不相同。",
    ),
    "symmetry-loss": Text(
        "Training loss: with ReLU from all 0 it stays at 2.3; from weights that are all the same "
        "it stays high; from random weights it falls below 0.5.",
        "训练损失：ReLU 从全 0 开始时停在 2.3；权重全部相同时一直较高；随机初始值时降到 0.5 以下。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """What four units have learned, and the losses."""
    return {"symmetry": _plot_units(numbers), "symmetry-loss": _plot_losses(numbers)}


def _plot_units(numbers: Numbers) -> Figure:
    figure, axes = new_figure(
        3, 2 * SHOWN_UNITS + 1, size=(9, 4.7), width_ratios=[1, 1, 1, 1, 0.3, 1, 1, 1, 1]
    )
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for half, (activation, starts) in enumerate(INITS.items()):
        first = half * (SHOWN_UNITS + 1)
        for row, start in zip(axes, starts, strict=True):
            _draw_units(row[first : first + SHOWN_UNITS], numbers, f"{activation}, {start}")
    figure.suptitle(
        f"{TITLE}\nHow the weights of four hidden units have changed (red: grown, blue: fallen)"
    )
    return figure


def _draw_units(panels: Any, numbers: Numbers, name: str) -> None:
    for picture, panel in zip(numbers["pictures"][name], panels, strict=True):
        limit = np.max(np.abs(picture)) or 1
        panel.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        panel.spines[:].set(visible=True, color="#999999")
    units = numbers["units"][name]
    alike = "all units alike" if units == 1 else f"{units} different units"
    # no title of the first picture, which would have to be as wide as what is above all four
    text = panels[0].text(0, 1.08, f"{name}: {alike}", transform=panels[0].transAxes)
    text.set_in_layout(False)


def _plot_losses(numbers: Numbers) -> Figure:
    figure, axes = new_figure()
    curves = {name: smooth_curve(loss) for name, loss in numbers["train_loss"].items()}
    count = max(map(len, curves.values()))
    plot_curves(axes, range(count), curves)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # inside it would lie on curves
    axes.set(
        title=f"{TITLE} One hidden layer of {HIDDEN_SIZE}, {numbers['digits']:,} digits",
        xlabel="iteration",
        ylabel="loss of a batch before its update (smoothed)",
        xlim=(0, count),
        ylim=(0, 2.7),
    )
    return figure


def table(numbers: Numbers) -> Table:
    """How many hidden units differ, what has changed, and what was learned."""
    rows = [
        [name, str(numbers["units"][name]), f"{numbers['change'][name]['W1']:.2g}",
         f"{late_loss(numbers, name, 1):.3f}", f"{accuracy:.1%}"]
        for name, accuracy in numbers["test_accuracy"].items()
    ]  # fmt: skip
    columns = ["network", "units", "change of W1", "late loss", "test accuracy"]
    return columns, rows


_RANDOM = ("sigmoid, random", "ReLU, random")

CLAIMS = (
    Claim(
        Text(
            "If all weights start with the same value, all hidden units get the same updates and "
            "stay copies of each other.",
            "如果权重初始值全部相同，各个隐藏神经元会进行相同的更新，始终是彼此的复制品。",
        ),
        (
            Check(
                Text(
                    "different hidden units, of 48, most of three networks",
                    "不同的隐藏神经元数（共 48 个；三个网络中最多）",
                ),
                lambda n: max(n["units"][name] for name in COPIES),
                at_most=1,
                form=".0f",
            ),
            Check(
                Text(
                    "largest difference of two units' changes, in parts of the change",
                    "两个神经元权重变化之差的最大值（相对于变化量）",
                ),
                lambda n: max(n["spread"][name] for name in COPIES),
                at_most=1e-6,
            ),
        ),
        remark=Text(
            "This is so up to rounding, and what differs once grows. With 50 units, or in float32, "
            "a matrix product may round the last columns otherwise than the others: on some "
            "processors that made two or three kinds of units of the 50, whose weights with ReLU "
            "came to differ by nine tenths of their change.",
            "这在不计舍入误差时成立，而差别一旦出现就会增大。使用 50 个神经元或 float32 时，"
            "矩阵乘积最后几列的舍入可能与其他列不同：在某些处理器上，50 个神经元因此变成两三种，"
            "ReLU 网络中它们的权重之差达到变化量的十分之九。",
        ),
    ),
    Claim(
        Text(
            "Weights that start at 0 are updated, all to the same value: with sigmoid.",
            "初始值为 0 的权重会被更新为相同的值：sigmoid。",
        ),
        (
            Check(
                Text("largest change of a weight of the first layer", "第 1 层权重的最大变化"),
                lambda n: n["change"]["sigmoid, all 0"]["W1"],
                at_least=1e-3,
            ),
            Check(
                Text("different hidden units", "不同的隐藏神经元数"),
                lambda n: n["units"]["sigmoid, all 0"],
                at_most=1,
                form=".0f",
            ),
        ),
    ),
    Claim(
        Text(
            "Weights that start at 0 are updated, all to the same value: with ReLU.",
            "初始值为 0 的权重会被更新为相同的值：ReLU。",
        ),
        (
            Check(
                Text("largest change of any weight", "所有权重的最大变化"),
                lambda n: max(n["change"]["ReLU, all 0"][name] for name in ("W1", "W2")),
                at_least=1e-3,
            ),
        ),
        remark=Text(
            "They are not updated at all. Hidden units give max(0, 0) = 0, so the gradient of the "
            "second layer's weights is 0; those weights are 0, so no gradient gets back to the "
            "first layer. Only the last biases learn: how frequent each digit is.",
            "它们根本不会更新。隐藏神经元的输出为 max(0, 0) = 0，因此第 2 层权重的梯度为 0；"
            "而第 2 层权重为 0，所以没有梯度传回第 1 层。"
            "只有最后一层的偏置在学习：各个数字出现的频率。",
        ),
    ),
    Claim(
        Text(
            "Weights that are all the same cannot learn properly.",
            "权重初始值全部相同时，将无法正确进行学习。",
        ),
        (
            Check(
                Text(
                    "accuracy on the test data, highest of the four such networks",
                    "测试精度（四个这样的网络中最高）",
                ),
                lambda n: max(n["test_accuracy"][name] for name in (*COPIES, "ReLU, all 0")),
                at_most=0.5,
                form=".1%",
            ),
        ),
    ),
    Claim(
        Text(
            "Random initial values break the symmetry.",
            "随机生成的初始值可以瓦解权重的对称结构。",
        ),
        (
            Check(
                Text(
                    "different hidden units, of 48, fewer of two networks",
                    "不同的隐藏神经元数（共 48 个；两个网络中较少）",
                ),
                lambda n: min(n["units"][name] for name in _RANDOM),
                at_least=HIDDEN_SIZE,
                form=".0f",
            ),
            Check(
                Text(
                    "accuracy on the test data, lower of two networks", "测试精度（两个网络中较低）"
                ),
                lambda n: min(n["test_accuracy"][name] for name in _RANDOM),
                at_least=0.85,
                form=".1%",
            ),
        ),
    ),
)
