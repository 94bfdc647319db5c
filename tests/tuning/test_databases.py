"""Searches in PostgreSQL and MariaDB by several workers: `nox -s tests_storage`."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("optuna")

import optuna
from database_servers import PASSWORD, SERVERS, obstacle
from killed_workers import closed, run

from dlskills.tuning import StudyError, search, worker
from dlskills.tuning import storage as storage_module
from dlskills.tuning.indices import index_of
from dlskills.tuning.storage import url_of

pytestmark = pytest.mark.slow


@pytest.fixture(params=SERVERS)
def server(request):
    if problem := obstacle(request.param):
        pytest.skip(problem)
    pytest.importorskip(SERVERS[request.param][-1])
    return request.param


def score(trial):
    return trial.suggest_float("x", 0, 1)


def quick(url, **options):
    return search(score, trials=3, storage=url, verbose=False, **options)


def test_killed_workers_lose_and_double_nothing(server):
    found = run(server, trials=20, workers=2, kills=2, limit=120)
    assert found["killed"] == 2
    assert found["errors"] == ""
    assert found["statuses"] == [0, 0]
    assert found["lost"] == found["doubled"] == []
    assert found["different parameters"] == 20
    assert found["parameters of two trials"] == 0
    assert found["left running"] == 0


def test_a_search_in_a_database_equals_one_in_memory(server):
    with SERVERS[server][0]() as url:
        shared, alone = closed(quick(url)), quick(None).trials
        assert [trial.params for trial in shared] == [trial.params for trial in alone]
        with pytest.raises(StudyError) as caught:
            quick(url.replace("me:", "you:"))
    text = "".join([str(caught.value), repr(caught.value.__cause__)])
    assert "you:***@" in text
    assert PASSWORD not in text


def test_the_command_takes_the_url_from_the_environment(server, tmp_path):
    (tmp_path / "my.py").write_text(
        "def score(trial):\n    return trial.suggest_float('x', 0, 1)\n"
    )
    with SERVERS[server][0]() as url:
        done = subprocess.run(
            [sys.executable, "-m", "dlskills", "tune", "my.py:score", "--trials", "2"],
            env=os.environ | {"DLSKILLS_STORAGE": url}, cwd=tmp_path, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        study = optuna.load_study(study_name="dlskills", storage=url_of(url))
        assert len(closed(study)) == 2
    assert not list(tmp_path.rglob("*.db"))


def test_a_process_that_dies_before_its_first_heartbeat_frees_its_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_module, "_PULSE", 1)
    monkeypatch.setattr(sys.modules["dlskills.tuning.search"], "_PATIENCE", 0.5)
    code = (
        "import os, sys; from dlskills.tuning import search, storage, worker, indices\n"
        "storage._PULSE = 1\n"
        "worker.indices.note_call = lambda *_: os._exit(9)\n"
        "search('my.py:score', trials=2, storage='a.db', verbose=False)\n"
    )
    (tmp_path / "my.py").write_text(
        "def score(trial):\n    return trial.suggest_float('x', 0, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == 9
    study = search("my.py:score", trials=2, storage="a.db", verbose=False)
    states = [(trial.state.name, index_of(trial)) for trial in study.trials]
    assert states == [("FAIL", 0), ("COMPLETE", 1), ("COMPLETE", 0)]


def test_a_worker_whose_trial_was_given_to_another_goes_on(tmp_path):
    url = url_of(tmp_path / "a.db")
    given_up = []

    def slow(trial):
        if not given_up:  # as another process does with a trial without heartbeats
            given_up.append(trial.number)
            state = optuna.trial.TrialState.FAIL
            trial.study._storage.set_trial_state_values(trial._trial_id, state)
        return trial.suggest_float("x", 0, 1) if trial.number else 0.5

    with worker.quiet():
        one = worker.Worker(slow, url, "dlskills", 0, "random", "none", "call")
        assert not one.run_one(0)
        assert one.run_one(0)
    assert [t.state.name for t in one.study.trials] == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret/x@127.0.0.1:1/name", "postgresql://me:s3cret@host:port/name",
        "mysql://me:s3cret{x}@127.0.0.1:1/name", "postgresql+nodriver://me:s3cret@127.0.0.1:1/name",
        "postgresql://127.0.0.1:1/name?user=me&password=s3cret",
    ],
)  # fmt: skip
def test_no_error_shows_a_password(url):
    with worker.quiet(), pytest.raises(StudyError) as caught:
        storage_module.open_storage(url_of(url))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
