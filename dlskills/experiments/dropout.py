"""Dropout against overfitting: none, the book's form, and the inverted form; and its masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import get_backend, to_host
from dlskills.checks import check_count
from dlskills.experiments import small_data
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.small_data import (
    BATCH_SIZE,
    DIGITS,
    HIDDEN_SIZES,
    below_all,
    better_on_test,
    plot_accuracies,
    smaller_gap,
    table_of_ends,
    train_on_few,
)
from dlskills.experiments.text import Text
from dlskills.layers import Dropout
from dlskills.networks import MultiLayerNetExtend
from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Dropout against overfitting", "用 Dropout 抑制过拟合")
ABOUT = Text(
    "Without Dropout; with the book's form at the ratio of the tutorial's caption, 0.15, and at "
    "that of its code, 0.2; and with the inverted form at 0.15, which scales up in training what "
    "the book's scales down in a test. Dropout stands behind each of the six ReLUs. "
    f"{small_data.ABOUT.en} Its masks are looked at, too: 100,000 units, passed through twice.",
    "不使用 Dropout；使用书中的形式，丢弃率取教程图注中的 0.15 和代码中的 0.2；"
    "以及丢弃率 0.15 的反向（inverted）形式：书中的形式在测试时缩小输出，它则在训练时放大。"
    f"Dropout 层位于六个 ReLU 之后。{small_data.ABOUT.zh}"
    "此外还检查掩码本身：100,000 个单元，传递两次。",
)
RANDOM = True
QUICK = {"epochs": 31}
OPTIONS = {"epochs": "Epochs, of 3 batches each."}
SPLIT = "forms"
NONE, CAPTION, CODE, INVERTED = "none", "book, 0.15", "book, 0.2", "inverted, 0.15"
FORMS: dict[str, dict[str, Any]] = {
    NONE: {"use_dropout": False},
    CAPTION: {"use_dropout": True, "dropout_ratio": 0.15},
    CODE: {"use_dropout": True, "dropout_ratio": 0.2},
    INVERTED: {"use_dropout": True, "dropout_ratio": 0.15, "inverted_dropout": True},
}
RATIO = 0.15
UNITS = 100_000


def run(settings: Settings, *, epochs: int = 301, forms: Sequence[str] = tuple(FORMS)) -> Numbers:
    """Train the same network with several forms of Dropout, and look at masks.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 301
    forms : sequence of str
        Names of `FORMS`, all by default.

    Returns
    -------
    dict
        See :func:`~dlskills.experiments.small_data.train_on_few`, the networks under their forms'
        names; and ``masks``, see :func:`masks`.
    """
    steps = check_count("epochs", epochs) * (DIGITS // BATCH_SIZE)
    networks = {
        form: MultiLayerNetExtend(
            784, HIDDEN_SIZES, 10, seed=settings.seed, device=settings.device, **FORMS[form]
        )
        for form in forms
    }
    numbers = train_on_few(networks, settings, epochs=epochs, steps=steps, what="dropout")
    return numbers | {"masks": masks(settings)}


def masks(settings: Settings) -> Numbers:
    """What a Dropout layer in the book's form does to 100,000 units of output 1.

    Returns
    -------
    dict
        ``units``; ``kept``, in the first of two passes in training; ``differ``, units that only
        one of the two passes kept; ``leaks``, units at which the backward pass of the second
        differs from its forward pass; ``train`` and ``test``, the mean outputs in training
        and in a test.
    """
    backend = get_backend(settings.device)
    xp = backend.xp
    layer = Dropout(RATIO, seed=settings.seed)
    with backend.active():
        ones = backend.zeros((UNITS,), "float32") + 1
        first, second = layer.forward(ones, True), layer.forward(ones, True)
        back = layer.backward(ones)
        outcome = [xp.sum(first), xp.sum(xp.abs(first - second)), xp.sum(xp.abs(back - second)),
                   xp.mean(first), xp.mean(layer.forward(ones, False))]  # fmt: skip
        names = ("kept", "differ", "leaks", "train", "test")
        values = to_host(outcome).tolist()
    return {"units": UNITS} | dict(zip(names, values, strict=True))


ALT = {
    "dropout": Text(
        "Four panels of accuracies over 300 epochs. Without Dropout the training curve reaches "
        "100 %, the test curve stays at about 75 %. The book's form lowers both, at 0.2 much more "
        "than at 0.15, and brings them nearer to each other. The inverted form learns more slowly "
        "than no Dropout, and ends near it.",
        "四个小图，300 个 epoch 的识别精度。没有 Dropout 时训练曲线达到 100 %，测试曲线约为 75 %。"
        "书中的形式使两条曲线都降低并靠近，0.2 时远甚于 0.15。"
        "反向形式比没有 Dropout 时学得慢，但最终与之接近。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The accuracies over the epochs."""
    return {"dropout": plot_accuracies(numbers, f"{TITLE}: 300 digits, 7 layers", 2)}


def table(numbers: Numbers) -> Table:
    """Where the networks end."""
    return table_of_ends(numbers, "dropout")


def _off(numbers: Numbers, key: str, share: float) -> float:
    """How far a share of units is from the expected one, in standard deviations."""
    seen = numbers["masks"][key] / UNITS
    return float(abs(seen - share) / math.sqrt(share * (1 - share) / UNITS))


