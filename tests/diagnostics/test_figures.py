"""Figures of a monitor: their contents, and that they can be saved."""

import base64
import re

import numpy as np
import pytest

from dlskills import Adam, Affine, MultiLayerNet, Sequential
from dlskills.diagnostics import Monitor
from dlskills.plotting import plain, save_figure

X = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
T = np.arange(50) % 3


def observed(network, steps=3):
    monitor, optimizer = Monitor(network, every=1), Adam(lr=0.01)
    for _ in range(steps):
        optimizer.update(network.params, network.gradient(X, T))
        monitor.observe(X, T)
    return monitor


@pytest.fixture(scope="module")
def monitor():
    return observed(MultiLayerNet(6, [20, 10], 3, seed=0))


def test_histograms_show_the_first_and_last_activations(monitor):
    figure = monitor.plot()["histograms"]
    assert len(figure.axes) == 4
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["layer 2 (ReLU)", "layer 4 (ReLU)"]
    assert [axes.get_ylabel()[:6] for axes in figure.axes[::2]] == ["step 0", "step 3"]
    for axes, values in zip(figure.axes[:2], (monitor.samples[0][1], monitor.samples[0][3]),
                            strict=True):  # fmt: skip
        zeros = np.mean(values == 0)
        assert axes.get_title() == f"std {np.std(values.astype(float)):.2g}, {zeros:.0%} are 0"
        # the bars show nonzero values as fractions of all values
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1 - zeros)


def test_percentiles_show_the_spread_of_each_activation_over_the_steps(monitor):
    figure = monitor.plot()["percentiles"]
    values = monitor.percentiles()
    shown = [i for i, name in enumerate(monitor.layers) if plain(name) in titles_of(figure)]
    assert len(shown) == len(figure.axes)
    for panel, i in zip(figure.axes, shown, strict=True):
        (median,) = panel.get_lines()
        np.testing.assert_array_equal(median.get_xdata(), monitor.steps)
        np.testing.assert_array_equal(median.get_ydata(), values[:, i, 2])
        outer, inner = (band.get_datalim(panel.transData) for band in panel.collections)
        assert (outer.ymin, outer.ymax) == (values[:, i, 0].min(), values[:, i, 4].max())
        assert (inner.ymin, inner.ymax) == (values[:, i, 1].min(), values[:, i, 3].max())


def titles_of(figure):
    return [panel.get_title() for panel in figure.axes]


def test_curves_show_the_measures_over_the_steps(monitor):
    figure = monitor.plot()["curves"]
    measures = ("activation_std", "gradient_std", "dead", "update_ratio")
    for axes, measure, layers in zip(
        figure.axes, measures, ([1, 3], [1, 3], [1, 3], [0, 2, 4]), strict=True
    ):
        assert [line.get_label() for line in axes.get_lines()] == [
            monitor.layers[i] for i in layers
        ]
        for line, i in zip(axes.get_lines(), layers, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3])
            np.testing.assert_array_equal(line.get_ydata(), monitor.history(measure)[:, i])
        assert axes.get_ylabel()


@pytest.mark.slow
def test_figures_of_one_observation_can_be_saved(tmp_path):
    network = MultiLayerNet(6, [5], 3, "sigmoid", seed=0)
    for name, figure in observed(network, 1).plot().items():
        save_figure(figure, tmp_path, name)


@pytest.mark.slow
def test_figures_without_activations_and_after_divergence_can_be_saved(tmp_path):
    network = Sequential([Affine(6, 3)], seed=0)
    assert len(observed(network).plot()["histograms"].axes) == 2
    network.params["W1"] = np.full((6, 3), np.nan)
    monitor = Monitor(network)
    monitor.observe(X, T)
    figures = monitor.plot()
    assert figures["histograms"].axes[0].get_title() == "not finite"
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)


@pytest.mark.slow
def test_notebooks_show_the_figures(monitor):
    shown = monitor.plot()._repr_html_()
    for name, image in re.findall('<img alt="(.*?)" src="data:image/png;base64,(.*?)">', shown):
        assert name in ("histograms", "percentiles", "curves")
        assert base64.b64decode(image).startswith(b"\x89PNG")
    assert shown.count("<img") == 3
