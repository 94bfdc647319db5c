"""Weight decay with Adam, in three forms: which leaves the learning rate alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, claim, literature
from dlskills.experiments.drawing import over_seeds, panels
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.heat_map import draw_heat_map
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import Adam, AdamW
from dlskills.plotting import styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("decoupled-decay")
DIGITS, HELD_OUT, BATCH_SIZE = 1000, 2000, 100
RATES = tuple(10 ** (i / 2 - 4) for i in range(5))
DECAYS = {
    form: tuple(10 ** (i / 2 + lowest) for i in range(8))
    for form, lowest in (("L2", -4.5), ("AdamW", -2), ("paper", -5))
}
"""Half-decades around the best of each form; the forms have different units."""

SHOWN = 10
"""Percentage points below the best that the colours cover."""


def made(form: str, rate: float, decay: float) -> tuple[float, Any]:
    """Return the network's L2 coefficient and the optimizer for one form of weight decay."""
    if form == "L2":
        return decay, Adam(rate)

    def weights(name: str) -> bool:
        return name.startswith("W")

    # AdamW as in PyTorch subtracts lr * decay * W; the paper's algorithm 2 subtracts decay * W
    return 0.0, AdamW(rate, weight_decay=decay / rate if form == "paper" else decay, decay=weights)


def run(
    settings: Settings, *, iterations: int = 300, forms: Sequence[str] = tuple(DECAYS)
) -> Numbers:
    """Train a network on 1,000 digits with each form at each learning rate and decay.

    Parameters
    ----------
    settings : Settings
    iterations : int, default 300
        Steps on batches of 100.
    forms : sequence of {"L2", "AdamW", "paper"}

    Returns
    -------
    dict
        For each form a list per learning rate with one number per decay: ``loss`` and
        ``validation``, loss without penalty and accuracy on 2,000 digits held out; ``test``.
    """
    count = check_count("iterations", iterations)
    x, t, x_test, t_test = digits_on(settings)
    held = x[-HELD_OUT:], t[-HELD_OUT:]
    numbers: Numbers = {"loss": {}, "validation": {}, "test": {}}
    with Progress(len(forms) * len(RATES), "decoupled-decay", show=settings.verbose) as progress:
        for form in forms:
            rows: dict[str, list[list[float]]] = {"loss": [], "validation": [], "test": []}
            for rate in RATES:
                both = {f"{decay:g}": made(form, rate, decay) for decay in DECAYS[form]}
                networks = {
                    name: MultiLayerNet(784, [100, 100], 10, weight_decay_lambda=penalty,
                                        seed=settings.seed, device=settings.device)
                    for name, (penalty, _) in both.items()
                }  # fmt: skip
                training = SideBySide(
                    networks, {name: rule for name, (_, rule) in both.items()}, x[:DIGITS],
                    t[:DIGITS], batch_size=BATCH_SIZE, steps=count, seed=settings.seed,
                )  # fmt: skip
                for step in range(count):
                    training.step(step)
                each = list(networks.values())
                rows["loss"].append([float(n.loss(*held)) - float(n.penalty()) for n in each])
                rows["validation"].append([n.accuracy(*held) for n in each])
                rows["test"].append([n.accuracy(x_test, t_test) for n in each])
                progress.advance()
            for what, table_ in rows.items():
                numbers[what][form] = table_
    return numbers


def slope(numbers: Numbers, form: str) -> float:
    """Return by how many decades the best decay changes per decade of the learning rate.

    For each rate, the best decay is that of the lowest validation loss, between the points of the
    grid by a parabola through three; a line is fitted to its logarithm. 0 is decoupled, -1 a best
    product of rate and decay.
    """
    decays = np.log10(DECAYS[form])
    bests = []
    for losses in np.asarray(numbers["loss"][form], float):
        i = int(np.argmin(losses))
        shift = 0.0
        if 0 < i < len(losses) - 1:
            before, here, after = losses[i - 1 : i + 2]
            shift = (before - after) / (2 * (before - 2 * here + after) or math.inf)
        bests.append(decays[i] + shift * (decays[1] - decays[0]))
    return float(np.polyfit(np.log10(RATES), bests, 1)[0])


def _test_at_best(numbers: Numbers, form: str) -> float:
    """Return the test accuracy of the cell with the lowest validation loss."""
    return float(np.ravel(numbers["test"][form])[np.argmin(numbers["loss"][form])])


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the validation accuracies over learning rate and decay, means of several seeds."""
    cells = {form: _mean(over_seeds(runs, "validation", form)) for form in runs[0]["validation"]}
    highest = max(table_.max() for table_ in cells.values())
    figure, axes = panels(
        len(cells), columns=3, size=(4.6, 4.2), share=False, xlabel=TEXTS("learning-rate"),
        ylabel=TEXTS("weight-decay"), title=f"{TEXTS('figure')}{_of(runs)}",
    )  # fmt: skip
    for panel, (form, table_) in zip(axes, cells.items(), strict=True):
        draw_heat_map(
            panel, 100 * table_.T, [f"{rate:.2g}" for rate in RATES],
            [f"{decay:.2g}" for decay in DECAYS[form]], form=".1f",
            vmin=100 * highest - SHOWN, vmax=100 * highest,
        )  # fmt: skip
        panel.set_title(str(TEXTS(f"form-{form.lower()}")), fontsize=12)
    return {"decoupled-decay": figure}


def _mean(tables: Sequence[Any]) -> Array:
    return np.mean([np.asarray(table_, float) for table_ in tables], axis=0)


def _of(runs: Sequence[Numbers]) -> str:
    return "" if len(runs) == 1 else f" {TEXTS('mean', count=len(runs))}"


def table(numbers: Numbers) -> Table:
    """Return how the best decay goes with the learning rate, and the test accuracy at the best."""
    rows: list[list[Any]] = [
        [TEXTS(f"form-{form.lower()}"), Number(slope(numbers, form), "+.2f"),
         Number(_test_at_best(numbers, form), ".1%")]
        for form in numbers["loss"]
    ]  # fmt: skip
    return Table([TEXTS("form"), TEXTS("slope"), TEXTS("test-accuracy")], rows)


SOURCE = literature("adamw")

CLAIMS = (
    claim(TEXTS, "coupled", SOURCE,
          Check("slope", lambda n: abs(slope(n, "L2")), at_least=0.5, form=".2f",
                bound="half-decade")),
    claim(TEXTS, "decoupled", SOURCE,
          Check("slope", lambda n: abs(slope(n, "paper")), at_most=0.25, form=".2f",
                bound="quarter-decade")),
    claim(TEXTS, "better", SOURCE,
          Check("gain", lambda n: _test_at_best(n, "paper") - _test_at_best(n, "L2"),
                at_least=1e-4, form=".2%", bound="higher")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="decoupled-decay",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={"iterations": "Steps of each network."},
        quick={"iterations": 10},
        split="forms",
    ),
    beyond=True,
)
