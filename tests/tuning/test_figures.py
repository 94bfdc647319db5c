"""Figures of a study."""

import math

import pytest

from dlskills.plotting import save_figure
from dlskills.tuning import plot_study, search

optuna = pytest.importorskip("optuna")


def mixed(trial):
    if trial.number == 2:
        raise ArithmeticError
    lr = trial.suggest_float("lr", 1e-4, 1, log=True)
    name = trial.suggest_categorical("optimizer", ["sgd", "adam"])
    if name == "sgd":
        trial.suggest_int("batch_size", 10, 100)
    for epoch in range(3):
        trial.report(lr * epoch, epoch)
    return lr


def study(objective, trials):
    return search(objective, trials=trials, storage=None, verbose=False)


def test_a_study_has_three_figures(tmp_path):
    found = study(mixed, 8)
    figures = plot_study(found)
    assert list(figures) == ["tuning-curves", "tuning-rates", "tuning-parallel"]
    assert len(figures["tuning-curves"].axes) == 6  # the best
    lr = found.best_trial.params["lr"]
    assert figures["tuning-curves"].axes[0].get_lines()[0].get_ydata().tolist() == [0, lr, 2 * lr]
    rates = {panel.get_xlabel(): panel for panel in figures["tuning-rates"].axes}
    assert list(rates) == ["lr", "batch size"]  # a categorical hyperparameter has no such panel
    assert rates["lr"].get_xscale() == "log"
    assert rates["batch size"].get_xscale() == "linear"
    panel = figures["tuning-parallel"].axes[0]
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "lr", "optimizer", "batch size", "score",
    ]  # fmt: skip
    texts = {text.get_text() for text in panel.texts}
    assert texts == {"0.0001", "1", "sgd", "adam", "10", "100"}
    assert "7 of 8 trials" in panel.get_title()
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)


def test_a_parallel_line_passes_through_the_values_of_its_trial():
    found = study(lambda trial: trial.suggest_float("lr", 1e-4, 1, log=True), 4)
    figures = plot_study(found)
    assert list(figures) == ["tuning-rates", "tuning-parallel"]  # no scores over time
    lines = figures["tuning-parallel"].axes[0].get_lines()
    heights = sorted(tuple(line.get_ydata()) for line in lines[:4])
    rates = sorted(trial.params["lr"] for trial in found.trials)
    expected = [
        (1 + math.log10(rate) / 4, (rate - rates[0]) / (rates[-1] - rates[0])) for rate in rates
    ]
    for line, values in zip(heights, expected, strict=True):
        assert line == pytest.approx(values)


def test_equal_scores_can_be_drawn(tmp_path):
    figures = plot_study(study(lambda trial: trial.suggest_int("n", 1, 1), 2))
    save_figure(figures["tuning-parallel"], tmp_path, "equal")


def test_curves_are_drawn_at_the_reported_steps():
    def stepwise(trial):
        for epoch in range(4):
            trial.report(epoch, 100 * epoch)
        return trial.suggest_float("lr", 0, 1)

    figure = plot_study(study(stepwise, 2))["tuning-curves"]
    assert list(figure.axes[0].get_lines()[0].get_xdata()) == [0, 100, 200, 300]
    assert figure.axes[0].get_xlabel() == "step"


def test_infinite_scores_are_omitted(tmp_path):
    def sometimes(trial):
        lr = trial.suggest_float("lr", 1e-4, 1, log=True)
        trial.report(-math.inf if trial.number == 1 else lr, 0)
        return {0: -math.inf, 1: math.inf}.get(trial.number, lr)

    figures = plot_study(study(sometimes, 5))
    panel = figures["tuning-parallel"].axes[0]
    assert "3 of 5 trials" in panel.get_title()
    assert len([line for line in panel.get_lines() if len(line.get_xdata()) == 2]) >= 3
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)
    assert plot_study(study(lambda trial: -math.inf, 2)) == {}


def test_without_a_complete_trial_there_are_no_figures():
    def fail(trial):
        raise ArithmeticError

    assert plot_study(study(fail, 1)) == {}


def test_categories_may_be_numbers(tmp_path):
    def categories(trial):
        size = trial.suggest_categorical("batch_size", [32, 64, 128])
        return trial.suggest_float("lr", 1e-4, 1, log=True) * size

    figures = plot_study(study(categories, 6))
    assert list(figures) == ["tuning-rates", "tuning-parallel"]
    rates = {panel.get_xlabel(): panel for panel in figures["tuning-rates"].axes}
    assert rates["batch size"].get_xscale() == "linear"
    assert {"32", "64", "128"} < {t.get_text() for t in figures["tuning-parallel"].axes[0].texts}
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)


@pytest.mark.parametrize("log", [False, True])
def test_ranges_may_differ_between_trials(log):
    def wandering(trial):
        factor = 10.0**-trial.number
        return trial.suggest_float("lr", 1e-3 * factor, 1 * factor, log=log)

    panel = plot_study(study(wandering, 4))["tuning-parallel"].axes[0]
    heights = [line.get_ydata()[0] for line in panel.get_lines()[:4]]
    assert all(0 <= height <= 1 for height in heights)
    assert {text.get_text() for text in panel.texts} == {"1e-06", "1"}


def test_dollar_signs_in_names_and_choices_are_drawn_as_text(tmp_path):
    def costs(trial):
        trial.suggest_categorical("budget_$", ["$5 to $9", r"$\bad$"])
        return trial.suggest_float("lr $x$", 0, 1)

    found = search(costs, trials=4, storage=None, study="$un$ed", verbose=False)
    figures = plot_study(found)
    for name, figure in figures.items():
        _, svg = save_figure(figure, tmp_path, name)
        text = svg.read_text(encoding="utf-8")
        assert ">Study $un$ed: 4 of 4 trials<" in text
        assert ">lr $x$<" in text
    assert all(f">{words}<" in text for words in ("$5 to $9", r"$\bad$", "budget $"))
