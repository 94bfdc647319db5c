"""Random search for a learning rate and a weight decay, the page's unfinished section."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dlskills.arrays.backend import Array, get_backend
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim, together
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.small_data import BATCH_SIZE, HIDDEN_SIZES, curves, measure
from dlskills.experiments.text import Text
from dlskills.experiments.trials import Trial, best, plot_best_curves, plot_rates, rank_correlation
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Random search for hyperparameters", "超参数的随机搜索")
ABOUT = Text(
    "The tutorial leaves this section unfinished; the experiment is the book's. Learning rates are "
    "drawn from 10⁻⁶ to 10⁻² and weight decays from 10⁻⁸ to 10⁻⁴, evenly on a logarithmic scale: "
    "100 trials of a 7-layer network, each of 50 epochs on 400 digits. What counts is the accuracy "
    "on 100 others, the validation data, at the end; between equal ones their loss decides. The "
    "test data choose nothing: the winner alone is measured on them, once.",
    "教程的这一节尚未完成，这里做的是书中的实验。在对数尺度上均匀地抽取学习率（10⁻⁶ 到 10⁻²）"
    "和权值衰减系数（10⁻⁸ 到 10⁻⁴），共 100 次试验，每次用 400 个数字把 7 层网络训练 50 个 epoch。"
    "以结束时在另外 100 个数字（验证数据）上的精度评分，相同时比较损失。"
    "测试数据不参与任何选择：只对胜者测一次。",
)
RANDOM = True
OPTIONS = {"epochs": "Epochs of each trial, of 4 batches each."}
SPLIT = "trials"
TRIALS = tuple(list(range(start, start + 10)) for start in range(0, 100, 10))
QUICK = {"epochs": 20, "trials": [[0, 1, 2], [3, 4, 5]]}
DIGITS = 500
HELD_OUT = 100
RANGES = {"lr": (1e-6, 1e-2), "weight_decay": (1e-8, 1e-4)}
LABELS = {"lr": "learning rate", "weight_decay": "weight decay"}
BAND = (1e-3, 1e-2)
"""Learning rates among which the book finds the good ones."""


class Digits(NamedTuple):
    """What trials share, on the device: digits to train on, and behind them those held out."""

    x: Array
    t: Array


def run(
    settings: Settings, *, epochs: int = 50, trials: Sequence[Sequence[int]] = TRIALS
) -> Numbers:
    """Train a network a trial. Trials depend on the seed and their number, not on each other.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 50
        Of each trial.
    trials : sequence of sequence of int, default 100 in groups of 10
        Numbers of trials, in groups that processes can share out.

    Returns
    -------
    dict
        ``trials``: for each number (as a string) the hyperparameters ``params``, the final
        ``validation_accuracy`` and ``validation_loss``, and the accuracies after each epoch,
        ``curves``. :func:`finish` adds the ``winner``.
    """
    count = check_count("epochs", epochs)
    data = digits(settings)
    numbers = [number for group in trials for number in group]
    found = {}
    with Progress(len(numbers), "hyperparameters", show=settings.verbose) as progress:
        for number in numbers:
            params = draw(settings.seed, number)
            _, own = train(settings, number, params, data, count)
            found[str(number)] = {
                "params": params,
                "validation_accuracy": own["validation_accuracy"][-1],
                "validation_loss": own["validation_loss"][-1],
                "curves": {
                    part: [round(value, 4) for value in own[f"{part}_accuracy"]]
                    for part in ("train", "validation")
                },
            }
            progress.advance()
    return {"trials": found}


def finish(settings: Settings, numbers: Numbers) -> Numbers:
    """Train the winner once more, as it was trained, and measure it on the test data."""
    winner = best(_trials(numbers))[0]
    epochs = len(winner.curves["validation"])
    network, _ = train(settings, winner.number, winner.params, digits(settings), epochs)
    _, _, x_test, t_test = digits_on(settings)
    return numbers | {
        "winner": {
            "trial": winner.number,
            "test_accuracy": network.accuracy(x_test, t_test),
            "test_images": x_test.shape[0],
        }
    }


def draw(seed: int, number: int) -> dict[str, float]:
    """The hyperparameters of a trial."""
    return {
        name: log_uniform(share(seed, number, name), *bounds) for name, bounds in RANGES.items()
    }


def share(seed: int, number: int, name: str) -> float:
    """Where in its range a hyperparameter of a trial lies, from 0 to 1."""
    return float(stream(seed, "trial", number, name).random())


def log_uniform(share: float, low: float, high: float) -> float:
    """A share of the way from `low` to `high` on a logarithmic scale."""
    return float(low * (high / low) ** share)


def digits(settings: Settings) -> Digits:
    """The first 500 digits in an order drawn by the seed; the last 100 are for validation."""
    x, t, _, _ = digits_on(settings)
    backend = get_backend(settings.device)
    order = backend.asarray(stream(settings.seed, "validation").permutation(DIGITS))
    with backend.active():
        return Digits(backend.xp.take(x, order, axis=0), backend.xp.take(t, order, axis=0))


def train(
    settings: Settings,
    number: int,
    params: Mapping[str, float],
    data: Digits,
    epochs: int,
    watch: Callable[[int, Array], None] | None = None,
) -> tuple[MultiLayerNet, Numbers]:
    """Train the network of a trial.

    Parameters
    ----------
    settings : Settings
    number : int
        Of the trial: with the seed it settles initial weights and batches.
    params : mapping of str to float
        ``lr`` and ``weight_decay``.
    data : Digits
    epochs : int
    watch : callable, optional
        Called after each epoch (from 0) with the share of validation digits that are right, an
        array on the device; what it raises ends the training.

    Returns
    -------
    network : MultiLayerNet
    curves : dict
        Accuracies and losses of ``train`` and ``validation``, an entry an epoch.
    """
    seed = int(stream(settings.seed, "trial", number, "seed").integers(2**32))
    network = MultiLayerNet(
        784,
        HIDDEN_SIZES,
        10,
        weight_decay_lambda=params["weight_decay"],
        seed=seed,
        device=settings.device,
    )
    known = DIGITS - HELD_OUT
    every = known // BATCH_SIZE
    training = SideBySide(
        {"": network}, {"": SGD(lr=params["lr"])}, data.x[:known, ...], data.t[:known],
        batch_size=BATCH_SIZE, steps=epochs * every, seed=seed,
    )  # fmt: skip
    measured = []
    for epoch in range(epochs):
        for i in range(epoch * every, (epoch + 1) * every):
            training.step(i)
        measured.append(measure(network, data.x, data.t, known))
        if watch is not None:
            with network.backend.active():
                share_right = measured[-1][1] / HELD_OUT
            watch(epoch, share_right)
    return network, curves(measured, known, HELD_OUT, "validation")


def wilson(right: float, count: int) -> tuple[float, float]:
    """Where, with 95 % confidence, the accuracy lies that gave so many right ones.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    z = 1.96
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
    return middle - half, middle + half


