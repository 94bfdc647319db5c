"""The engine `numba`: threads, forks, shares of rows, tables of arrays and dtypes."""

import importlib.util
import itertools
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills import SGD, Optimizer, Parameters, engine
from dlskills.formulas import threads
from dlskills.formulas.formula import rule_of
from dlskills.optimizers import make_optimizer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)
LARGE = threads.SHARE_FROM + 3 * threads.SHARE + 1


# Threads


@pytest.fixture
def at_work(monkeypatch):
    """The ids of the threads that ran a part of an update."""
    seen, in_threads = set(), threads.in_threads

    def spied(work, count):
        def spying(i):
            seen.add(threading.get_ident())
            work(i)

        in_threads(spying, count)

    monkeypatch.setattr(threads, "in_threads", spied)
    return seen


@pytest.mark.parametrize("asked", [1, 2])
def test_numbas_number_of_threads_is_respected(at_work, asked):
    import numba

    if asked > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("this machine has one core")
    before = numba.get_num_threads()
    numba.set_num_threads(asked)
    try:
        params, grads = {"w": np.zeros(LARGE, "float32")}, {"w": np.ones(LARGE, "float32")}
        SGD(lr=0.5).update(params, grads)
    finally:
        numba.set_num_threads(before)

    assert (params["w"] == -0.5).all()
    if asked > 1:
        assert threading.get_ident() in at_work
    assert len(at_work) <= asked  # fewer if one thread finished before another started


def test_small_arrays_use_one_thread(at_work):
    w = np.zeros(threads.SHARE_FROM - 1, "float32")
    with engine("numba"):
        SGD().update({"w": w}, {"w": np.ones_like(w)})

    assert at_work == set()


class Chosen(Optimizer):
    """A rule that adds results of where(), some of them scalars, in place."""

    lr: float = 0.1
    slots = ("v",)

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr):
            v += xp.where(grad * param < 0, xp.where(grad > 1, 2.0, grad), -grad)
            param -= lr * v
            return param, v

        return update


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_on_scalars_in_place(dtype):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((2, 5000)).astype(dtype)
    params = {name: {"w": start.copy()} for name in ("numba", "plain")}
    for name, own in params.items():
        optimizer = Chosen()
        for _ in range(3):
            with engine(name):
                optimizer.update(own, {"w": grads})
    assert params["numba"]["w"].dtype == dtype
    np.testing.assert_allclose(params["numba"]["w"], params["plain"]["w"], rtol=1e-5)


