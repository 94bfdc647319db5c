"""Random search for a learning rate and a weight decay, the tutorial's unfinished section."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dlskills.arrays.backend import Array, get_backend
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.claims import BOOK, OURS, Check, claim, together
from dlskills.experiments.experiment import Experiment, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on
from dlskills.experiments.small_data import BATCH_SIZE, HIDDEN_SIZES, curves, measure
from dlskills.experiments.tables import Cell, Number, Table
from dlskills.experiments.text import Texts
from dlskills.experiments.trials import Trial, best, plot_best_curves, plot_rates, rank_correlation
from dlskills.networks import MultiLayerNet
from dlskills.optimizers import SGD
from dlskills.plotting import styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS = Texts("hyperparameters")
TRIALS = tuple(list(range(start, start + 10)) for start in range(0, 100, 10))
DIGITS = 500
HELD_OUT = 100
RANGES = {"lr": (1e-6, 1e-2), "weight_decay": (1e-8, 1e-4)}
BAND = (1e-3, 1e-2)
"""Learning rates among which the book finds the good ones."""


class Digits(NamedTuple):
    """The digits of all trials, on the device: those to train on, then those held out."""

    x: Array
    t: Array


def run(
    settings: Settings, *, epochs: int = 50, trials: Sequence[Sequence[int]] = TRIALS
) -> Numbers:
    """Train one network per trial. A trial depends on the seed and its number only.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 50
        Of each trial.
    trials : sequence of sequence of int, default 100 in groups of 10
        Numbers of trials, in groups that processes share.

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
    """Train the winner again, in the same way, and measure it on the test data."""
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
    """Return the hyperparameters of a trial."""
    return {
        name: log_uniform(share(seed, number, name), *bounds) for name, bounds in RANGES.items()
    }


def share(seed: int, number: int, name: str) -> float:
    """Return where in its range a hyperparameter of a trial lies, from 0 to 1."""
    return float(stream(seed, "trial", number, name).random())


def log_uniform(share: float, low: float, high: float) -> float:
    """Return the number at a fraction of the way from `low` to `high` on a logarithmic scale."""
    return float(low * (high / low) ** share)


def digits(settings: Settings) -> Digits:
    """Return the first 500 digits, shuffled by the seed; the last 100 are for validation."""
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
        Number of the trial: with the seed it determines initial weights and batches.
    params : mapping of str to float
        ``lr`` and ``weight_decay``.
    data : Digits
    epochs : int
    watch : callable, optional
        Called after each epoch (from 0) with the fraction of correct validation digits, an
        array on the device; an exception from it ends the training.

    Returns
    -------
    network : MultiLayerNet
    curves : dict
        Accuracies and losses of ``train`` and ``validation``, one entry per epoch.
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
    """Return the 95 % confidence interval of an accuracy, given `right` of `count`.

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


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the curves of the best trials; the accuracies over the hyperparameters."""
    trials = _trials(runs[0])
    count = len(trials)
    labels = {"lr": str(TEXTS("learning-rate")), "weight_decay": str(TEXTS("weight-decay"))}
    return {
        "hyperparameters": plot_best_curves(
            trials, str(TEXTS("figure", count=count)), str(TEXTS("accuracy"))
        ),
        "hyperparameters-rates": plot_rates(
            trials, str(TEXTS("figure-rates", count=count)),
            str(TEXTS("validation-accuracy", count=HELD_OUT)), labels, list(labels),
        ),
    }  # fmt: skip


def table(numbers: Numbers) -> Table:
    """Return the five best trials, and the winner's test accuracy with its 95 % interval."""
    columns = ["rank", "trial", "lr", "weight-decay", "validation", "test-interval"]
    rows: list[list[Cell]] = []
    for rank, trial in enumerate(best(_trials(numbers))[:5], 1):
        test = ""
        if rank == 1 and "winner" in numbers:
            score, count = numbers["winner"]["test_accuracy"], numbers["winner"]["test_images"]
            low, high = wilson(score * count, count)
            test = f"{score:.1%} ({low:.1%} - {high:.1%})"
        rows.append(
            [str(rank), str(trial.number), f"{trial.params['lr']:.2e}",
             f"{trial.params['weight_decay']:.1e}", Number(trial.score, ".0%"), test]
        )  # fmt: skip
    # a mean over seeds of the n-th best rate would mean nothing
    return Table([TEXTS(column) for column in columns], rows, merges=False)


def _top(numbers: Numbers, count: int = 5) -> list[Trial]:
    return best(_trials(numbers))[:count]


def _correlation(numbers: Numbers, name: str, low: float = 0.0) -> float:
    """Return the rank correlation of score and hyperparameter over trials with lr >= `low`."""
    trials = [trial for trial in _trials(numbers) if trial.params["lr"] >= low]
    return rank_correlation([t.params[name] for t in trials], [t.score for t in trials])


def _luck(numbers: Numbers) -> float:
    """Return the winner's validation accuracy minus its test accuracy, in standard errors."""
    validation, test = _top(numbers)[0].score, numbers["winner"]["test_accuracy"]
    variance = test * (1 - test) * (1 / HELD_OUT + 1 / numbers["winner"]["test_images"])
    return float((validation - test) / math.sqrt(variance))


CLAIMS = (
    claim(TEXTS, "range", BOOK,
          Check("lowest", lambda n: min(trial.params["lr"] for trial in _top(n)), at_least=BAND[0],
                form=".2g", bound="book-range"),
          Check("correlation", lambda n: _correlation(n, "lr"), at_least=0.5, form=".2f",
                bound="rank")),
    claim(TEXTS, "decay", OURS,
          Check("all", lambda n: abs(_correlation(n, "weight_decay")), at_most=0.3, form=".2f",
                bound="no-rank"),
          Check("good", lambda n: abs(_correlation(n, "weight_decay", BAND[0])), at_most=0.4,
                form=".2f", bound="no-rank-few")),
    claim(TEXTS, "winner", OURS,
          Check("luck", _luck, -2, 2, ".1f", combine=together, bound="two-errors")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="hyperparameters",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={"epochs": "Epochs of each trial, of 4 batches each."},
        quick={"epochs": 20, "trials": [[0, 1, 2], [3, 4, 5]]},
        split="trials",
        finish=finish,
    )
)
