"""Trials of a search for hyperparameters: which are best, and how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dlskills.plotting import COLORS, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20
"""The best trials, whose curves are drawn."""


class Trial(NamedTuple):
    """One setting of the hyperparameters, and how it did.

    Attributes
    ----------
    number : int
        From 0.
    params : mapping of str to float
    score : float
        The higher, the better.
    curves : mapping of str to sequence of float
        The score over time, and whatever else was recorded, an entry an epoch.
    tie : float, default 0
        Decides between trials of the same score: the lower, the better.
    steps : sequence of int, optional
        At which the curves were recorded; by default 1, 2, ...
    """

    number: int
    params: Mapping[str, float]
    score: float
    curves: Mapping[str, Sequence[float]]
    tie: float = 0.0
    steps: Sequence[int] | None = None


def best(trials: Sequence[Trial]) -> list[Trial]:
    """The trials from the best one to the worst; the earlier first where nothing decides."""
    return sorted(trials, key=lambda trial: (-trial.score, trial.tie, trial.number))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's: 1 where `y` always rises with `x`, -1 where it always falls, 0 for neither.

    NaN for fewer than three points, or where all of `x` or of `y` are the same.
    """
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return np.nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """The place of each value among all; equal ones share the mean of their places."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def plot_best_curves(
    trials: Sequence[Trial], title: str, ylabel: str, xlabel: str = "epoch"
) -> Figure:
    """A panel for each of the best 20 trials, the best one first."""
    shown = best(trials)[:SHOWN]
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(
        rows, columns, size=(10, 1.2 + 1.9 * rows), sharex=True, sharey=True, squeeze=False
    )
    for panel in axes.flat[len(shown) :]:
        panel.remove()
    for place, (panel, trial) in enumerate(zip(axes.flat, shown, strict=False)):
        for i, (name, curve) in enumerate(trial.curves.items()):
            epochs = range(1, len(curve) + 1) if trial.steps is None else trial.steps
            panel.plot(
                epochs, curve, color=COLORS[i], marker=MARKERS[i], label=name,
                markevery=max(len(curve) // 5, 1), markersize=4,
            )  # fmt: skip
        panel.set_title(f"{place + 1}. trial {trial.number}: {trial.score:.3g}", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    for column in axes.T:  # the lowest row may end before the last column
        lowest = [panel for panel in column if panel.figure is not None][-1]
        lowest.set_xlabel(xlabel)
        lowest.tick_params(labelbottom=True)
    figure.supylabel(ylabel, fontsize=11)
    figure.suptitle(title)
    return figure


def plot_rates(
    trials: Sequence[Trial], title: str, ylabel: str, labels: Mapping[str, str], log: Sequence[str]
) -> Figure:
    """A panel for each hyperparameter: the score of each trial over its value.

    Parameters
    ----------
    trials : sequence of Trial
    title, ylabel : str
    labels : mapping of str to str
        The hyperparameters to draw, and what to call them.
    log : sequence of str
        Those on a logarithmic scale.
    """
    ranked = best(trials)
    figure, axes = new_figure(
        1, len(labels), size=(max(4.5 * len(labels), 6), 4.6), sharey=True, squeeze=False
    )
    following = ranked[1:SHOWN]
    groups = {
        "others": (ranked[SHOWN:], "x", 6, "#777777"),
        f"the next {len(following)}": (following, MARKERS[0], 6, COLORS[0]),
        "best": (ranked[:1], "*", 13, COLORS[1]),
    }
    for panel, (param, label) in zip(axes.flat, labels.items(), strict=True):
        for name, (group, marker, size, color) in groups.items():
            here = [trial for trial in group if param in trial.params]
            panel.plot(
                [trial.params[param] for trial in here], [trial.score for trial in here],
                marker, markersize=size, color=color, label=name if here else None,
            )  # fmt: skip
        panel.set(xlabel=label, xscale="log" if param in log else "linear")
        values = [trial.params[param] for trial in trials if param in trial.params]
        if param not in log and all(isinstance(value, int) for value in values):
            panel.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel(ylabel)
    handles, names = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].legend(handles[::-1], names[::-1], loc="best")
    figure.suptitle(title)
    return figure
