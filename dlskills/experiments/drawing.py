"""What the experiments' figures share: panels that stack, curves of several seeds, losses."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.experiments.settings import Numbers
from dlskills.experiments.text import Text, Texts
from dlskills.plotting import color, current_look, marker, new_figure, plain, smooth_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def panels(
    count: int,
    *,
    columns: int,
    size: tuple[float, float],
    narrow: int = 1,
    xlabel: object = "",
    ylabel: object = "",
    title: object = "",
    share: bool = True,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels in rows; in a narrow figure they stack.

    Parameters
    ----------
    count : int
        Number of panels.
    columns, narrow : int
        Panels per row, and per row of a narrow figure.
    size : tuple of float
        Width and height of a panel in inches.
    xlabel, ylabel, title : Text or str
        At the lowest panel of each column, at the first of each row, and above all panels.
    share : bool, default True
        Whether all panels have the same axes.
    **options
        For ``Figure.subplots``.
    """
    is_narrow = current_look().narrow
    columns = min(count, narrow if is_narrow else columns)
    rows = math.ceil(count / columns)
    height = max(size[1] * rows + 0.5, 3.2)  # titles and a legend take 1.6
    if is_narrow:
        height = rows * max(size[1] * 4.0 / columns / size[0], 3.0 / columns) + 0.8
    figure, axes = new_figure(
        rows, columns, size=(4.0 if is_narrow else size[0] * columns, height),
        sharex=share, sharey=share, squeeze=False, **options,
    )  # fmt: skip
    shown = list(axes.flat[:count])
    for panel in axes.flat[count:]:
        panel.remove()
    for i, panel in enumerate(shown):
        if i % columns == 0 and str(ylabel):
            panel.set_ylabel(str(ylabel))
        if i + columns >= count and str(xlabel):
            panel.set_xlabel(str(xlabel))
            panel.tick_params(labelbottom=True)
    if str(title):
        figure.suptitle(folded(title, figure, 13))
    return figure, shown


def titled(panel: Axes, title: object) -> None:
    """Set the title of a figure's only panel, in as many lines as it takes."""
    figure: Any = panel.figure
    panel.set_title(folded(title, figure, 14))  # its axes are narrower than the figure


def folded(words: object, figure: Any, points: float = 12) -> str:
    """Return words in lines that fit the width of a figure."""
    room = int(figure.get_figwidth() * 72 / points / 0.58) - 1
    return "\n".join(
        line for part in str(words).split("\n") for line in _folded(part, max(room, 20))
    )


def width_of(words: str) -> int:
    """Return the width of words in characters; Chinese ones count twice."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in words)


def _folded(words: str, room: int) -> list[str]:
    if not any(unicodedata.east_asian_width(sign) == "W" for sign in words):
        return textwrap.wrap(words, room)
    lines, width = [""], 0
    for sign in words:  # Chinese has no spaces to break at
        own = 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        breaks = width + own > room and sign not in "，。：；）、"
        if breaks and lines[-1][-1:].isascii() and sign.isascii():
            breaks = sign == " "  # not within a word or a number
        if breaks:
            lines.append("")
            width = 0
        lines[-1] += sign
        width += own
    return [line.strip() for line in lines]


def median_and_band(curves: Sequence[Any]) -> tuple[Array, Array, Array]:
    """Return the median, the lowest and the highest of curves, point by point.

    Curves that ended early count as long as they last.
    """
    length = max(map(len, curves), default=0)
    table = np.full((len(curves), length), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    return np.nanmedian(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0)


def draw_curve(panel: Axes, x: Any, curves: Sequence[Any], i: int, label: str, **look: Any) -> None:
    """Draw the curve of one seed, or the median of several and the band of all.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    x : sequence of float, or None
        None counts from 0.
    curves : sequence of sequence of float
        One per seed.
    i : int
        Number of the colour and the marker.
    label : str
        In the legend.
    **look
        For ``Axes.plot``.
    """
    middle, lowest, highest = median_and_band(curves)
    x = np.arange(len(middle)) if x is None else np.asarray(x)[: len(middle)]
    line: dict[str, Any] = {
        "color": color(i),
        "marker": marker(i),
        "markevery": max(len(x) // 20, 1),
    } | look
    if len(curves) > 1:
        band = panel.fill_between(x, lowest, highest, color=line["color"], alpha=0.2, linewidth=0)
        band.dlskills_band = (label, x, lowest, highest)  # type: ignore[attr-defined]
    panel.plot(x, middle, label=plain(label), **line)


def legend_below(figure: Figure, panel: Axes, columns: int = 4) -> None:
    """Put one legend for all panels below them, where it hides nothing."""
    handles, labels = panel.get_legend_handles_labels()
    columns = min(columns, len(labels))
    if current_look().narrow:
        columns = 1 if max(map(width_of, labels), default=0) > 16 else min(columns, 2)
    figure.legend(handles, labels, loc="outside lower center", ncols=max(columns, 1))


def seeds_note(runs: Sequence[Any], texts: Texts) -> str:
    """Return a note for a title that explains the band; empty for a single run."""
    return "" if len(runs) == 1 else f" {texts('median-and-band', count=len(runs))}"


def plot_losses(
    runs: Sequence[Numbers],
    texts: Texts,
    title: Text,
    *,
    names: Mapping[str, object] | None = None,
    looks: Sequence[int] | None = None,
    window: float = 2.5,
    legend_columns: int = 4,
) -> Figure:
    """Return a figure of the smoothed losses over the iterations.

    Parameters
    ----------
    runs : sequence of Numbers
        One per seed, each with ``train_loss``: for each network the loss of each batch.
    texts : Texts
    title : Text
    names : mapping of str to Text or str, optional
        What to call the networks; by default their names in the catalogue.
    looks : sequence of int, optional
        Number of the colour and the marker of each.
    window : float, default 2.5
        Upper end of the loss axis.
    legend_columns : int, default 4
    """
    figure, panel = new_figure()
    count = max(len(loss) for numbers in runs for loss in numbers["train_loss"].values())
    for i, name in enumerate(runs[0]["train_loss"]):
        smoothed = [smooth_curve(numbers["train_loss"][name]) for numbers in runs]
        label = names[name] if names else texts.name(name)
        draw_curve(panel, None, smoothed, looks[i] if looks else i, str(label))
    titled(panel, f"{title}{seeds_note(runs, texts)}")
    panel.set(xlabel=str(texts("iteration")), xlim=(0, count), ylim=(0, window))
    panel.set_ylabel(folded(texts("batch-loss"), figure, 16 if current_look().narrow else 8))
    legend_below(figure, panel, legend_columns)
    return figure


def over_seeds(runs: Sequence[Numbers], *path: str) -> list[Any]:
    """Return what each run has at the end of a path of keys."""
    found = []
    for numbers in runs:
        value: Any = numbers
        for key in path:
            value = value[key]
        found.append(value)
    return found
