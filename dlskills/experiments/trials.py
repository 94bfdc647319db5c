"""Trials of a search for hyperparameters: which are best, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dlskills.experiments.drawing import draw_curve, folded, legend_below, panels
from dlskills.experiments.text import Texts
from dlskills.plotting import color, current_look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20
"""Number of trials called the best."""

DRAWN = 6
"""Number of trials whose curves are drawn, so that the panels are readable when projected."""

LABELS = Texts("labels")


class Trial(NamedTuple):
    """One setting of the hyperparameters, and its score.

    Attributes
    ----------
    number : int
        From 0.
    params : mapping of str to float
    score : float
        The higher, the better.
    curves : mapping of str to sequence of float
        The score and whatever else was recorded, one entry per epoch.
    tie : float, default 0
        Decides between trials of the same score: the lower, the better.
    steps : sequence of int, optional
        Steps at which the curves were recorded; by default 1, 2, ...
    """

    number: int
    params: Mapping[str, float]
    score: float
    curves: Mapping[str, Sequence[float]]
    tie: float = 0.0
    steps: Sequence[int] | None = None


def best(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials from the best to the worst; of equal ones the earlier first."""
    return sorted(trials, key=lambda trial: (-trial.score, trial.tie, trial.number))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's: 1 if `y` always rises with `x`, -1 if it always falls, 0 for neither.

    NaN for fewer than three points, or if all of `x` or of `y` are the same.
    """
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return np.nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Return the rank of each value among all; equal ones share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def plot_best_curves(
    trials: Sequence[Trial], title: str, ylabel: str, xlabel: str | None = None
) -> Figure:
    """Draw one panel for each of the best 6 trials, the best one first."""
    shown = best(trials)[:DRAWN]
    figure, axes = panels(
        len(shown), columns=3, size=(3.3, 2.7), ylabel=ylabel, title=title,
        xlabel=str(LABELS("epoch")) if xlabel is None else xlabel,
    )  # fmt: skip
    for rank, (panel, trial) in enumerate(zip(axes, shown, strict=True), 1):
        for i, (name, curve) in enumerate(trial.curves.items()):
            epochs = range(1, len(curve) + 1) if trial.steps is None else trial.steps
            draw_curve(panel, epochs, [curve], i, str(LABELS.name(name)),
                       markevery=max(len(curve) // 8, 1))  # fmt: skip
        words = LABELS("rank-and-trial", rank=rank, number=trial.number, score=trial.score)
        panel.set_title(str(words))
    if len(axes[0].get_legend_handles_labels()[1]) > 1:
        legend_below(figure, axes[0])
    return figure


def plot_rates(
    trials: Sequence[Trial], title: str, ylabel: str, labels: Mapping[str, str], log: Sequence[str]
) -> Figure:
    """Draw one panel per hyperparameter: the score of each trial over its value.

    Parameters
    ----------
    trials : sequence of Trial
    title, ylabel : str
    labels : mapping of str to str
        The hyperparameters to draw, and what to call them.
    log : sequence of str
        Those on a logarithmic axis.
    """
    ranked = best(trials)
    count, narrow = len(labels), current_look().narrow
    figure, axes = new_figure(
        *((count, 1) if narrow else (1, count)), sharey=True, squeeze=False,
        size=(4.0, 3.2 * count) if narrow else (max(4.5 * count, 6), 4.6),
    )  # fmt: skip
    following = ranked[1:SHOWN]
    groups = {
        str(LABELS("others")): (ranked[SHOWN:], "x", 6, current_look().muted),
        str(LABELS("the-next", count=len(following))): (following, "o", 6, color(0)),
        str(LABELS("best")): (ranked[:1], "*", 13, color(1)),
    }
    for panel, (param, label) in zip(axes.flat, labels.items(), strict=True):
        for name, (group, marker, size, shade) in groups.items():
            here = [trial for trial in group if param in trial.params]
            panel.plot(
                [trial.params[param] for trial in here], [trial.score for trial in here],
                marker, markersize=size, color=shade, label=name if here else None,
            )  # fmt: skip
        panel.set(xlabel=label, xscale="log" if param in log else "linear")
        values = [trial.params[param] for trial in trials if param in trial.params]
        if param not in log and all(isinstance(value, int) for value in values):
            panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in axes[:, 0]:
        panel.set_ylabel(ylabel)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=len(names))
    figure.suptitle(folded(title, figure))
    return figure
