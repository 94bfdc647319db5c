"""Which engine runs an update: the one that suits, the one that is forced, and what if neither can.

That all of them give the same is in test_agreement.py.
"""

import importlib.util
import warnings

import numpy as np
import pytest

from dlskills import SGD, Adam, Optimizer, engine, optimizers, to_host
from dlskills.optimizers import engines
from dlskills.optimizers.engines import ENGINES, Engine, compiled, engine_for
from dlskills.symbolic import UnsuitedRuleError

with_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


@pytest.fixture
def spy(monkeypatch):
    """A function that puts a spy in an engine's place; gives the shapes that it runs over."""

    def replace(name, library=None):
        runs = []

        def run(rule, arrays, coefficients):
            runs.append(tuple(arrays[0].shape))
            engines.plain.run(rule, arrays, coefficients)

        monkeypatch.setitem(engines.ENGINES, name, Engine(name, library, run))
        return runs

    return replace


def ones(backend, *shape, dtype="float32"):
    return backend.zeros(shape, dtype) + 1.0


def test_all_engines_are_public():
    assert optimizers.ENGINES is ENGINES
    assert {name: (e.name, e.library) for name, e in ENGINES.items()} == {
        "plain": ("plain", None),
        "blocked": ("blocked", "numpy"),
        "numba": ("numba", "numpy"),
        "fused": ("fused", "cupy"),
    }


# The one that suits


@pytest.mark.parametrize("installed", [True, False], ids=["with numba", "without"])
def test_the_library_and_the_size_choose(backend, monkeypatch, installed):
    monkeypatch.setattr(compiled, "_installed", lambda: installed)
    large = {"numpy": "numba" if installed else "blocked", "cupy": "fused"}
    small = {"cupy": "fused"}
    for shape, chosen in (
        ((), small),
        ((0,), small),
        ((engines.SMALL,), small),
        ((engines.SMALL + 1,), large),
        ((engines.SMALL, 3), large),
    ):
        array = backend.zeros(shape, "float32")
        assert engine_for(array).name == chosen.get(backend.name, "plain")


def test_each_array_of_a_mapping_gets_the_engine_that_suits_it(spy):
    plain, numba, blocked = spy("plain"), spy("numba", "numpy"), spy("blocked", "numpy")
    params = {"W": np.ones((100, 100)), "b": np.ones(100)}
    SGD().update(params, params)

    assert plain == [(100,)]
    assert numba + blocked == [(100, 100)]


def test_why_numba_is_not_available(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setattr(compiled, "_installed", lambda: True)
    assert compiled.missing() == "NUMBA_DISABLE_JIT is set: unset it"
    for value in ("0", ""):
        monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
        assert compiled.missing() is None
    monkeypatch.setattr(compiled, "_installed", lambda: False)
    assert compiled.missing() == "numba is not installed: pip install 'dlskills[jit]'"


def test_why_fused_is_not_available():
    obstacle = ENGINES["fused"].missing()
    if importlib.util.find_spec("cupy"):
        assert obstacle is None or "driver" in obstacle
    else:
        assert "pip install" in obstacle


UPDATES = """
    import sys
    import numpy as np
    import dlskills
    {before}

    def results():
        rng = np.random.default_rng(0)
        for size in (10, 5000, 20_000):
            params, optimizer = {{"w": rng.standard_normal(size)}}, dlskills.Adam(clip_norm=2.0)
            for _ in range(3):
                optimizer.update(params, {{"w": rng.standard_normal(size)}})
            yield params["w"]
            print("numba" in sys.modules and sys.modules["numba"] is not None)
    found = list(results())
    print(dlskills.optimizers.engines.engine_for(found[-1]).name)
    with dlskills.engine("plain"):
        for array, expected in zip(found, results()):
            np.testing.assert_allclose(array, expected, rtol=1e-12)
"""


@with_numba
def test_numba_is_imported_when_it_is_used_first(run_python):
    assert run_python(UPDATES.format(before=""))[:4] == ["False", "True", "True", "numba"]


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        pytest.param("sys.modules['numba'] = None", {}, id="without numba"),
        pytest.param("", {"NUMBA_DISABLE_JIT": "1"}, id="NUMBA_DISABLE_JIT"),
    ],
)
def test_without_compiled_code_blocks_are_taken(run_python, before, environment):
    printed = run_python(UPDATES.format(before=before), **environment)
    assert printed[:4] == ["False", "False", "False", "blocked"]


# The one that is forced


def test_an_engine_can_be_forced_for_a_block(backend, spy):
    runs = spy("spy")
    params = {"w": backend.zeros((3,), "float32")}
    grads, optimizer = {"w": ones(backend, 3)}, SGD(lr=1.0)
    with engine(" Spy"):
        optimizer.update(params, grads)
    optimizer.update(params, grads)

    assert runs == [(3,)]
    assert to_host(params["w"]).tolist() == [-2, -2, -2]


def test_blocks_nest_and_end_with_an_error(spy):
    runs = spy("spy")
    params = {"w": np.ones(3)}
    with engine("spy"):
        with engine("plain"):
            SGD().update(params, params)
        with pytest.raises(ZeroDivisionError), engine("plain"):
            1 / 0  # noqa: B018
        assert runs == []
        SGD().update(params, params)
    SGD().update(params, params)

    assert runs == [(3,)]


