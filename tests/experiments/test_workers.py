"""Work on executors: which workers are refused, and what is said when one is lost."""

import concurrent.futures
import os
import signal
import threading
import time

import pytest
from small_work import write_experiment
from threadpoolctl import threadpool_info

from dlskills.experiments import Settings, load_experiments, run, workers
from dlskills.experiments.executors import ExecutorError, check_executor, open_executor
from dlskills.processes import WorkerLostError

QUIET = Settings(verbose=False)


@pytest.fixture
def work(tmp_path):
    (experiment,) = load_experiments(write_experiment(tmp_path))
    return experiment


def numbers(experiment, executor=None, **options):
    (records,) = run([experiment], QUIET, seeds=2, options=options, executor=executor).values()
    return [record.numbers for record in records]


def test_an_executor_gives_the_numbers_of_this_process(work):
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert numbers(work, executor) == numbers(work)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source_code": lambda: "other"}, "has other source code of dlskills"),
        ({"versions": lambda: ["numpy 1.0"]}, "has numpy 1.0, not "),
    ],
)
def test_a_worker_with_other_code_is_refused(work, monkeypatch, changed, message):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        pool = workers.RemotePool(executor)
        started = threading.Event()
        held = executor.submit(started.wait)
        future = pool.submit(abs, -1)  # sent with the code of here
        for name, value in changed.items():
            monkeypatch.setattr(workers, name, value)
        started.set()
        assert held.result()
        with pytest.raises(ImportError, match=message) as caught:
            pool.result(future)
    assert "install the same on all workers, and restart them" in str(caught.value)


def test_a_worker_of_another_version_does_not_read_the_call():
    with pytest.raises(ImportError, match=r"has dlskills .*, not 9\.9; install the same"):
        workers._run(("9.9", "", []), b"not a pickle")


def test_calls_in_threads_take_one_blas_thread_each_until_the_last_ends():
    inside, outside = threading.Barrier(2), threading.Barrier(2)

    def blas():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    before = blas()

    def first():
        with workers._ONE_THREAD:
            inside.wait(10)
        outside.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    with workers._ONE_THREAD:
        inside.wait(10)
        outside.wait(10)  # the other one has ended
        assert blas() == {1}
    thread.join()
    assert blas() == before


def test_an_error_says_on_which_worker_it_was(work):
    with (
        concurrent.futures.ThreadPoolExecutor(2) as executor,
        pytest.raises(ValueError, match="no such scale") as caught,
    ):
        numbers(work, executor, how="fails")
    assert any(f"process {os.getpid()}" in note for note in caught.value.__notes__)


@pytest.mark.slow  # starts processes
def test_a_killed_worker_of_an_executor_is_reported(work):
    with (
        concurrent.futures.ProcessPoolExecutor(2) as executor,
        pytest.raises(WorkerLostError, match="a worker of the executor ProcessPoolExecutor was"),
    ):
        numbers(work, executor, how="dies")


class Deserted(concurrent.futures.Executor):
    """Its workers are lost before they finish anything."""

    def submit(self, function, *args):
        return concurrent.futures.Future()

    def check(self):
        raise WorkerLostError("all workers were lost")


def test_an_executor_without_workers_is_not_waited_for(work, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.01)
    with pytest.raises(WorkerLostError, match="all workers were lost"):
        numbers(work, Deserted())


def test_an_interruption_cancels_what_has_not_begun(work, tmp_path, monkeypatch):
    class Interrupted(concurrent.futures.Executor):
        def __init__(self):
            self.futures = []

        def submit(self, function, *args):
            self.futures.append(concurrent.futures.Future())
            return self.futures[-1]

        def check(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_PATIENCE", 0.01)
    executor = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        numbers(work, executor)
    assert len(executor.futures) == 6
    assert all(future.cancelled() for future in executor.futures)


def test_what_is_no_executor_is_refused(work):
    with pytest.raises(TypeError, match=r"executor must be a concurrent.futures.Executor, got 'm"):
        numbers(work, "mpi")


@pytest.mark.parametrize("name", ["", "ray", "dask", "dask://", "MPI"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ExecutorError, match=f"must be mpi or dask://HOST:PORT, got {name!r}"):
        check_executor(name)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("mpi", "mpi4py", "mpi"), ("dask://h:1", "distributed", "dask")]
)
def test_a_missing_library_comes_with_the_command_that_installs_it(
    monkeypatch, name, package, extra
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=f"needs {package}, which is not .*pip install .*{extra}"):
        check_executor(name)


# Dask: `nox -s tests_mpi` has it, too


@pytest.fixture
def scheduler():
    """Start a scheduler and workers of Dask as processes; yield its address and the workers."""
    deploy = pytest.importorskip("distributed.deploy")  # not the folder of tests of that name
    with deploy.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        silence_logs=50,
    ) as cluster:  # fmt: skip
        yield cluster


def name_of(cluster):
    return cluster.scheduler_address.replace("tcp://", "dask://")


# Dask's processes inherit no filter of warnings, but its own event loop warns in this one
dask = pytest.mark.filterwarnings("default")


@dask
@pytest.mark.slow
def test_dask_workers_give_the_numbers_of_this_process(work, scheduler):
    with open_executor(name_of(scheduler)) as executor:
        found = numbers(work, executor)
    assert found == numbers(work)
    assert found[0]["threads"] == [1]


@dask
@pytest.mark.slow
def test_a_call_that_kills_its_dask_worker_is_given_up(work, scheduler):
    with (
        open_executor(name_of(scheduler)) as executor,
        pytest.raises(WorkerLostError, match="a worker of the executor Dask was lost"),
    ):
        numbers(work, executor, how="dies")


@dask
@pytest.mark.slow
def test_a_killed_dask_worker_loses_no_numbers(work, scheduler, tmp_path):
    """Its call is run again on another one."""
    marks = tmp_path / "marks"
    marks.mkdir()
    address = name_of(scheduler)

    def kill_the_first():
        while not (begun := list(marks.iterdir())):
            time.sleep(0.01)
        os.kill(int(begun[0].name.split("-")[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with open_executor(address) as executor:
        found = numbers(work, executor, mark=str(marks))
    killer.join()
    assert len({path.name.split("-")[0] for path in marks.iterdir()}) >= 2
    assert [one["products"] for one in found] == [one["products"] for one in numbers(work)]


@dask
@pytest.mark.slow
def test_without_dask_workers_the_work_ends(work, scheduler, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.2)
    with open_executor(name_of(scheduler), timeout=1) as executor:
        scheduler.scale(0)
        while executor._client.scheduler_info()["workers"]:
            time.sleep(0.1)
        with pytest.raises(WorkerLostError, match="all workers of the Dask scheduler at 127"):
            numbers(work, executor)


@dask
def test_a_dask_scheduler_that_does_not_answer_is_named():
    pytest.importorskip("distributed.client")
    with (
        pytest.raises(ExecutorError, match="no Dask scheduler answers at 127.0.0.1:9 within 0.5 s"),
        open_executor("dask://127.0.0.1:9", timeout=0.5),
    ):
        pass
