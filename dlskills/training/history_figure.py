"""The figure of a history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlskills.plotting import new_figure, plain, plot_curves, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlskills.training.history import History

_COORDINATES = ("step", "epoch")


@styled
def plot(history: History) -> Figure:
    """Return a figure with a panel each for losses, accuracies, and other metrics, over the epochs.

    Columns of nothing but NaN or zeros, and those that never change, such as a constant learning
    rate, are left out.
    """
    across = "epoch" if "epoch" in history else "step"
    groups: dict[str, list[str]] = {}
    for name in history:
        if name not in _COORDINATES and _says_something(history[name]):
            groups.setdefault(_kind(name), []).append(name)
    figure, axes = new_figure(
        1, max(len(groups), 1), size=(5.2 * max(len(groups), 1), 4), squeeze=False
    )
    for panel, (kind, names) in zip(axes[0], groups.items(), strict=False):
        _draw(panel, history, across, names)
        panel.set(xlabel=across if across in history else "row", ylabel=plain(kind))
        if kind == "accuracy":
            panel.set_ylim(top=1)
    return figure


def _says_something(column: list[float]) -> bool:
    return len({value for value in column if not math.isnan(value)}) > (len(column) > 1)


def _kind(name: str) -> str:
    """Return the panel of a column: ``"test_loss"`` is a ``"loss"``."""
    part, _, metric = name.partition("_")
    return metric if part in ("train", "validation", "test") else name


def _draw(panel: Axes, history: History, across: str, names: list[str]) -> None:
    x = history.get(across, list(range(1, history.rows + 1)))
    plot_curves(panel, x, {name.replace("_", " "): history[name] for name in names}, markers=15)