def test_an_unknown_engine_is_refused():
    message = r"engine 'plian' is not known; did you mean 'plain'\?; known are: 'plain', 'blocked'"
    with pytest.raises(ValueError, match=message), engine("plian"):
        pass


def test_an_engine_that_is_not_available_is_refused(monkeypatch):
    reason = "it is not installed: pip install it"
    monkeypatch.setitem(ENGINES, "numba", Engine("numba", "numpy", print, lambda: reason))
    message = f"^engine 'numba' is not available: {reason}$"
    with pytest.raises(RuntimeError, match=message), engine("numba"):
        pass


def test_an_engine_for_other_arrays_is_refused(backend, spy):
    spy("numba", "numpy")
    spy("fused", "cupy")
    suited = {"numpy": ["plain", "blocked", "numba"], "cupy": ["plain", "fused"]}
    suited = suited.get(backend.name, ["plain"])
    params, grads, optimizer = {"w": ones(backend, 3)}, {"w": ones(backend, 3)}, Adam()
    for name in set(ENGINES) - set(suited):
        message = (
            f"engine '{name}' runs on arrays of .*, got one of {backend.name}; "
            f"the engines for it are: {', '.join(suited)}$"
        )
        with pytest.raises(RuntimeError, match=message), engine(name):
            optimizer.update(params, grads)
        assert optimizer.step == 0
    assert to_host(params["w"]).tolist() == [1, 1, 1]
    for name in suited:
        with engine(name):
            assert engine_for(params["w"]).name == name


# A rule that it can't run


def flipping():
    """An optimizer whose rule is not one for single elements."""

    class Flipping(Optimizer):
        lr: float = 1.0
        slots = ("v",)

        def coefficients(self, step):
            return (self.lr,)

        @staticmethod
        def rule(xp):
            def update(param, grad, v, lr):
                v += grad
                param -= lr * xp.flip(v)
                return param, v

            return update

    return Flipping()


@pytest.fixture
def demanding(backend):
    """The name of the engine for large arrays that wants rules for single elements."""
    return engine_for(backend.zeros((engines.SMALL + 1,), "float32")).name


@pytest.mark.backends("numpy", "cupy")
def test_a_rule_that_does_not_suit_runs_on_plain_with_one_warning(backend, demanding):
    optimizer, size = flipping(), engines.SMALL + 1
    values = np.random.default_rng(0).standard_normal(size)
    params = {"w": backend.zeros((size,), "float64")}
    grads = {"w": backend.asarray(values)}
    with pytest.warns(UserWarning, match="; the rule runs on the engine 'plain'$") as warned:
        optimizer.update(params, grads)
    optimizer.update(params, grads)  # a second warning would be an error

    assert len(warned) == 1
    assert warned[0].filename == __file__
    np.testing.assert_allclose(to_host(params["w"]), -3 * values[::-1], rtol=1e-15)
    with pytest.raises(UnsuitedRuleError), engine(demanding):
        optimizer.update(params, grads)


@pytest.mark.backends("numpy", "cupy")
def test_a_rule_that_does_not_suit_the_forced_engine_is_refused(backend, demanding):
    params, optimizer = {"w": ones(backend, 3)}, flipping()
    with (
        pytest.raises(UnsuitedRuleError, match="a formula .* can't use xp.flip over all"),
        engine(demanding),
    ):
        optimizer.update(params, {"w": ones(backend, 3)})

    assert optimizer.step == 0
    assert to_host(params["w"]).tolist() == [1, 1, 1]


@with_numba
@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4"])
def test_a_dtype_that_numba_does_not_know_says_nothing_of_others(dtype):
    class Own(SGD):
        @staticmethod
        def rule(xp):
            return lambda param, grad, lr: param - lr * grad

    gradient = np.arange(5000) % 7
    params = {"w": np.zeros(5000, dtype)}
    with pytest.warns(UserWarning, match="Numba can't compile the rule"):
        Own(lr=0.5).update(params, {"w": gradient.astype(dtype)})
    np.testing.assert_array_equal(params["w"], -0.5 * gradient)
    kernels = compiled.kernel.cache_info().currsize
    params = {"w": np.zeros(5000, "float32")}
    Own(lr=0.5).update(params, {"w": gradient.astype("float32")})
    np.testing.assert_array_equal(params["w"], -0.5 * gradient)
    assert compiled.kernel.cache_info().currsize == kernels  # the same, for one dtype more
    assert len(compiled.kernel(Own.rule, 2, 1).signatures) == 1


@pytest.mark.parametrize("size", [3, engines.SMALL + 1])
def test_an_error_in_a_rule_is_the_users_own(size):
    class Wrong(SGD):
        @staticmethod
        def rule(xp):
            def update(param, grad, lr):
                raise ZeroDivisionError("mine")

            return update

    with warnings.catch_warnings(action="ignore"), pytest.raises(ZeroDivisionError, match="mine"):
        Wrong().update({"w": np.ones(size)}, {"w": np.ones(size)})