def _trials(numbers: Numbers) -> list[Trial]:
    return [
        Trial(
            int(number),
            trial["params"],
            trial["validation_accuracy"],
            {"validation": trial["curves"]["validation"], "training": trial["curves"]["train"]},
            trial["validation_loss"],
        )
        for number, trial in numbers["trials"].items()
    ]


ALT = {
    "hyperparameters": Text(
        "Twenty panels, the best trials by their validation accuracy. In each the training and the "
        "validation curve rise from chance level, steeply in the first panels and ever more slowly "
        "in the later ones.",
        "二十个小图，按验证精度排列的最好的试验。每个小图中训练曲线和验证曲线都从随机水平上升，"
        "前几个很陡，越往后越缓。",
    ),
    "hyperparameters-rates": Text(
        "Left the validation accuracy of each trial over its learning rate: at chance level up to "
        "about 5 · 10⁻⁴, then rising to 80 % at 10⁻². Right the same over weight decay: points at "
        "every height everywhere, no trend.",
        "左图是每次试验的验证精度与学习率的关系：约 5 · 10⁻⁴ 以下是随机水平，"
        "之后上升，到 10⁻² 时约 80 %。"
        "右图是与权值衰减系数的关系：各处高低都有，没有趋势。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The curves of the best trials; the accuracies over the hyperparameters."""
    trials = _trials(numbers)
    title = f"{TITLE}: {len(trials)} trials"
    return {
        "hyperparameters": plot_best_curves(trials, f"{title}, the best by validation", "accuracy"),
        "hyperparameters-rates": plot_rates(
            trials, title, f"accuracy on {HELD_OUT} validation digits", LABELS, list(LABELS)
        ),
    }


def table(numbers: Numbers) -> Table:
    """The five best trials, and the winner's test accuracy with its 95 % interval."""
    columns = ["place", "trial", "lr", "weight decay", "validation", "test (95 % interval)"]
    rows = []
    for place, trial in enumerate(best(_trials(numbers))[:5]):
        test = ""
        if place == 0 and "winner" in numbers:
            score, count = numbers["winner"]["test_accuracy"], numbers["winner"]["test_images"]
            low, high = wilson(score * count, count)
            test = f"{score:.1%} ({low:.1%} - {high:.1%})"
        rows.append(
            [str(place + 1), str(trial.number), f"{trial.params['lr']:.2e}",
             f"{trial.params['weight_decay']:.1e}", f"{trial.score:.0%}", test]
        )  # fmt: skip
    return columns, rows


def _top(numbers: Numbers, count: int = 5) -> list[Trial]:
    return best(_trials(numbers))[:count]


def _correlation(numbers: Numbers, name: str, low: float = 0.0) -> float:
    """Of the score with a hyperparameter, over trials of a learning rate from `low` on."""
    trials = [trial for trial in _trials(numbers) if trial.params["lr"] >= low]
    return rank_correlation([t.params[name] for t in trials], [t.score for t in trials])


def _luck(numbers: Numbers) -> float:
    """The winner's validation accuracy minus its test accuracy, in standard errors."""
    validation, test = _top(numbers)[0].score, numbers["winner"]["test_accuracy"]
    variance = test * (1 - test) * (1 / HELD_OUT + 1 / numbers["winner"]["test_images"])
    return float((validation - test) / math.sqrt(variance))


CLAIMS = (
    Claim(
        Text(
            "A rough search on a logarithmic scale finds where good learning rates lie: from 0.001 "
            "to 0.01.",
            "在对数尺度上粗略地搜索，就能找到好的学习率所在的范围：0.001 到 0.01。",
        ),
        (
            Check(
                Text("lowest learning rate of the best five", "前五名中最小的学习率"),
                lambda n: min(trial.params["lr"] for trial in _top(n)),
                at_least=BAND[0],
                form=".2g",
            ),
            Check(
                Text("rank correlation of accuracy and learning rate", "精度与学习率的秩相关系数"),
                lambda n: _correlation(n, "lr"),
                at_least=0.5,
                form=".2f",
            ),
        ),
        remark=Text(
            "Of the book; the tutorial says nothing here.", "这是书中的说法；教程在此没有内容。"
        ),
    ),
    Claim(
        Text(
            "Weight decay, up to 0.0001, hardly matters beside it.",
            "相比之下，权值衰减系数（不超过 0.0001）几乎没有影响。",
        ),
        (
            Check(
                Text("rank correlation with weight decay", "精度与权值衰减系数的秩相关系数"),
                lambda n: abs(_correlation(n, "weight_decay")),
                at_most=0.3,
                form=".2f",
            ),
            Check(
                Text(
                    "the same among learning rates from 0.001 on",
                    "学习率不小于 0.001 的试验中的同一系数",
                ),
                lambda n: abs(_correlation(n, "weight_decay", BAND[0])),
                at_most=0.4,
                form=".2f",
            ),
        ),
        remark=Text(
            "Neither the tutorial nor the book says so; it is what the figure shows.",
            "教程和书中都没有这句话，而是图中所见。",
        ),
    ),
    Claim(
        Text(
            "The winner's accuracy on validation data tells its accuracy on digits never seen.",
            "胜者在验证数据上的精度，就是它在从未见过的数字上的精度。",
        ),
        (
            Check(
                Text(
                    "validation minus test accuracy of the winner, in standard errors, all seeds "
                    "together",
                    "胜者的验证精度减测试精度（以标准误差计，各种子合并）",
                ),
                _luck,
                at_least=-2,
                at_most=2,
                form=".1f",
                combine=together,
            ),
        ),
        remark=Text(
            "Not a sentence of the tutorial, but what one would like to read off its figure. Over "
            "several seeds the winner's is too good (one alone may not show it), for two reasons. "
            "The winner of 100 trials on 100 digits was lucky, too, in its digits; that is why "
            "test data must not choose. And the first 500 digits of MNIST are easier than its test "
            "images: without any choice, at learning rate 0.007, the validation accuracy is 74 % "
            "and the test accuracy 67 % (mean of 12 seeds). Each seed holds out another hundred of "
            "the same 500, so that all together tell of these.",
            "这不是教程中的话，而是人们希望从图中读出的结论。多个种子合起来看，胜者的精度偏高"
            "（单独一个种子未必看得出来），原因有二。在 100 个数字上从 100 次试验中选出的胜者，"
            "也沾了这些数字的运气，所以不能用测试数据做选择。"
            "另外，MNIST 的前 500 个数字比测试图像容易："
            "不做任何选择、学习率为 0.007 时，验证精度为 74 %，测试精度为 67 %"
            "（12 个种子的平均）。各种子留出的都是同样 500 个数字中的 100 个，"
            "因此合并的结果说的是这些数字。",
        ),
    ),
)
