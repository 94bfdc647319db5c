"""Six update rules, each over a range of learning rates and judged at its own best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.checks import check_count
from dlskills.experiments.claims import OURS, Check, claim, literature
from dlskills.experiments.drawing import draw_curve, legend_below, over_seeds, panels, seeds_note
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import make_optimizer
from dlskills.plotting import styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("learning-rates")
BATCH_SIZE = 128
HELD_OUT = 2000
"""Last training digits, by which the rates are chosen."""

RATES = tuple(10 ** (i / 2 - 4) for i in range(11))
"""Half-decades from 1e-4 to 10, the same for all rules."""

COMMON = 0.01
"""The rate of the tutorial's comparison."""

PLAIN, ADAPTIVE = ("SGD", "Momentum", "Nesterov"), ("AdaGrad", "RMSprop", "Adam")


def run(
    settings: Settings, *, iterations: int = 300, rules: Sequence[str] = (*PLAIN, *ADAPTIVE)
) -> Numbers:
    """Train a network with each rule at each rate, on the same batches.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 300
        Steps on batches of 128.
    rules : sequence of str
        Names of update rules.

    Returns
    -------
    dict
        ``rates``; and for each rule one number per rate: ``loss``, the mean of the last 100
        batches; ``validation``, the accuracy on the digits held out; ``test``. Where training
        diverged, the loss is null.
    """
    count = check_count("iterations", iterations)
    x, t, x_test, t_test = digits_on(settings)
    numbers: Numbers = {"rates": list(RATES), "loss": {}, "validation": {}, "test": {}}
    with Progress(len(rules), "learning-rates", show=settings.verbose) as progress:
        for name in rules:
            made = {f"{rate:g}": make_optimizer(name, lr=rate) for rate in RATES}
            networks = {
                rate: MultiLayerNet(784, [100] * 4, 10, seed=settings.seed, device=settings.device)
                for rate in made
            }
            training = SideBySide(
                networks, made, x[:-HELD_OUT], t[:-HELD_OUT],
                batch_size=BATCH_SIZE, steps=count, seed=settings.seed,
            )  # fmt: skip
            with np.errstate(all="ignore"):  # the highest rates diverge
                for step in range(count):
                    training.step(step)
                late = [float(np.mean(losses[-100:])) for losses in training.fetched().values()]
                own = type(next(iter(made.values()))).__name__
                numbers["loss"][own] = [loss if math.isfinite(loss) else None for loss in late]
                numbers["validation"][own] = [
                    network.accuracy(x[-HELD_OUT:], t[-HELD_OUT:]) for network in networks.values()
                ]
                numbers["test"][own] = [
                    network.accuracy(x_test, t_test) for network in networks.values()
                ]
            progress.advance()
    return numbers


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw late loss and test accuracy of each rule over the learning rate."""
    rates = runs[0]["rates"]
    figure, (losses, accuracies) = panels(
        2, columns=2, size=(4.5, 3.8), share=False, xlabel=TEXTS("learning-rate"),
        title=f"{TEXTS('figure')}{seeds_note(runs, TEXTS)}",
    )  # fmt: skip
    for i, name in enumerate(runs[0]["loss"]):
        curves = [
            list(itertools.takewhile(lambda loss: loss is not None, curve))
            for curve in over_seeds(runs, "loss", name)
        ]
        draw_curve(losses, rates, curves, i, name)
        draw_curve(accuracies, rates, over_seeds(runs, "test", name), i, name)
    losses.set(
        xscale="log", yscale="log", ylim=(0.02, 10), title=str(TEXTS("loss-last", count=100))
    )
    accuracies.set(xscale="log", ylim=(0.5, 1), title=str(TEXTS("test-accuracy")))
    accuracies.yaxis.set_major_formatter("{x:.0%}")
    for panel in (losses, accuracies):
        panel.set_xlim(rates[0], rates[-1])
        panel.set_xlabel(str(TEXTS("learning-rate")))
    legend_below(figure, losses, 6)
    return {"learning-rates": figure}


def best(numbers: Numbers, name: str) -> int:
    """Return the index of the rate with the best validation accuracy; the lowest of several."""
    return int(np.argmax(numbers["validation"][name]))


def _at_best(numbers: Numbers, what: str, name: str) -> float:
    value = numbers[what][name][best(numbers, name)]
    return math.nan if value is None else float(value)


def _wide(numbers: Numbers, name: str) -> int:
    """Return the number of rates whose validation accuracy is within 2 points of the best."""
    scores = np.asarray(numbers["validation"][name])
    return int(np.sum(scores >= scores.max() - 0.02))


def _common(numbers: Numbers, name: str, rate: float = COMMON) -> float:
    return float(numbers["test"][name][int(np.argmin(np.abs(np.asarray(RATES) - rate)))])


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def table(numbers: Numbers) -> Table:
    """Return each rule's best rate, its loss and accuracy there, and the rates nearly as good."""
    rows: list[list[Any]] = [
        [name, Number(numbers["rates"][best(numbers, name)], ".2g"),
         Number(_at_best(numbers, "loss", name), ".3f"),
         Number(_at_best(numbers, "test", name), ".1%"), Number(_wide(numbers, name), ".0f"),
         Number(_common(numbers, name), ".1%")]
        for name in numbers["loss"]
    ]  # fmt: skip
    return Table(
        [TEXTS("method"), TEXTS("best-rate"), TEXTS("loss-last", count=100),
         TEXTS("test-accuracy"), TEXTS("wide"), TEXTS("at-common", rate=COMMON)], rows,
    )  # fmt: skip


def _lead(numbers: Numbers) -> float:
    others = (*PLAIN, *ADAPTIVE[:-1])
    return _at_best(numbers, "loss", "Adam") / min(_at_best(numbers, "loss", o) for o in others)


CLAIMS = (
    claim(TEXTS, "adam-faster", literature("adam"),
          Check("loss", _lead, at_most=1, form=".2f", bound="lower")),
    claim(TEXTS, "adam-default", literature("adam"),
          Check("cost", lambda n: _at_best(n, "test", "Adam") - _common(n, "Adam", 1e-3),
                at_most=0.01, form=".1%", bound="default-point")),
    claim(TEXTS, "plain-generalizes", literature("wilson"),
          Check("gain", lambda n: max(_at_best(n, "test", name) for name in PLAIN)
                - max(_at_best(n, "test", name) for name in ADAPTIVE),
                at_least=1e-4, form=".2%", bound="higher")),
    claim(TEXTS, "own-rate", OURS,
          Check("spread", lambda n: _spread([_at_best(n, "test", name) for name in n["test"]])
                / _spread([_common(n, name) for name in n["test"]]),
                at_most=0.5, form=".2f", bound="half-spread")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="learning-rates",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={"iterations": "Steps of each network."},
        quick={"iterations": 20},
        split="rules",
    ),
    beyond=True,
)
