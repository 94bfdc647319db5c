"""Searches: trials, resuming, storages, workers and errors."""

import functools
import math
import subprocess
import sys
import time

import pytest

from dlskills import DivergedError
from dlskills.experiments import Settings, hyperparameters
from dlskills.tuning import TutorialTask, indices, search, worker
from dlskills.tuning import storage as storage_module
from dlskills.tuning.indices import index_of
from dlskills.tuning.objectives import name_of

optuna = pytest.importorskip("optuna")
search_module = sys.modules[
    "dlskills.tuning.search"
]  # the package's attribute of this name is the function


def score(trial):
    return -abs(math.log10(trial.suggest_float("lr", 1e-6, 1e-2, log=True)) + 3)


def params(study):
    return [trial.params for trial in sorted(study.trials, key=index_of)]


def quick(objective=score, **options):
    return search(objective, **{"trials": 5, "storage": None, "verbose": False} | options)


def test_a_random_trial_depends_only_on_seed_and_index():
    study = quick()
    assert params(study) == params(quick())
    assert params(study)[:2] == params(quick(trials=2))
    assert params(study) != params(quick(seed=1))
    rates = [hyperparameters.draw(0, number)["lr"] for number in range(5)]
    assert [trial["lr"] for trial in params(study)] == rates


def test_the_tutorials_task_equals_the_experiment():
    study = quick(TutorialTask(Settings(verbose=False), 2), trials=3, pruner="none")
    numbers = hyperparameters.run(Settings(verbose=False), epochs=2, trials=[[0, 1, 2]])
    for trial, own in zip(study.trials, numbers["trials"].values(), strict=True):
        assert trial.params == own["params"]
        assert trial.value == own["validation_accuracy"]
        assert list(trial.intermediate_values) == [0, 1]
        assert list(trial.intermediate_values.values()) == pytest.approx(
            own["curves"]["validation"]
        )


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_in_two_calls_equals_one_in_a_single_call(tmp_path, sampler):
    options = {"sampler": sampler, "study": "own"}
    first = quick(trials=12, storage=tmp_path / "a.db", **options)
    assert len(first.trials) == 12
    whole = quick(trials=15, **options)
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}"
    gone_on = quick(trials=15, storage=url, **options)
    assert params(gone_on) == params(whole)
    assert len(quick(trials=15, storage=url, **options).trials) == 15  # nothing left to do


def finished(study):
    ends = ("COMPLETE", "PRUNED")
    return [(trial.params, trial.value) for trial in study.trials if trial.state.name in ends]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError])
def test_an_interrupted_trial_is_repeated(tmp_path, sampler, error):
    begun = []

    def interrupted(trial):
        begun.append(trial)
        value = score(trial)
        if len(begun) in (3, 14):
            raise error
        return value

    options = {"trials": 16, "sampler": sampler, "storage": tmp_path / "a.db"}
    for _ in range(2):
        with pytest.raises(error):
            quick(interrupted, **options)
    gone_on = quick(interrupted, **options)
    assert len(begun) == 18
    assert finished(gone_on) == finished(quick(**options | {"storage": None}))


def test_the_tutorials_task_keeps_its_trial_index_after_an_interruption(tmp_path, monkeypatch):
    task, options = TutorialTask(Settings(verbose=False), 2), {"trials": 3, "pruner": "none"}
    whole = finished(quick(task, **options))
    train = hyperparameters.train
    monkeypatch.setattr(hyperparameters, "train", lambda *args: 1 / "interrupted")
    with pytest.raises(TypeError):
        quick(task, storage=tmp_path / "a.db", **options)
    monkeypatch.setattr(hyperparameters, "train", train)
    assert finished(quick(task, storage=tmp_path / "a.db", **options)) == whole


HALF_A_SEARCH = """
import os, sys
from dlskills.tuning import search
from dlskills.tuning import storage
storage._PULSE = 1

def score(trial):
    if trial.number == 2:
        os._exit(9)
    return trial.suggest_float("lr", 1e-4, 1, log=True)

search(score, trials=4, storage=sys.argv[1], verbose=False)
"""


def test_the_trial_of_a_killed_process_is_repeated(tmp_path, monkeypatch, capsys):
    def score(trial):
        return trial.suggest_float("lr", 1e-4, 1, log=True)

    monkeypatch.setattr(storage_module, "_PULSE", 1)
    monkeypatch.setattr(search_module, "_PATIENCE", 0.5)
    monkeypatch.setattr(worker.Worker, "check_same", lambda self: None)
    storage = tmp_path / "a.db"
    done = subprocess.run([sys.executable, "-c", HALF_A_SEARCH, storage], check=False, timeout=120)
    assert done.returncode == 9
    gone_on = search(score, trials=4, storage=storage)
    assert [trial.state.name for trial in gone_on.trials] == [
        "COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE",
    ]  # fmt: skip
    whole = finished(quick(score, trials=4))
    assert sorted(value for _, value in finished(gone_on)) == sorted(value for _, value in whole)
    assert "waiting for trials in other processes: 2" in capsys.readouterr().out


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "KeyError"])
def test_the_next_search_does_not_wait_for_trials_ended_by_an_error(tmp_path, error):
    path, storage = tmp_path / "ended.py", tmp_path / "a.db"
    path.write_text(ENDED.replace("ERROR", error), encoding="utf-8")
    first = subprocess.run([sys.executable, path, storage], check=False, timeout=120)
    assert first.returncode != 0
    study = optuna.load_study(study_name="dlskills", storage=f"sqlite:///{storage.as_posix()}")
    states = [trial.state.name for trial in study.trials]
    assert "RUNNING" not in states
    assert "FAIL" in states  # including that of the other process, which would take a minute
    (tmp_path / "fine").touch()
    subprocess.run([sys.executable, path, storage], check=True, timeout=50)
    assert sum(trial.state.name == "COMPLETE" for trial in study.trials) == 2