def test_concurrent_updates_in_several_threads():
    names = ["sgd", "adam", "adam", "lion", "nadam"]
    gradients = np.random.default_rng(0).standard_normal((3, LARGE), "float32")
    together = threading.Barrier(len(names))
    results = {}

    def update(number, name):
        params, optimizer = {"w": np.ones(LARGE, "float32")}, make_optimizer(name)
        together.wait()
        for gradient in gradients:
            optimizer.update(params, {"w": gradient})
        results[number] = params["w"]

    workers = [threading.Thread(target=update, args=pair) for pair in enumerate(names)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(results) == list(range(len(names)))
    for number, name in enumerate(names):
        params, optimizer = {"w": np.ones(LARGE, "float32")}, make_optimizer(name)
        with engine("plain"):
            for gradient in gradients:
                optimizer.update(params, {"w": gradient})
        assert np.max(abs(results[number] - params["w"])) < 1e-6


ALONGSIDE = """
    import os, sys, threading, time, warnings
    import numba
    import numpy as np
    from dlskills import Adam, engine
    from dlskills.formulas.threads import SHARE_FROM

    try:
        numba.njit(parallel=True)(lambda x: x + x)(np.ones(10))
    except ValueError as error:  # this threading layer is not installed
        print("not available:", *str(error).split())
        sys.exit()

    def lead(steps):
        rng = np.random.default_rng(0)
        params, optimizer = {"w": rng.standard_normal(2 * SHARE_FROM)}, Adam()
        for _ in range(steps):
            optimizer.update(params, {"w": rng.standard_normal(2 * SHARE_FROM)})
        return params["w"]

    with engine("plain"):
        expected = lead(3)
    np.testing.assert_allclose(lead(3), expected, rtol=1e-12)
    wrong = []
    def check():
        if not np.allclose(lead(3), expected, rtol=1e-12):
            wrong.append(1)
    workers = [threading.Thread(target=check) for _ in range(4)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert not wrong
    warnings.simplefilter("ignore")  # Python warns about forks in threaded processes
    child = os.fork()
    if not child:
        os._exit(0 if np.allclose(lead(3), expected, rtol=1e-12) else 7)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        raise TimeoutError("the child does not end")
    assert status == 0, f"the child ended with {status}"
    np.testing.assert_allclose(lead(3), expected, rtol=1e-12)
    print(numba.threading_layer())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_updates_next_to_numbas_threads_and_after_a_fork(run_python, layer):
    options = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    printed = run_python(ALONGSIDE, **options)[-1]
    if "not available" in printed:
        pytest.skip(printed)
    assert printed == layer


def update_in_child(queue):
    params = {"w": np.zeros(LARGE, "float32")}
    SGD(lr=0.5).update(params, {"w": np.ones(LARGE, "float32")})
    queue.put(np.unique(params["w"]).tolist())


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_updates_work_in_a_forked_process():
    params = {"w": np.zeros(LARGE, "float32")}
    SGD().update(params, {"w": np.ones(LARGE, "float32")})  # starts the threads
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=update_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == [-0.5]
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_an_error_reaches_the_caller_from_any_thread():
    here = threading.get_ident()

    def always(i):
        raise ZeroDivisionError("in a thread")

    def in_helpers(i):
        if threading.get_ident() != here:
            raise ZeroDivisionError("in a thread")
        helping.wait(10)

    with pytest.raises(ZeroDivisionError):
        threads.in_threads(always, 2)
    import numba

    if numba.get_num_threads() > 1:
        helping = threading.Event()

        def failing(i):
            try:
                in_helpers(i)
            finally:
                helping.set()

        with pytest.raises(ZeroDivisionError):
            threads.in_threads(failing, 2)


AT_SHUTDOWN = """
    import threading
    import numpy as np
    from dlskills import SGD, engine
    from dlskills.formulas.threads import SHARE_FROM

    params = {"w": np.zeros(4 * SHARE_FROM, "float32")}
    grads = {"w": np.ones(4 * SHARE_FROM, "float32")}
    optimizer = SGD(lr=1.0)
    optimizer.update(params, grads)

    def go_on():
        threading.main_thread().join()  # from now on, the interpreter starts no threads
        for _ in range(20):
            optimizer.update(params, grads)
        print(np.unique(params["w"]).tolist(), flush=True)

    threading.Thread(target=go_on).start()
"""


def test_updates_continue_during_interpreter_shutdown(run_python):
    assert run_python(AT_SHUTDOWN, NUMBA_NUM_THREADS="2") == ["[-21.0]"]


@pytest.mark.parametrize("started", [0, 1, 2])
def test_threads_that_started_are_awaited(monkeypatch, started):
    """The pool may reject a helper after it accepted others."""
    import numba

    monkeypatch.setattr(numba, "get_num_threads", lambda: 4)
    pool, done = threads.ThreadPoolExecutor(4), []

    class Closing:
        taken = 0

        def submit(self, work):
            if self.taken == started:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self.taken += 1
            return pool.submit(work)

    def work(i):
        if threading.get_ident() != here:
            time.sleep(0.05)
        done.append(i)

    here = threading.get_ident()
    closing = Closing()
    monkeypatch.setattr(threads, "_pool", lambda: closing)
    threads.in_threads(work, 8)
    assert sorted(done) == list(range(8))
    pool.shutdown()


# Shares of rows


@given(
    sizes=st.lists(st.integers(0, 5000), max_size=12),
    share_from=st.integers(1, 3000),
    share=st.integers(1, 3000),
)
def test_cuts_cover_all_rows_in_order(sizes, share_from, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE_FROM", share_from)
        patch.setattr(threads, "SHARE", share)
        cuts = threads.cuts(sizes)
    covered = [0] * len(sizes)
    for row, begin, size in zip(cuts.rows, cuts.begins, cuts.sizes, strict=True):
        assert covered[row] == begin
        assert size > 0
        covered[row] += size
    assert covered == sizes
    ends = [0, *(stop for _, stop in cuts.runs)]
    assert cuts.runs == list(itertools.pairwise(ends))
    assert ends[-1] == len(cuts.rows)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_shares_are_a_multiple_of_the_threads(monkeypatch, workers):
    import numba

    monkeypatch.setattr(numba, "get_num_threads", lambda: workers)
    assert threads.shares(7, threads.SHARE_FROM - 1) == [(0, 7)]
    for size in (1_000_000, 3_000_000, 10_000_000, 99_999_999):
        parts = threads.shares(size, size)
        assert len(parts) % workers == 0
        assert len(parts) == workers or size // len(parts) >= 4 * threads.SHARE
        assert parts[0][0] == 0
        assert parts[-1][1] == size
    assert len(threads.shares(3, 10_000_000)) <= 3


def test_shares_are_of_about_equal_size():
    sizes = [3_000_000, 10, 2_000_000, 500, 1_000_000]
    cuts = threads.cuts(sizes)
    parts = [sum(cuts.sizes[start:stop]) for start, stop in cuts.runs]
    assert len(parts) == len(threads.shares(sum(sizes), sum(sizes))) > 1
    assert max(parts) - min(parts) < 4 * threads.LINE


# Tables of arrays


def test_gradients_may_be_new_arrays_at_each_step():
    params = {"a": np.zeros(5000), "b": np.zeros((3, 4)), "c": np.zeros(0)}
    optimizer = SGD(lr=1.0)
    with engine("numba"):
        for _ in range(3):
            grads = {key: np.ones_like(value) for key, value in params.items()}
            optimizer.update(params, grads)
    for value in params.values():
        np.testing.assert_array_equal(value, -3.0)


def test_gradients_may_change_their_memory_layout():
    params = {"a": np.zeros((40, 50)), "b": np.asfortranarray(np.zeros((40, 50)))}
    values = np.random.default_rng(0).standard_normal((40, 50))
    layouts = [
        np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        np.ascontiguousarray,
    ]  # fmt: skip
    optimizer = SGD(lr=1.0)
    with engine("numba"):
        for layout in layouts:
            optimizer.update(params, {key: layout(values) for key in params})
    for value in params.values():
        np.testing.assert_allclose(value, -4 * values)


# Dtypes and kernels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_coefficients_are_rounded_to_the_arrays_dtype(dtype):
    """Otherwise the compiled loop would compute in float64 and round back."""
    gradient = np.linspace(0.1, 1, 5000).astype(dtype)
    params = {"w": np.zeros(5000, dtype)}
    with engine("numba"):
        SGD(lr=0.1).update(params, {"w": gradient})
    expected = -(np.asarray(0.1, dtype) * gradient)

    np.testing.assert_array_equal(params["w"], expected)


def test_networks_share_compiled_kernels():
    first, second = (Parameters({"w": np.ones(5000)}) for _ in "12")
    SGD().update(first, first)
    kernels = dict(rule_of(SGD.rule).memory)
    for params in (first, second):
        SGD(lr=0.5).update(params, params)
    assert rule_of(SGD.rule).memory == kernels
    [kernel] = [kernel for key, kernel in kernels.items() if key[-1] == np.dtype("float64")]
    assert len(kernel.signatures) == 1
