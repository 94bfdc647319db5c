"""Trials of a search: their order, ranks and figures."""

import math

import pytest

from dlskills.experiments.trials import (
    Trial,
    best,
    plot_best_curves,
    plot_rates,
    rank_correlation,
)


def trials(count):
    return [
        Trial(i, {"lr": 10.0**-i}, i / count, {"score": [0.1, i / count]}) for i in range(count)
    ]


def test_the_best_come_first_and_the_tie_decides_between_equals():
    scored = [Trial(i, {}, score, {}, tie) for i, (score, tie) in enumerate(
        [(0.5, 1), (0.9, 2), (0.9, 1), (0.9, 1)]
    )]  # fmt: skip
    assert [trial.number for trial in best(scored)] == [2, 3, 1, 0]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [1, 10, 11], 1),
        ([1, 2, 3], [5, 3, 1], -1),
        ([1, 2, 3, 4], [1, 2, 2, 3], 4.5 / math.sqrt(5 * 4.5)),  # equal ones: ranks 1, 2.5, 2.5, 4
        ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),  # 1 - 6 * 4 / (4 * 15)
    ],
)
def test_rank_correlation(x, y, expected):
    assert rank_correlation(x, y) == pytest.approx(expected)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 1, 1]), ([], [])])
def test_where_there_is_no_order_there_is_no_rank_correlation(x, y):
    assert math.isnan(rank_correlation(x, y))


def test_only_the_best_six_are_drawn():
    figure = plot_best_curves(trials(23), "title", "score")
    assert len(figure.axes) == 6
    assert figure.axes[0].get_title().startswith("1. trial 22:")
    assert figure.axes[5].get_title().startswith("6. trial 17:")


@pytest.mark.parametrize("count", [1, 3, 5])
def test_few_trials_can_be_drawn(count):
    assert len(plot_best_curves(trials(count), "title", "score").axes) == count


def test_rates_are_drawn_on_their_scales_where_a_trial_has_them():
    some = [*trials(25), Trial(25, {"momentum": 0.9}, 0.2, {})]
    labels = {"lr": "learning rate", "momentum": "momentum"}
    left, right = plot_rates(some, "title", "score", labels, ["lr"]).axes
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    assert [len(line.get_xdata()) for line in left.get_lines()] == [5, 19, 1]  # the best on top
    assert sum(len(line.get_xdata()) for line in right.get_lines()) == 1


def test_the_legend_counts_the_trials():
    figure = plot_rates(trials(4), "title", "score", {"lr": "a", "n": "b"}, ["lr"])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["best", "the next 3"]


def test_integers_have_integer_ticks():
    whole = [Trial(i, {"units": i + 1}, 0.1 * i, {}) for i in range(4)]
    figure = plot_rates(whole, "title", "score", {"units": "units"}, [])
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert all(tick == int(tick) for tick in ticks)


def test_the_lowest_panel_of_each_column_has_the_epochs():
    figure = plot_best_curves(trials(5), "title", "score")
    figure.draw_without_rendering()
    labelled = [axes.get_xlabel() for axes in figure.axes]
    assert labelled == ["", "", "epoch", "epoch", "epoch"]
    below = [
        any(t.label1.get_visible() for t in axes.xaxis.get_major_ticks()) for axes in figure.axes
    ]
    assert below == [False, False, True, True, True]