ENDED = """
import sys, time
from pathlib import Path
from dlskills.tuning import search

def score(trial):
    lr = trial.suggest_float("lr", 1e-4, 1, log=True)
    if not Path(__file__).with_name("fine").exists():
        begun = Path(__file__).with_name(f"begun-{trial.number}")
        begun.touch()
        if trial.number == 0:
            while not begun.with_name("begun-1").exists():
                time.sleep(0.05)
            raise ERROR
        time.sleep(60)
    return lr

if __name__ == "__main__":
    search(score, trials=2, storage=sys.argv[1], jobs=2, verbose=False)
"""


ONE_OF_TWO = """
import sys, time
from dlskills.tuning import search

def score(trial):
    time.sleep(0.3)
    return trial.suggest_float("lr", 1e-4, 1, log=True)

if __name__ == "__main__":
    study = search(score, trials=10, storage=sys.argv[1], verbose=False)
    print(sum(trial.state.name == "COMPLETE" for trial in study.trials))
"""


def test_two_searches_share_the_trials_of_one_study(tmp_path):
    path, storage = tmp_path / "one_of_two.py", tmp_path / "a.db"
    path.write_text(ONE_OF_TWO, encoding="utf-8")
    storage_made = quick(
        trials=1, storage=tmp_path / "other.db"
    )  # imports and creates everything once
    assert storage_made
    running = []
    for _ in range(2):
        running.append(
            subprocess.Popen([sys.executable, path, storage], stdout=subprocess.PIPE, text=True)
        )
        time.sleep(2)  # the first one creates the tables
    counts = [int(process.communicate(timeout=120)[0]) for process in running]
    assert counts == [10, 10]


def test_of_two_processes_that_start_the_same_trial_one_gives_way(tmp_path, monkeypatch):
    # Both find the index free, then the other process is faster.
    done = []
    monkeypatch.setattr(indices, "running", lambda study: set())

    def meanwhile(trial):
        done.append(trial.number)
        if len(done) == 1:  # while this trial runs, another process tries the same index
            url = f"sqlite:///{tmp_path / 'a.db'}"
            other = worker.Worker(score, url, "dlskills", 0, "random", "none", "another call")
            assert not other.run_one(index_of(trial))
        return score(trial)

    study = quick(meanwhile, trials=3, storage=tmp_path / "a.db")
    assert [trial.state.name for trial in study.trials] == [
        "COMPLETE",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]
    assert [index_of(trial) for trial in study.trials] == [0, 0, 1, 2]
    assert done == [0, 2, 3]


