"""Processes, and their shares of the cores."""

import os

import pytest
from threadpoolctl import threadpool_info

from dlskills import processes


def test_threads_are_shared_out_and_the_environment_left_as_it_was(monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with processes.processes(2):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
        assert os.environ["OMP_NUM_THREADS"] == "5"  # asked for
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not say")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processes.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processes.cores() == os.cpu_count()


def test_one_thread_within_the_block():
    def threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = threads()
    with processes.one_thread():
        assert set(threads()) == {1}
    assert threads() == before


@pytest.mark.slow  # starts processes
def test_after_an_error_nothing_more_is_begun(tmp_path):
    paths = [tmp_path / str(number) for number in range(50)]

    def fail():
        with processes.processes(1) as pool:
            futures = [pool.submit(_touch, path) for path in paths]
            futures[0].result()
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        fail()
    assert sum(path.exists() for path in paths) < 10


def _touch(path):
    import time

    path.touch()
    time.sleep(0.05)
