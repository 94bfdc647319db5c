"""Searches over a grid, and their heat maps."""

import itertools
import math
import re

import numpy as np
import pytest

from dlskills.plotting import save_figure
from dlskills.tuning import StudyError, plot_heat_map, plot_study, search
from dlskills.tuning.grid import parse_grid

optuna = pytest.importorskip("optuna")

GRID = {"lr": [0.1, 0.01, 0.001], "optimizer": ["sgd", "adam"]}


def score(trial):
    name = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    lr = trial.suggest_float("lr", 1e-4, 1, log=True)
    return -abs(math.log10(lr) + 2) + (0.5 if name == "adam" else 0.0)


def grid_search(objective=score, grid=GRID, **options):
    return search(objective, grid=grid, **{"storage": None, "verbose": False} | options)


def points(study):
    return [(trial.params["lr"], trial.params["optimizer"]) for trial in study.trials]


def test_the_trials_are_all_points_of_the_grid_in_order():
    study = grid_search()
    assert points(study) == list(itertools.product(*GRID.values()))
    assert study.best_params == {"lr": 0.01, "optimizer": "adam"}
    assert points(grid_search(trials=4)) == points(study)[:4]


def test_an_interrupted_grid_goes_on(tmp_path):
    storage = tmp_path / "a.db"
    assert len(grid_search(trials=4, storage=storage).trials) == 4
    assert points(grid_search(storage=storage)) == points(grid_search())
    for other in ({"lr": [0.1], "optimizer": ["sgd"]}, None):
        with pytest.raises(StudyError, match="must be continued with the grid"):
            search(score, grid=other, trials=1, storage=storage, verbose=False)
    search(score, trials=1, storage=storage, study="random", verbose=False)
    with pytest.raises(StudyError, match="must be continued with the grid None, got {'lr'"):
        grid_search(storage=storage, study="random")


def test_values_may_be_those_of_an_array_and_integers():
    def sizes(trial):
        return trial.suggest_int("size", 1, 64) * trial.suggest_float("lr", 0, 1)

    study = grid_search(sizes, {"size": np.asarray([8, 64]), "lr": np.linspace(0, 1, 3)})
    assert [trial.params for trial in study.trials] == [
        {"size": size, "lr": lr} for size in (8, 64) for lr in (0.0, 0.5, 1.0)
    ]


@pytest.mark.parametrize(
    ("grid", "options", "error", "message"),
    [
        ({"lr": [0.1]}, {}, ValueError, "grid must have values of 'optimizer', .* got 'lr'"),
        (GRID | {"lr": [2.0]}, {}, ValueError, r"grid\['lr'\] must be within Float.*, got 2.0"),
        (GRID | {"optimizer": ["lion"]}, {}, ValueError, "must be within Categ.*, got 'lion'"),
        (GRID | {"lr": ["fast"]}, {}, ValueError, "must be within Float.*, got 'fast'"),
        (GRID, {"trials": 7}, ValueError, "trials must be at most 6, .* got 7"),
        ({}, {}, TypeError, "grid must be a mapping"),
        ([0.1], {}, TypeError, r"grid must be a mapping .*, got \[0.1\]"),
        ({"lr": 0.1}, {}, TypeError, r"grid\['lr'\] must be a list of values, got 0.1"),
        ({"lr": "abc"}, {}, TypeError, "must be a list of values, got 'abc'"),
        ({"lr": []}, {}, ValueError, "must have at least one value, got none"),
        ({"lr": [0.1, 0.1]}, {}, ValueError, "must have different values"),
        ({"lr": [[0.1]]}, {}, TypeError, "must have numbers or text as values"),
    ],
)
def test_wrong_grids_are_refused(grid, options, error, message):
    with pytest.raises(error, match=message):
        grid_search(grid=grid, **options)


def test_a_grid_is_read_from_text():
    texts = ["lr=1e-3, 0.5", "units=50,100", "nesterov=true,False", "rule=sgd,adam"]
    assert parse_grid(texts) == {
        "lr": [0.001, 0.5], "units": [50, 100], "nesterov": [True, False], "rule": ["sgd", "adam"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "grid must be NAME=VALUE,VALUE,..., such as lr=0.1,0.01, got 'lr'"),
        (["lr="], "got 'lr='"),
        (["=0.1"], "got '=0.1'"),
        (["lr=0.1,,0.2"], "got 'lr=0.1,,0.2'"),
        (["lr=0.1", "lr=0.2"], "each hyperparameter once, got 'lr' twice"),
        (["lr=0.1,1e-1"], "must have different values"),
    ],
)
def test_text_that_is_no_grid_is_refused(texts, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_grid(texts)


# Heat maps


def test_the_heat_map_shows_the_score_of_each_point(tmp_path):
    study = grid_search()
    figures = plot_study(study)
    assert list(figures)[-1] == "tuning-heat-map"
    panel = figures["tuning-heat-map"].axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("lr", "optimizer")
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["adam", "sgd"]
    cells = np.asarray(panel.get_images()[0].get_array())
    np.testing.assert_allclose(cells, [[-0.5, 0.5, -0.5], [-1, 0, -1]], atol=1e-12)
    (frame,) = panel.patches
    assert frame.get_xy() == (0.5, -0.5)  # around the best
    assert [text.get_text() for text in panel.texts] == ["-0.5", "0.5", "-0.5", "-1", "0", "-1"]
    save_figure(figures["tuning-heat-map"], tmp_path, "map")


def test_a_cell_shows_the_best_of_its_trials_and_may_be_empty(tmp_path):
    def three(trial):
        a = trial.suggest_int("a", 0, 1)
        b = trial.suggest_categorical("b", [True, False])
        c = trial.suggest_float("c", 0, 9)
        return -math.inf if a and b else a + c

    study = grid_search(three, {"c": [1, 7, 3], "a": [0, 1], "b": [True, False]})
    assert "tuning-heat-map" not in plot_study(study)  # of three
    figure = plot_heat_map(study, "a", "b")
    cells = np.ma.filled(figure.axes[0].get_images()[0].get_array(), np.nan)
    np.testing.assert_array_equal(cells, [[7, 8], [7, np.nan]])
    save_figure(figure, tmp_path, "map")


def test_wrong_heat_maps_are_refused():
    study = grid_search()
    with pytest.raises(ValueError, match="y 'rate' is not known"):
        plot_heat_map(study, "lr", "rate")
    with pytest.raises(ValueError, match="two hyperparameters, got 'lr' twice"):
        plot_heat_map(study, "lr", "lr")
    random = search(score, trials=40, pruner="none", storage=None, verbose=False)
    with pytest.raises(ValueError, match="at most 30 values, got 40 of 'lr'. Search over a grid"):
        plot_heat_map(random, "lr", "optimizer")
