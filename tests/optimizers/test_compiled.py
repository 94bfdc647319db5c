"""The engine `numba`: its threads, also after a fork, and its compiled code on disk."""

import importlib.util
import multiprocessing
import os
import threading

import numpy as np
import pytest

from dlskills import SGD, Optimizer, Parameters, engine
from dlskills.optimizers import OPTIMIZERS, make_optimizer
from dlskills.optimizers.engines import compiled, threads

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)
LARGE = compiled.PARALLEL_FROM + 3 * compiled.SHARE + 1


# Threads


@pytest.fixture
def at_work(monkeypatch):
    """The threads that ran a part of an update."""
    seen, share_out = set(), threads.share_out

    def spied(work):
        def spying():
            seen.add(threading.get_ident())
            work()

        share_out(spying)

    monkeypatch.setattr(compiled, "share_out", spied)
    return seen


@pytest.mark.parametrize("asked", [1, 2])
def test_as_many_threads_as_numba_is_told(at_work, asked):
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
    assert threading.get_ident() in at_work
    assert len(at_work) <= asked  # fewer, if one was done with all before another began


def test_small_arrays_are_left_to_one_thread(at_work):
    w = np.zeros(compiled.PARALLEL_FROM - 1, "float32")
    with engine("numba"):
        SGD().update({"w": w}, {"w": np.ones_like(w)})

    assert at_work == set()


class Chosen(Optimizer):
    """Adds what where() chooses, of single numbers, in place."""

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
def test_where_chooses_numbers(dtype):
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


def test_updates_in_several_threads_at_once():
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
    from dlskills.optimizers.engines.compiled import PARALLEL_FROM

    try:
        numba.njit(parallel=True)(lambda x: x + x)(np.ones(10))
    except ValueError as error:  # no such layer here
        print("not here:", *str(error).split())
        sys.exit()

    def lead(steps):
        rng = np.random.default_rng(0)
        params, optimizer = {"w": rng.standard_normal(2 * PARALLEL_FROM)}, Adam()
        for _ in range(steps):
            optimizer.update(params, {"w": rng.standard_normal(2 * PARALLEL_FROM)})
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
    warnings.simplefilter("ignore")  # Python's, of forks beside threads
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
def test_beside_numbas_own_threads_and_after_a_fork(run_python, layer):
    options = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    printed = run_python(ALONGSIDE, **options)[-1]
    if "not here" in printed:
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
def test_a_forked_process_goes_on_alike():
    params = {"w": np.zeros(LARGE, "float32")}
    SGD().update(params, {"w": np.ones(LARGE, "float32")})  # the threads are there
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
    def work():
        raise ZeroDivisionError("in a thread")

    with pytest.raises(ZeroDivisionError):
        threads.share_out(work)
    helper_failed = threading.local()
    helper_failed.here = True

    def in_helpers():
        if not hasattr(helper_failed, "here"):
            raise ZeroDivisionError("in a thread")

    import numba

    if numba.get_num_threads() > 1:
        with pytest.raises(ZeroDivisionError):
            threads.share_out(in_helpers)


# What is kept on disk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for compiled code."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    compiled.kernel.cache_clear()
    return tmp_path / "cache"


def kept(folder):
    """The numbers of sources and of compiled kernels."""
    return len(list(folder.rglob("kernel_*.py"))), len(list(folder.rglob("kernel_*.nbc")))


def step_of(rule, gradient=3.0, dtype="float64"):
    """By how much a rule that knows only lr = 1 moves a parameter at 10."""
    own = type("Own", (SGD,), {"rule": staticmethod(rule)})
    params = {"w": np.full(2, 10, dtype)}
    with engine("numba"):
        own(lr=1.0).update(params, {"w": np.full(2, gradient, dtype)})
    assert params["w"][0] == params["w"][1]
    return float(params["w"][0]) - 10


def test_a_second_process_finds_what_the_first_compiled(run_python, tmp_path):
    code = """
        import numpy as np
        from dlskills import Adam
        from dlskills.optimizers.engines import compiled
        for dtype in ("float32", "float64"):
            params = {"w": np.ones(5000, dtype)}
            Adam(clip_value=0.5).update(params, params)
        from dlskills.optimizers.modifiers import clipped
        stats = compiled.kernel(clipped(Adam.rule), 4, 5).stats
        print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """
    assert run_python(code) == ["0 2"]
    files = kept(tmp_path)
    assert files == (1, 2)
    assert run_python(code) == ["2 0"]
    assert kept(tmp_path) == files


def scaling(factor):
    def rule(xp):
        return lambda param, grad, lr: param - factor * lr * grad

    return rule


def scaling_by_default(factor):
    def rule(xp):
        def update(param, grad, lr, by=factor):
            return param - by * lr * grad

        return update

    return rule