def test_an_invalid_storage_is_explained(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database " * 100, encoding="utf-8")
    with pytest.raises(ValueError, match="notes.txt' can't be opened: .*not a database.*. Pass"):
        quick(storage=tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"'mysql://me:\*\*\*@a/b' can't be opened: .*. Pass the"):
        quick(storage="mysql://me:secret@a/b")
    with pytest.raises(ValueError, match="'no such ://' can't be opened: .*. Pass the name"):
        quick(storage="no such ://")


@pytest.mark.parametrize("storage", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_urls_of_memory_keep_the_study_in_memory(storage):
    assert params(quick(trials=2, storage=storage)) == params(quick(trials=2))
    with pytest.raises(ValueError, match="storage must be given for several jobs"):
        quick(storage=storage, jobs=2)


def test_an_error_in_the_users_code_is_noted_with_its_line():
    with pytest.raises(TypeError, match="must return a number") as caught:
        quick(lambda trial: None)
    assert caught.value.__notes__[0] == "in trial 0, with {}"
    assert "return NaN or raise ArithmeticError" in caught.value.__notes__[1]
    with pytest.raises(KeyError) as caught:
        quick(lambda trial: {}[trial.suggest_int("n", 3, 3)])
    note, _ = caught.value.__notes__
    assert note.startswith("in trial 0, with {'n': 3}, at ")
    assert "test_search.py:" in note


def test_a_score_that_is_not_a_number_is_explained():
    with pytest.raises(TypeError, match="the objective must return a number, got None"):
        quick(lambda trial: None)
    study = quick(lambda trial: math.nan if trial.number else 1.0, trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "FAIL"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_all_trials_are_different(sampler):
    assert len({trial["lr"] for trial in params(quick(trials=15, sampler=sampler))}) == 15


def test_tpe_learns_and_random_does_not():
    def mean(sampler):
        study = quick(trials=30, sampler=sampler)
        return sum(trial.value for trial in study.trials[15:]) / 15

    assert mean("tpe") > mean("random") + 0.2


def test_the_median_pruner_stops_trials_below_the_median():
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


def test_random_values_cover_their_ranges():
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


def test_diverged_trials_count_and_other_errors_end_the_search(tmp_path):
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


def test_several_processes_give_bit_identical_results(tmp_path):
    task = TutorialTask(Settings(verbose=False), 10)
    options = {"trials": 4, "pruner": "none"}
    alone = quick(task, **options)
    together = quick(task, jobs=2, storage=tmp_path / "a.db", **options)
    for a, b in zip(alone.trials, sorted(together.trials, key=index_of), strict=True):
        assert (a.params, a.value, a.intermediate_values) == (
            b.params, b.value, b.intermediate_values,
        )  # fmt: skip


def test_an_objective_that_workers_cannot_import_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Define it with def in a module, or use jobs=1"):
        quick(lambda trial: 1.0, jobs=2, storage=tmp_path / "a.db")


def test_a_study_of_the_task_under_its_old_name_is_continued(tmp_path):
    task, options = TutorialTask(Settings(verbose=False), 1), {"storage": tmp_path / "a.db"}
    study = quick(task, trials=1, **options)
    noted = indices.notes(study)
    old = noted["objective"].replace("the tutorial's task", "the page's task")
    assert old != noted["objective"]
    indices.note(study, objective=old)
    assert len(quick(task, trials=2, **options).trials) == 2


def test_several_processes_share_a_study(own_file, tmp_path):
    options = {"trials": 6, "storage": tmp_path / "shared.db"}
    study = quick(f"{own_file}:score", jobs=2, **options)
    # a trial started twice at the same time fails once, so only complete ones are compared
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(map(index_of, complete)) == list(range(6))
    alone = quick(f"{own_file}:score", trials=6)
    assert [trial.params for trial in sorted(complete, key=index_of)] == params(alone)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sampler": "grid"}, "sampler 'grid' is not known. Choose from: 'random', 'tpe'"),
        ({"pruner": "mean"}, "pruner 'mean' is not known; did you mean 'median'"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"jobs": 2}, "storage must be given for several jobs"),
        ({"objective": "score"}, "must be 'module:function'"),
    ],
)
def test_invalid_arguments_are_explained(wrong, message):
    with pytest.raises(ValueError, match=message):
        quick(**wrong)


def test_a_study_is_not_continued_with_another_seed_or_objective(tmp_path):
    storage = tmp_path / "tuning.db"
    quick(trials=1, storage=storage)
    with pytest.raises(ValueError, match="must be continued with the seed 0, got 1. Use that, or"):
        quick(trials=2, storage=storage, seed=1)
    with pytest.raises(ValueError, match="must be continued with the objective 'score', got"):
        quick(TutorialTask(Settings()), trials=2, storage=storage)
    assert len(quick(trials=2, storage=storage, seed=1, study="other").trials) == 2


def power(trial, exponent=1):
    return trial.suggest_float("x", 0, 1) ** exponent


OBJECTIVES = {
    "one": lambda: lambda trial: trial.suggest_float("x", 0, 1),
    "two": lambda: lambda trial: trial.suggest_float("x", 0, 2),
    "three": lambda: lambda trial: -trial.suggest_float("x", 0, 1),
    "partial, 2": lambda: functools.partial(power, exponent=2),
    "partial, 3": lambda: functools.partial(power, exponent=3),
    "tutorial, seed 1": lambda: TutorialTask(Settings(1)),
    "tutorial, seed 2": lambda: TutorialTask(Settings(2)),
    "tutorial, 9 epochs": lambda: TutorialTask(Settings(1), 9),
}


def test_names_of_objectives_are_distinct_and_stable():
    names = {key: name_of(make()) for key, make in OBJECTIVES.items()}
    assert len(set(names.values())) == len(OBJECTIVES)
    assert names == {key: name_of(make()) for key, make in OBJECTIVES.items()}
    assert name_of(TutorialTask(Settings(device="cpu"))) == name_of(
        TutorialTask(Settings(device="cuda"))
    )


def test_a_study_is_not_continued_with_another_lambda(tmp_path):
    quick(OBJECTIVES["one"](), trials=1, storage=tmp_path / "a.db")
    assert len(quick(OBJECTIVES["one"](), trials=2, storage=tmp_path / "a.db").trials) == 2
    with pytest.raises(ValueError, match="Use that, or choose another name for the study"):
        quick(OBJECTIVES["two"](), trials=3, storage=tmp_path / "a.db")


def test_progress_shows_the_state_of_the_search(capsys, tmp_path):
    storage = tmp_path / "tuning.db"
    quick(trials=1, storage=storage, verbose=True)
    assert capsys.readouterr().out.startswith("study dlskills: 1 done, best: -")
    quick(trials=2, storage=storage, verbose=True)
    out = capsys.readouterr().out
    assert out.startswith("study dlskills: resumes after 1 trial\nstudy dlskills: 2 done, best")
