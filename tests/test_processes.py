"""Worker processes and their share of the cores."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from dlskills import processes


def test_workers_share_the_threads_and_the_environment_is_restored(monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with processes.processes(2):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
        assert os.environ["OMP_NUM_THREADS"] == "5"  # set by the user
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_cores_counts_the_cores_available_to_the_process(monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no CPU affinity")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processes.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processes.cores() == os.cpu_count()


def test_one_thread_limits_blas_within_the_block():
    def threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = threads()
    with processes.one_thread():
        assert set(threads()) == {1}
    assert threads() == before


@pytest.mark.slow  # starts processes
def test_no_task_starts_after_an_error(tmp_path):
    paths = [tmp_path / str(number) for number in range(50)]

    def fail():
        with processes.processes(1) as pool:
            futures = [pool.submit(_touch, path) for path in paths]
            futures[0].result()
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        fail()
    assert sum(path.exists() for path in paths) < 10

    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_error_terminates_running_tasks(tmp_path):
    start = time.monotonic()

    def fail():
        with processes.processes(1) as pool:
            pool.submit(_touch, tmp_path / "a", 100)
            while not (tmp_path / "a").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert time.monotonic() - start < 60


PARENT = """
import sys, time
from pathlib import Path
from dlskills.processes import processes

def work(folder):
    import os
    Path(folder, str(os.getpid())).touch()
    time.sleep(100)

if __name__ == "__main__":
    with processes(2) as pool:
        for _ in range(2):
            pool.submit(work, sys.argv[1])
        time.sleep(100)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_workers_end_when_their_parent_dies(tmp_path, name):
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    folder = tmp_path / "ids"
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", folder], stderr=subprocess.DEVNULL
    )
    _wait(lambda: len(list(folder.iterdir())) == 2)
    parent.send_signal(getattr(signal, name))
    parent.wait(30)
    _wait(lambda: not any(map(_runs, folder.iterdir())))


def _wait(for_what):
    end = time.monotonic() + 60
    while not for_what():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)


def _runs(path):
    try:
        os.kill(int(path.name), 0)
    except ProcessLookupError:
        return False
    status = Path("/proc", path.name, "stat")  # state Z: ended, but not yet waited for
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def _touch(path, seconds=0.05):
    path.touch()
    time.sleep(seconds)