def scaling_by_helper(factor):
    def rule(xp):
        def twice(x):
            return factor * x

        def helper(x):
            return twice(x)

        return lambda param, grad, lr: param - lr * helper(grad)

    return rule


# Pairs that differ in one thing, under one name, each with the steps that they take.
PAIRS = {
    "closure": (scaling(2.0), -6, scaling(3.0), -9),
    "default": (scaling_by_default(2.0), -6, scaling_by_default(3.0), -9),
    "helper": (scaling_by_helper(2.0), -6, scaling_by_helper(3.0), -9),
    "literal": (
        lambda xp: lambda param, grad, lr: param - lr * grad * 2.0, -6,
        lambda xp: lambda param, grad, lr: param - lr * grad * 3.0, -9,
    ),
    "kind of literal": (
        lambda xp: lambda param, grad, lr: param - lr * grad * (1 / 2), -1.5,
        lambda xp: lambda param, grad, lr: param - lr * grad * (1 // 2), 0,
    ),
    "operator": (
        lambda xp: lambda param, grad, lr: param - lr * grad, -3,
        lambda xp: lambda param, grad, lr: param + lr * grad, 3,
    ),
    "function": (
        lambda xp: lambda param, grad, lr: param - lr * xp.square(grad), -9,
        lambda xp: lambda param, grad, lr: param - lr * xp.sign(grad), -1,
    ),
    "argument": (
        lambda xp: lambda param, grad, lr: param - grad, -3,
        lambda xp: lambda param, grad, lr: param - lr, -1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "first", "two", "second"), PAIRS.values(), ids=PAIRS)
def test_a_changed_rule_is_not_taken_for_the_old(folder, one, first, two, second):
    for _ in "compiled", "loaded":
        assert step_of(one) == first
        assert step_of(two) == second
        assert kept(folder) == (2, 2)
        compiled.kernel.cache_clear()


FACTOR = 2.0


def read_global(x):
    return FACTOR * x


READERS = {
    "rule": lambda xp: lambda param, grad, lr: param - lr * FACTOR * grad,
    "helper": lambda xp, helper=read_global: (
        lambda helper: lambda param, grad, lr: param - lr * helper(grad)
    )(helper),
    "inner": lambda xp: lambda param, grad, lr: param - (lambda x: FACTOR * x)(lr * grad),
}


@pytest.mark.parametrize("rule", READERS.values(), ids=READERS)
def test_what_a_rule_reads_elsewhere_may_change(folder, monkeypatch, rule):
    assert step_of(rule) == -6
    assert kept(folder) == (0, 0)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    compiled.kernel.cache_clear()
    assert step_of(rule) == -9


def test_every_optimizer_is_kept(folder):
    for rule in OPTIMIZERS.values():
        assert compiled._fingerprint(rule.rule(np)) is not None
    step_of(SGD.rule)
    assert kept(folder) == (1, 1)


def test_settings_of_the_compiler_are_part_of_the_name(folder, monkeypatch):
    assert step_of(SGD.rule) == -3
    monkeypatch.setitem(compiled.OPTIONS, "fastmath", True)
    compiled.kernel.cache_clear()
    step_of(SGD.rule)
    assert kept(folder) == (2, 2)


def test_a_folder_that_can_not_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    compiled.kernel.cache_clear()
    assert step_of(scaling(2.0)) == -6


def test_without_a_home_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compiled.Path, "home", home)
    compiled.kernel.cache_clear()
    assert step_of(scaling(2.0)) == -6


def test_a_kept_source_where_numba_can_not_write(folder, monkeypatch, tmp_path):
    assert step_of(scaling(2.0)) == -6
    (tmp_path / "file").touch()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "file"))
    kernels = next(folder.rglob("kernel_*.py")).parent
    (kernels / "__pycache__").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled.kernel.cache_clear()
    assert step_of(scaling(2.0)) == -6
    assert kept(folder) == (1, 1)


# What it computes with


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_numbers_are_of_the_arrays_dtype(dtype):
    """Else the compiled loop would widen each element, compute in float64 and round back."""
    params, rule = {"w": np.ones(3, dtype)}, scaling(1.0)
    own = type("Own", (SGD,), {"rule": staticmethod(rule)})
    with engine("numba"):
        own().update(params, params)
    (signature,) = compiled.kernel(rule, 2, 1).signatures

    assert {str(getattr(kind, "dtype", kind)) for kind in signature} == {dtype}


def test_one_compilation_serves_all_networks():
    first, second = (Parameters({"w": np.ones(5000)}) for _ in "12")
    SGD().update(first, first)
    count = compiled.kernel.cache_info().misses
    for params in (first, second):
        SGD(lr=0.5).update(params, params)
    assert compiled.kernel.cache_info().misses == count