CLAIMS = (
    Claim(
        Text(
            "In training, units are chosen at random and deleted, anew in each pass.",
            "训练时随机选出神经元并将其删除，每传递一次数据都重新选择。",
        ),
        (
            Check(
                Text(
                    "share of kept units, off from 1 - 0.15, in standard deviations",
                    "保留比例与 1 - 0.15 的偏差（以标准差计）",
                ),
                lambda n: _off(n, "kept", 1 - RATIO),
                at_most=4,
                form=".2f",
                combine=max,
            ),
            Check(
                Text(
                    "units kept in one of two passes only, off from 2 · 0.15 · 0.85, in standard "
                    "deviations",
                    "只在两次传递之一中保留的比例与 2 · 0.15 · 0.85 的偏差（以标准差计）",
                ),
                lambda n: _off(n, "differ", 2 * RATIO * (1 - RATIO)),
                at_most=4,
                form=".2f",
                combine=max,
            ),
        ),
    ),
    Claim(
        Text(
            "Where the forward pass let a signal through, the backward pass does, and nowhere "
            "else.",
            "正向传播时传递了信号的神经元，反向传播时照样传递；正向时没有传递的，反向时信号停止。",
        ),
        (
            Check(
                Text("units at which the two differ", "两者不同的单元数"),
                lambda n: n["masks"]["leaks"],
                at_most=0,
                form=".0f",
                combine=max,
            ),
        ),
    ),
    Claim(
        Text(
            "In a test, outputs are multiplied by the ratio that was deleted in training.",
            "测试时，各神经元的输出要乘上训练时的删除比例。",
        ),
        (
            Check(
                Text("factor in a test", "测试时的系数"),
                lambda n: n["masks"]["test"],
                at_least=RATIO - 1e-6,
                at_most=RATIO + 1e-6,
                form=".2f",
            ),
        ),
        remark=Text(
            "The sentence means the ratio that was kept, 1 - 0.15 = 0.85, as the tutorial's own "
            "code has it. For a ratio of 0.5 the two are the same, which hides the slip; with "
            "0.15 for 0.85, six layers would shrink the signal to 0.00001.",
            "这句话应指保留比例 1 - 0.15 = 0.85，教程自己的代码就是这样写的。"
            "比例为 0.5 时两者相同，因而不易察觉；若把 0.85 写成 0.15，"
            "经过六层后信号只剩 0.00001。",
        ),
    ),
    Claim(
        Text(
            "In a test, as the code has it, an output is what it is on average in training.",
            "按代码的写法，测试时的输出等于训练时输出的平均值。",
        ),
        (
            Check(
                Text(
                    "mean output in training minus that in a test, in standard deviations",
                    "训练与测试时平均输出之差（以标准差计）",
                ),
                lambda n: (
                    abs(n["masks"]["train"] - n["masks"]["test"])
                    / math.sqrt(RATIO * (1 - RATIO) / UNITS)
                ),
                at_most=4,
                form=".2f",
                combine=max,
            ),
        ),
    ),
    Claim(
        Text(
            "With Dropout the gap between training and test data becomes smaller.",
            "使用 Dropout 后，训练数据与测试数据的识别精度差距变小。",
        ),
        (smaller_gap(NONE, CAPTION, at_least=2), smaller_gap(NONE, CODE, at_least=5)),
    ),
    Claim(
        Text(
            "The accuracy on the training data does not reach 100 %.",
            "训练数据没有到达 100 % 的识别精度。",
        ),
        (below_all(CAPTION, at_most=0.97), below_all(CODE, at_most=0.9)),
    ),
    Claim(
        Text(
            "So Dropout suppresses overfitting: the network does better on digits it has not seen.",
            "因此 Dropout 可以抑制过拟合：网络在没有见过的数字上表现更好。",
        ),
        (
            smaller_gap(NONE, CAPTION, at_least=2),
            better_on_test(NONE, CAPTION, at_least=1),
            better_on_test(NONE, CODE, at_least=1),
        ),
        remark=Text(
            "The tutorial speaks of the gap; that a network in which overfitting is suppressed "
            "does better on new digits is our reading. The book's form shrinks signals and "
            "gradients by 0.85 in each of six layers, to 0.38 (at 0.2: to 0.26), and so undoes "
            "He's initial values: the networks are behind in their training, and the accuracy on "
            "test data is lower, too. The inverted form keeps the scale: it fits the training data "
            "nearly entirely, and does on test data about as well as no Dropout.",
            "教程只说差距变小；“抑制过拟合的网络在新数字上表现更好”是我们的理解。"
            "书中的形式在六层中每层都把信号和梯度缩小到 0.85 倍，合计 0.38（0.2 时为 0.26），"
            "抵消了 He 初始值的作用：网络的训练落后，测试数据的识别精度也更低。"
            "反向形式保持了信号的大小：训练数据几乎完全拟合，测试精度与不用 Dropout 时相当。",
        ),
    ),
    Claim(
        Text(
            "The inverted form at the same ratio does not cost accuracy on test data.",
            "丢弃率相同的反向形式不会降低测试数据的识别精度。",
        ),
        (
            better_on_test(NONE, INVERTED, at_least=-2),
            better_on_test(CAPTION, INVERTED, at_least=2),
        ),
        remark=Text(
            "Not a sentence of the tutorial, which has the book's form only. The difference from "
            "no Dropout has either sign, by seed: at this ratio there is no clear gain.",
            "这不是教程中的话：教程只有书中的形式。与不用 Dropout 相比，差异的正负随种子而变："
            "在这个丢弃率下看不出明显的改善。",
        ),
    ),
)
