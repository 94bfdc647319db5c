"""Figures of a monitor: histograms of activations, and curves over training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.layers import ACTIVATIONS, Sigmoid, Tanh
from dlskills.plotting import COLORS, new_figure, plain, plot_curves, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlskills.diagnostics.monitor import Monitor

_RANGES: dict[type, tuple[float, float]] = {Sigmoid: (0, 1), Tanh: (-1, 1)}


def _shown(monitor: Monitor) -> list[int]:
    """Return the layers to plot: the activation functions, or all layers if there are none."""
    kinds = tuple(ACTIVATIONS.values())
    layers = monitor.network.layers
    return [i for i, layer in enumerate(layers) if isinstance(layer, kinds)] or [
        *range(len(layers))
    ]


@styled
def histograms(monitor: Monitor) -> Figure:
    """Plot histograms: a row each for the first and the last observation, a column per layer."""
    shown, steps = _shown(monitor), list(monitor.samples)
    size = (max(2.0 * len(shown) + 0.6, 5), 2.2 * len(steps) + 0.5)
    figure, axes = new_figure(len(steps), len(shown), size=size, squeeze=False)
    for row, step, color in zip(axes, steps, COLORS, strict=False):
        for panel, i in zip(row, shown, strict=True):
            _histogram(panel, monitor, step, i, color)
        row[0].set_ylabel(f"step {step}\nfraction of values", fontsize=10)
    for panel, i in zip(axes[-1], shown, strict=True):
        panel.set_xlabel(plain(monitor.layers[i]), fontsize=10)
    figure.suptitle("Activations of each layer")
    return figure


def _histogram(panel: Axes, monitor: Monitor, step: int, i: int, color: str) -> None:
    values = monitor.samples[step][i].astype(np.float64)
    finite = values[np.isfinite(values)]
    zeros = float(np.mean(finite == 0)) if finite.size else 0.0
    title = f"std {np.std(finite):.2g}" if finite.size else "not finite"
    if zeros > 0.02:  # ReLU: the bar at 0 would dwarf all others
        finite, title = finite[finite != 0], f"{title}, {zeros:.0%} are 0"
    window = _RANGES.get(type(monitor.network.layers[i]))
    weights = np.full(finite.shape, 1 / values.size)
    panel.hist(finite, bins=30, range=window, weights=weights, color=color)
    panel.set_ylim(bottom=0)  # even without bars
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=9)
    panel.locator_params(axis="both", nbins=3)
    panel.yaxis.set_major_formatter("{x:.1%}")


@styled
def percentiles(monitor: Monitor) -> Figure:
    """Plot how the outputs of each layer are spread over the steps, a panel per layer."""
    shown, columns = _shown(monitor), 4
    rows = -(-len(shown) // columns)
    size = (max(2.6 * min(len(shown), columns) + 1.2, 5), 2.3 * rows + 0.9)
    figure, axes = new_figure(rows, min(len(shown), columns), size=size, sharex=True, squeeze=False)
    values = monitor.percentiles()
    for panel, i in zip(axes.flat, shown, strict=False):
        lowest, low, median, high, highest = values[:, i].T
        panel.fill_between(
            monitor.steps,
            lowest,
            highest,
            color=COLORS[0],
            alpha=0.2,
            linewidth=0,
            label="5 to 95 %",
        )
        panel.fill_between(
            monitor.steps, low, high, color=COLORS[0], alpha=0.4, linewidth=0, label="25 to 75 %"
        )
        panel.plot(monitor.steps, median, color=COLORS[0], label="median")
        panel.set_title(plain(monitor.layers[i]), fontsize=10)
        panel.tick_params(labelsize=9)
    for panel in axes.flat[len(shown) :]:
        panel.remove()
    for panel in axes.flat[max(len(shown) - columns, 0) : len(shown)]:
        panel.set_xlabel("step", fontsize=10)
        panel.tick_params(labelbottom=True)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle("Percentiles of activations")
    return figure


@styled
def curves(monitor: Monitor) -> Figure:
    """Plot the spread of activations and gradients, dead or saturated units, and update sizes."""
    figure, axes = new_figure(2, 2, size=(12, 7), sharex=True)
    (activations, gradients), (shares, updates) = axes
    shown = _shown(monitor)
    _panel(activations, monitor, "activation_std", shown, "standard deviation", log=True)
    activations.set_title("Activations")
    _panel(gradients, monitor, "gradient_std", shown, "standard deviation", log=True)
    gradients.set_title("Gradients with respect to activations")
    dead, saturated = monitor.history("dead"), monitor.history("saturated")
    _draw(shares, monitor, np.where(np.isnan(dead), saturated, dead), shown)
    shares.set(title="Dead units (ReLU) or saturated outputs (others)", ylabel="fraction")
    shares.set_ylim(-0.02, 1.02)
    shares.yaxis.set_major_formatter("{x:.0%}")
    everything = range(len(monitor.layers))
    _panel(
        updates, monitor, "update_ratio", everything, "norm of update / norm of weights", log=True
    )
    updates.set_title("Update-to-weight ratio")
    for panel in axes[1]:
        panel.set_xlabel("step")
    return figure


def _panel(panel: Axes, monitor: Monitor, measure: str, shown: Any, label: str, log: bool) -> None:
    history = monitor.history(measure)
    _draw(panel, monitor, history, shown)
    panel.set_ylabel(label)
    if log and np.any(history[:, list(shown)] > 0):
        panel.set_yscale("log", nonpositive="mask")


def _draw(panel: Axes, monitor: Monitor, history: np.ndarray[Any, Any], shown: Any) -> None:
    with_numbers = [i for i in shown if not np.all(np.isnan(history[:, i]))]
    if not with_numbers:
        panel.text(0.5, 0.5, "no such layer", ha="center", transform=panel.transAxes)
        return
    values = {monitor.layers[i]: history[:, i] for i in with_numbers}
    plot_curves(panel, monitor.steps, values)
    panel.legend(
        fontsize=9, loc="upper left", bbox_to_anchor=(1, 1)
    )  # inside, it would cover curves
