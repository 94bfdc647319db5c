"""Objectives: functions given by name, and the tutorial's task."""

import pickle
import sys
import types

import pytest

from dlskills.experiments import Settings
from dlskills.tuning import TutorialTask, load_objective


def test_a_function_is_loaded_from_a_file(own_file):
    score = load_objective(f"{own_file}:score")
    assert score(types.SimpleNamespace(suggest_float=lambda *_, log: 0.01)) == 0


def test_a_function_is_loaded_from_a_module_in_the_working_folder(own_file, monkeypatch):
    monkeypatch.chdir(own_file.parent)
    monkeypatch.syspath_prepend("")  # restores sys.path afterwards
    own_file.rename(own_file.parent / "objective_of_this_test.py")
    assert load_objective("objective_of_this_test:score").__doc__ == "Best at lr = 0.01."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("score", "must be 'module:function' or 'file.py:function', got 'score'"),
        (":score", "must be 'module:function'"),
        ("my.py:", "must be 'module:function'"),
        ("there/is/none.py:score", "the file of the objective, .*, does not exist"),
        ("no_such_module.at_all:score", "the module of the objective, 'no_such.*', does not exist"),
        ("math:no_such_function", "math has no function 'no_such_function'. Choose from: "),
    ],
)
def test_mistakes_in_a_name_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        load_objective(name)


def test_a_name_that_is_not_a_function_is_refused(own_file):
    with pytest.raises(ValueError, match="no function 'NUMBER'. Choose from: score"):
        load_objective(f"{own_file}:NUMBER")


def test_a_similar_function_name_is_suggested(own_file):
    own_file.write_text("from math import sqrt\n\ndef score(trial):\n    return 1\n")
    with pytest.raises(ValueError, match="'scor'; did you mean 'score'. Choose from: score$"):
        load_objective(f"{own_file}:scor")


def test_a_file_may_define_dataclasses_and_import_modules_next_to_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend("")  # restores sys.path afterwards
    (tmp_path / "beside_this_test.py").write_text("BASE = 2\n")
    own = tmp_path / "objective_with_parts.py"
    own.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from beside_this_test import BASE\n\n@dataclass\nclass Result:\n    score: float\n\n"
        "def score(trial):\n    return Result(BASE)\n"
    )
    result = load_objective(f"{own}:score")(None)
    assert pickle.loads(pickle.dumps(result)).score == 2


@pytest.mark.parametrize("name", ["json", "statistics"])
def test_a_file_does_not_replace_a_module_of_the_same_name(tmp_path, monkeypatch, name):
    import json
    import statistics

    monkeypatch.syspath_prepend("")
    own = tmp_path / f"{name}.py"
    own.write_text("def score(trial):\n    return 3\n")
    assert load_objective(f"{own}:score")(None) == 3
    assert sys.modules[name] is {"json": json, "statistics": statistics}[name]


def test_a_file_that_fails_leaves_no_module(own_file):
    own_file.write_text("1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load_objective(f"{own_file}:score")
    assert set(sys.modules) == before


def test_a_missing_import_inside_the_module_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_objective.py").write_text("import no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_objective("broken_objective:score")


def test_the_tutorials_task_can_be_pickled():
    task = TutorialTask(Settings(3), 7)
    assert pickle.loads(pickle.dumps(task)) == task


def test_the_tutorials_task_is_pruned_when_the_pruner_says_so():
    optuna = pytest.importorskip("optuna")
    reported = []
    trial = types.SimpleNamespace(
        number=0,
        user_attrs={},
        suggest_float=lambda name, low, high, log: high,
        report=lambda score, epoch: reported.append(epoch),
        should_prune=lambda: reported[-1] == 1,
    )
    with pytest.raises(optuna.TrialPruned):
        TutorialTask(Settings(verbose=False), 9)(trial)
    assert reported == [0, 1]
