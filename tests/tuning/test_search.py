"""Searches: how many trials, which ones, over which storage, and what is refused."""

import math

import pytest

from dlskills import DivergedError
from dlskills.experiments import Settings, hyperparameters
from dlskills.tuning import PageTask, search

optuna = pytest.importorskip("optuna")


def score(trial):
    return -abs(math.log10(trial.suggest_float("lr", 1e-6, 1e-2, log=True)) + 3)


def params(study):
    return [trial.params for trial in study.trials]


def quick(objective=score, **options):
    return search(objective, **{"trials": 5, "storage": None, "verbose": False} | options)


def test_a_trial_depends_on_seed_and_number_alone():
    study = quick()
    assert params(study) == params(quick())
    assert params(study)[:2] == params(quick(trials=2))
    assert params(study) != params(quick(seed=1))
    rates = [hyperparameters.draw(0, number)["lr"] for number in range(5)]
    assert [trial["lr"] for trial in params(study)] == rates


def test_the_pages_task_is_the_experiment():
    study = quick(PageTask(Settings(verbose=False), 2), trials=3, pruner="none")
    numbers = hyperparameters.run(Settings(verbose=False), epochs=2, trials=[[0, 1, 2]])
    for trial, own in zip(study.trials, numbers["trials"].values(), strict=True):
        assert trial.params == own["params"]
        assert trial.value == own["validation_accuracy"]
        assert list(trial.intermediate_values) == [0, 1]
        assert list(trial.intermediate_values.values()) == pytest.approx(
            own["curves"]["validation"]
        )


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path, sampler):
    options = {"sampler": sampler, "study": "own"}
    first = quick(trials=12, storage=tmp_path / "a.db", **options)
    assert len(first.trials) == 12
    whole = quick(trials=15, **options)
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}"
    gone_on = quick(trials=15, storage=url, **options)
    assert params(gone_on) == params(whole)
    assert len(quick(trials=15, storage=url, **options).trials) == 15  # there is nothing left


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_two_trials_are_the_same(sampler):
    assert len({trial["lr"] for trial in params(quick(trials=15, sampler=sampler))}) == 15


def test_tpe_learns_and_random_does_not():
    def mean(sampler):
        study = quick(trials=30, sampler=sampler)
        return sum(trial.value for trial in study.trials[15:]) / 15

    assert mean("tpe") > mean("random") + 0.2


def test_the_median_gives_up_trials_that_are_below_it():
    def stepwise(trial):
        level = trial.suggest_float("level", 0, 1)
        for step in range(20):
            trial.report(level, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return level

    states = [trial.state.name for trial in quick(stepwise, trials=40).trials]
    assert set(states[:10]) == {"COMPLETE"}
    assert 5 < states.count("PRUNED") < 30
    pruned = next(t for t in quick(stepwise, trials=40).trials if t.state.name == "PRUNED")
    assert max(pruned.intermediate_values) == 10
    assert {t.state.name for t in quick(stepwise, trials=40, pruner="none").trials} == {"COMPLETE"}


def test_random_values_of_every_kind_stay_in_their_ranges():
    def kinds(trial):
        return (
            trial.suggest_float("linear", -2, 3) + trial.suggest_float("stepped", 0, 1, step=0.25)
            + trial.suggest_int("whole", 1, 3) + trial.suggest_int("tens", 10, 50, step=10)
            + trial.suggest_int("log", 1, 1000, log=True)
            + len(trial.suggest_categorical("name", ["a", "bb"]))
        )  # fmt: skip

    seen = params(quick(kinds, trials=60))
    assert {drawn["stepped"] for drawn in seen} == {0, 0.25, 0.5, 0.75, 1}
    assert {drawn["whole"] for drawn in seen} == {1, 2, 3}
    assert {drawn["tens"] for drawn in seen} == {10, 20, 30, 40, 50}
    assert {drawn["name"] for drawn in seen} == {"a", "bb"}
    assert all(type(drawn["log"]) is int and 1 <= drawn["log"] <= 1000 for drawn in seen)
    assert 15 < sum(drawn["log"] < 32 for drawn in seen) < 45
    linear = [drawn["linear"] for drawn in seen]
    assert -2 <= min(linear) < -1.5
    assert 2.5 < max(linear) <= 3


def test_a_trial_that_diverges_counts_and_another_error_ends_the_search(tmp_path):
    def diverge(trial):
        if trial.number == 1:
            raise DivergedError("the loss is nan")
        if trial.number == 4:
            raise KeyError("a mistake")
        return score(trial)

    states = [trial.state.name for trial in quick(diverge, trials=4).trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    with pytest.raises(KeyError, match="a mistake"):
        quick(diverge, trials=6)


def test_several_processes_share_a_study(own_file, tmp_path):
    options = {"trials": 6, "storage": tmp_path / "shared.db"}
    study = quick(f"{own_file}:score", jobs=2, **options)
    assert sorted(trial.number for trial in study.trials) == list(range(6))
    alone = quick(f"{own_file}:score", trials=6)
    assert params(study) == params(alone)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sampler": "grid"}, "sampler 'grid' is not known; known are: 'random', 'tpe'"),
        ({"pruner": "mean"}, "pruner 'mean' is not known; did you mean 'median'"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"jobs": 2}, "several jobs need a storage to share"),
        ({"objective": "score"}, "must be 'module:function'"),
    ],
)
def test_mistakes_are_explained(wrong, message):
    with pytest.raises(ValueError, match=message):
        quick(**wrong)


def test_studies_of_different_kinds_are_not_mixed(tmp_path):
    storage = tmp_path / "tuning.db"
    quick(trials=1, storage=storage)
    with pytest.raises(ValueError, match="is of seed 0, not 1; give that, or another name"):
        quick(trials=2, storage=storage, seed=1)
    with pytest.raises(ValueError, match="is of objective 'score', not"):
        quick(PageTask(Settings()), trials=2, storage=storage)
    assert len(quick(trials=2, storage=storage, seed=1, study="other").trials) == 2


def test_progress_says_where_the_search_stands(capsys, tmp_path):
    storage = tmp_path / "tuning.db"
    quick(trials=1, storage=storage, verbose=True)
    assert capsys.readouterr().out.startswith("study dlskills: 1 done, the best: -")
    quick(trials=2, storage=storage, verbose=True)
    out = capsys.readouterr().out
    assert out.startswith("study dlskills: goes on from 1 trials\nstudy dlskills: 2 done, the best")
