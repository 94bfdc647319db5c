"""Unusual studies and storages, and workers that are killed."""

import os
import re
import subprocess
import sys

import pytest

from dlskills.tuning import StudyError, indices, search
from dlskills.tuning import storage as storage_module

optuna = pytest.importorskip("optuna")


def quick(objective, **options):
    return search(objective, **{"trials": 3, "storage": None, "verbose": False} | options)


def rate(trial):
    return trial.suggest_float("lr", 0, 1)


def complete(study):
    return [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]


# The user's attributes


@pytest.mark.parametrize("name", ["place", "error", "call", "objective", "seed", "dlskills"])
@pytest.mark.parametrize("value", [0, "text", None, [1], {"place": 1}])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_users_attributes_do_not_interfere(name, value, sampler):
    def noted(trial):
        trial.set_user_attr(name, value)
        trial.study.set_user_attr(name, value)
        if trial.number == 1:
            raise ArithmeticError("broken")
        return rate(trial)

    def plain(trial):
        if trial.number == 1:
            raise ArithmeticError("broken")
        return rate(trial)

    study = quick(noted, sampler=sampler)
    assert complete(study) == complete(quick(plain, sampler=sampler))
    assert [indices.index_of(trial) for trial in study.trials] == [0, 1, 2]
    assert indices.errors(study) == {1: "ArithmeticError: broken"}
    assert all(trial.user_attrs[name] == value for trial in study.trials)


def test_a_study_with_the_users_attributes_is_continued(tmp_path):
    def noted(trial):
        for name in ("place", "error", "call"):
            trial.set_user_attr(name, 0)
        trial.study.set_user_attr("seed", "mine")
        return rate(trial)

    quick(noted, storage=tmp_path / "a.db")
    study = quick(noted, storage=tmp_path / "a.db", trials=5)
    assert complete(study) == complete(quick(rate, trials=5))


# Directions


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (["minimize"], "'theirs' must be \"maximize\", got minimize"),
        (["maximize", "maximize"], r"got 2 directions \(maximize, maximize\)"),
        (["minimize", "maximize", "minimize"], "got 3 directions"),
    ],
)
def test_a_study_with_another_direction_is_refused(tmp_path, directions, message):
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}"
    theirs = optuna.create_study(study_name="theirs", storage=url, directions=directions)
    with pytest.raises(StudyError, match=message):
        quick(rate, storage=url, study="theirs")
    assert theirs.trials == []
    assert theirs.user_attrs == {}
    assert len(quick(rate, storage=url, study="ours").trials) == 3


def test_a_study_created_to_maximize_is_continued(tmp_path):
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}"
    optuna.create_study(study_name="theirs", storage=url, direction="maximize")
    assert len(quick(rate, storage=url, study="theirs").trials) == 3


# Paths


NAMES = ["ok?a", "ok?b", "50%", "a#b", "%20", "{x}", "a&b=c", "x;y", "ü 中", "a:b@c", "}", "+", "~"]


def test_each_file_holds_its_own_study(tmp_path):
    for trials, name in enumerate(NAMES, 1):
        study = quick(rate, storage=tmp_path / name / "tuning?%#{}.db", trials=trials)
        assert len(study.trials) == trials
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert [path.name for path in (tmp_path / name).iterdir()] == ["tuning?%#{}.db"]


def test_a_tilde_is_expanded(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    quick(rate, storage="~/x.db")
    (home / "my.py").write_text("def score(trial):\n    return trial.suggest_float('lr', 0, 1)\n")
    assert len(quick("~/my.py:score").trials) == 3
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == ["my.py", "x.db"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_urls_are_not_changed():
    for url in ("mysql://me:a%20b@host/name?x=1", "sqlite:///a.db", "postgresql+pg8000:///x"):
        assert storage_module.url_of(url) == url


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/x.*Choose another with --storage"):
        quick(rate, storage=tmp_path / "file" / "x" / "a.db")


# A full disk


FULL = """
import resource, signal
from pathlib import Path

def score(trial):
    if trial.number == 2:  # acts like a full disk
        size = Path("a.db").stat().st_size
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    trial.set_user_attr("long", "x" * 2000)
    return trial.suggest_float("lr", 0, 1)
"""


@pytest.mark.slow  # starts processes
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_database_that_fails_during_the_search_is_named_and_continued(tmp_path, jobs):
    (tmp_path / "full.py").write_text(FULL)
    command = [sys.executable, "-m", "dlskills", "tune", "full.py:score", "--trials", "4",
               "--storage", "a.db", "--jobs", str(jobs)]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: the storage 'sqlite:.*a\.db' can't be read or written: .*disk.*\. Free disk .*\n",
        done.stderr,
    )
    (tmp_path / "full.py").write_text(FULL.replace("trial.number == 2", "False"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert "4 complete" in done.stdout


def test_a_storage_error_without_a_message_is_named_by_its_kind():
    with (
        pytest.raises(OSError, match=r"a\.db' can't be read or written: TimeoutError\. Free"),
        storage_module.named_errors("sqlite:///a.db"),
    ):
        raise optuna.exceptions.StorageInternalError("the operation failed") from TimeoutError()


# Workers


KILLED = """
import os, signal, sys, time
from pathlib import Path
from dlskills.tuning import search

def score(trial):
    if trial.number == 1:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        time.sleep(60)
    return trial.suggest_float("lr", 0, 1)

if __name__ == "__main__":
    search(score, trials=4, storage=sys.argv[1], jobs=2, verbose=False)
"""


def run(code, *args, stdin=False, cwd=None):
    command = [sys.executable, "-" if stdin else "-c", *([] if stdin else [code]), *map(str, args)]
    return subprocess.run(
        command, input=code if stdin else None, capture_output=True, text=True, timeout=300, cwd=cwd
    )


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_killed_worker_is_named_in_one_line(tmp_path, name):
    path, storage = tmp_path / "killed.py", tmp_path / "a.db"
    path.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, path, storage, name], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dlskills.processes.WorkerLostError: worker ")
    assert f"was killed ({name})" in last
    assert "memory" in last
    assert "--jobs" in last
    url = f"sqlite:///{storage.as_posix()}"
    states = [t.state.name for t in optuna.load_study(study_name="dlskills", storage=url).trials]
    assert "RUNNING" not in states


@pytest.mark.slow
def test_the_command_says_that_the_same_command_resumes(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import os, signal\n\ndef score(trial):\n    if trial.number == 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n    return trial.suggest_float('x', 0, 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "dlskills", "tune", "mine.py:score", "--trials", "3", "--jobs", "2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: worker ")
    assert done.stderr.endswith("kept in the study; the same command will resume from there\n")
    assert done.stderr.count("\n") == 1


NOTEBOOK = """
import functools
from dlskills.tuning import search

def score(trial, factor=1):
    return factor * trial.suggest_float("lr", 0, 1)

class Own:
    def __call__(self, trial):
        return 1.0

for objective in (score, functools.partial(score, factor=2), Own(), lambda trial: 1.0):
    try:
        search(objective, trials=2, storage="a.db", jobs=2, verbose=False)
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("stdin", [True, False])
def test_functions_defined_in_a_notebook_are_refused_like_lambdas(tmp_path, stdin):
    done = run(NOTEBOOK, stdin=stdin, cwd=tmp_path)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.startswith(
            "with several jobs, other processes must be able to import the objec"
        )
        assert line.endswith("Define it with def in a module, or use jobs=1")
    assert "score is defined in a notebook or on standard input" in lines[0]
    assert list(tmp_path.iterdir()) == []


GUARDED = """
from dlskills.tuning import search

if __name__ == "__main__":
    def score(trial):
        return trial.suggest_float("lr", 0, 1)

    search(score, trials=2, storage="a.db", jobs=2, verbose=False)
"""


@pytest.mark.slow
def test_a_function_that_workers_cannot_find_is_explained(tmp_path):
    (tmp_path / "guarded.py").write_text(GUARDED)
    done = subprocess.run(
        [sys.executable, "guarded.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: with several jobs, other processes must be able to import")
