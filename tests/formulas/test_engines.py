"""The choice of an engine: the best one, the forced one, and the fallback.

tests/optimizers/test_agreement.py tests that all engines agree.
"""

import contextlib
import importlib.util
import warnings

import numpy as np
import pytest

from dlskills import SGD, Adam, Optimizer, Parameters, engine, optimizers, to_host
from dlskills.formulas.engines import ENGINES, engine_for, forced_engine, plain
from dlskills.formulas.engines.base import Engine
from dlskills.formulas.engines.blocked import BLOCK
from dlskills.formulas.engines.numba import SMALL
from dlskills.formulas.formula import Rule
from dlskills.formulas.table import Table
from dlskills.formulas.trace import NotElementwiseError, UnsuitedFormulaError
from dlskills.installation import install_command

with_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


class Spy(Engine):
    """An engine that runs rules like the engine `plain` and records the shapes of parameters."""

    name = "spy"

    def __init__(self, library=None):
        self.library, self.shapes = library, []

    def update_row(self, rule, row, numbers):
        self.shapes.append(tuple(row[0].shape))
        plain.ENGINE.update_row(rule, row, numbers)


@pytest.fixture
def spy(monkeypatch):
    """The shapes of the parameters that the engine "spy" has updated."""
    made = Spy()
    monkeypatch.setitem(ENGINES, "spy", made)
    return made.shapes


def ones(backend, *shape, dtype="float32"):
    return backend.zeros(shape, dtype) + 1.0


def test_all_engines_are_public():
    assert optimizers.ENGINES is ENGINES
    assert {name: (e.name, e.library) for name, e in ENGINES.items()} == {
        "plain": ("plain", None),
        "blocked": ("blocked", "numpy"),
        "numba": ("numba", "numpy"),
        "cuda": ("cuda", "cupy"),
    }


# The best engine


@pytest.fixture
def without_numba(monkeypatch):
    """Make the engine `numba` reject all arrays, as it does if Numba is missing."""
    monkeypatch.setattr(type(ENGINES["numba"]), "suits", lambda self, array, size=None: False)


@pytest.mark.parametrize(
    "installed",
    [pytest.param(True, marks=with_numba, id="with numba"), pytest.param(False, id="without")],
)
def test_library_and_size_determine_the_engine(backend, request, installed):
    if not installed:
        request.getfixturevalue("without_numba")
    large = {"numpy": "numba" if installed else "blocked", "cupy": "cuda"}
    medium = {"numpy": "numba" if installed else "plain", "cupy": "cuda"}
    for shape, chosen in (
        ((), {"cupy": "cuda"}),
        ((0,), {"cupy": "cuda"}),
        ((SMALL,), {"cupy": "cuda"}),
        ((SMALL + 1,), medium),
        ((BLOCK,), medium),
        ((BLOCK + 1,), large),
        ((SMALL, 5), large),
    ):
        array = backend.zeros(shape, "float32")
        assert engine_for(array).name == chosen.get(backend.name, "plain")


@with_numba
@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4"])
def test_dtypes_that_numba_does_not_support_use_blocked(dtype):
    assert engine_for(np.zeros(BLOCK + 1, dtype)).name == "blocked"
    params, gradient = {"w": np.zeros(BLOCK + 1, dtype)}, np.arange(BLOCK + 1) % 7
    SGD(lr=0.5).update(params, {"w": gradient.astype(dtype)})
    assert params["w"].dtype == dtype
    np.testing.assert_array_equal(params["w"], -0.5 * gradient)


def test_the_total_size_determines_the_engine(monkeypatch, without_numba):
    updated = []
    monkeypatch.setattr(
        type(ENGINES["blocked"]), "update", lambda self, table: updated.append(table.size)
    )
    params = {f"w{i}": np.ones(BLOCK // 4) for i in range(5)}
    SGD().update(params, params)

    assert updated == [BLOCK // 4 * 5]


@with_numba
def test_numba_can_be_disabled_by_its_environment_variable(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert ENGINES["numba"].missing() is None
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert ENGINES["numba"].missing() == "NUMBA_DISABLE_JIT is set. Unset it"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "")
    assert ENGINES["numba"].missing() is None


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('no such symbol')", "numba fails to import: no such symbol"),
        ("raise RuntimeError('NumPy 9')", "numba fails to import: NumPy 9"),
        ("import not_there", "numba fails to import: No module named 'not_there'"),
        # the command depends on how this package is installed where it runs
        ("raise ModuleNotFoundError('x', name='numba')", "numba is not installed: "),
    ],
)
def test_a_broken_numba_is_not_used(run_python, tmp_path, module, reason):
    (tmp_path / "numba.py").write_text(module)
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np
        import dlskills
        params = {{"w": np.zeros(5000)}}
        dlskills.SGD(lr=0.5).update(params, {{"w": np.ones(5000)}})
        print((params["w"] == -0.5).all())
        try:
            with dlskills.engine("numba"):
                pass
        except dlskills.EngineMissingError as error:
            print(error)
    """
    first, second = run_python(code)
    assert first == "True"
    assert second.startswith(f"engine 'numba' is not available: {reason}")
    assert ("[jit]" in second) == ("not installed" in reason)


def test_a_missing_cuda_engine_gives_the_reason():
    obstacle = ENGINES["cuda"].missing()
    if importlib.util.find_spec("cupy"):
        assert obstacle is None or "driver" in obstacle
    else:
        assert install_command("gpu") in obstacle


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
    print(dlskills.formulas.engines.engine_for(found[-1]).name)
    with dlskills.engine("plain"):
        for array, expected in zip(found, results()):
            np.testing.assert_allclose(array, expected, rtol=1e-12)
"""


@with_numba
def test_numba_is_imported_on_first_use(run_python):
    assert run_python(UPDATES.format(before=""))[:4] == ["False", "True", "True", "numba"]


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        pytest.param("sys.modules['numba'] = None", {}, id="without numba"),
        pytest.param("", {"NUMBA_DISABLE_JIT": "1"}, id="NUMBA_DISABLE_JIT"),
    ],
)
def test_without_numba_large_arrays_use_blocked(run_python, before, environment):
    printed = run_python(UPDATES.format(before=before), **environment)
    assert printed[:4] == ["False", "False", "False", "blocked"]


# The forced engine


def test_an_engine_can_be_forced_in_a_with_block(backend, spy):
    params = {"w": backend.zeros((3,), "float32")}
    grads, optimizer = {"w": ones(backend, 3)}, SGD(lr=1.0)
    with engine(" Spy"):
        optimizer.update(params, grads)
    optimizer.update(params, grads)

    assert spy == [(3,)]
    assert to_host(params["w"]).tolist() == [-2, -2, -2]


def test_with_blocks_nest_and_end_after_an_error(spy):
    params = {"w": np.ones(3)}
    with engine("spy"):
        with engine("plain"):
            SGD().update(params, params)
        with pytest.raises(ZeroDivisionError), engine("plain"):
            1 / 0  # noqa: B018
        assert spy == []
        SGD().update(params, params)
    SGD().update(params, params)

    assert spy == [(3,)]


def test_an_unknown_engine_is_rejected():
    message = r"engine 'plian' is not known; did you mean 'plain'\? Choose from: 'plain', 'blocked'"
    with pytest.raises(ValueError, match=message), engine("plian"):
        pass


def test_an_engine_that_is_not_available_is_rejected(monkeypatch):
    reason = "it is not installed: pip install it"
    monkeypatch.setattr(ENGINES["numba"], "missing", lambda: reason, raising=False)
    message = f"^engine 'numba' is not available: {reason}$"
    with pytest.raises(RuntimeError, match=message), engine("numba"):
        pass


def test_the_old_name_of_cuda_works_with_a_warning(monkeypatch):
    monkeypatch.setattr(type(ENGINES["cuda"]), "missing", lambda self: None)
    message = "the engine 'fused' is now called 'cuda'"
    with pytest.warns(DeprecationWarning, match=message) as w, engine("Fused"):
        assert forced_engine() == "cuda"
    assert w[0].filename == __file__


def test_an_engine_for_another_library_is_rejected(backend, monkeypatch):
    for name in ("numba", "cuda"):
        monkeypatch.setattr(type(ENGINES[name]), "missing", lambda self: None)
    suited = {"numpy": ["plain", "blocked", "numba"], "cupy": ["plain", "cuda"]}
    suited = suited.get(backend.name, ["plain"])
    params, grads, optimizer = {"w": ones(backend, 3)}, {"w": ones(backend, 3)}, Adam()
    for name in set(ENGINES) - set(suited):
        message = (
            rf"engine '{name}' takes arrays of .*, got one of {backend.name}\. "
            f"Engines for it: {', '.join(suited)}$"
        )
        with pytest.raises(RuntimeError, match=message), engine(name):
            optimizer.update(params, grads)
        assert optimizer.step == 0
    assert to_host(params["w"]).tolist() == [1, 1, 1]
    for name in suited:
        with engine(name):
            assert engine_for(params["w"]).name == name


@pytest.mark.backends("strict", "torch", "cupy")
def test_a_rejected_update_changes_no_array(backend):
    params = {"first": np.ones(3, "float32"), "second": ones(backend, 3)}
    message = "engine 'blocked' takes arrays of numpy"
    with pytest.raises(RuntimeError, match=message), engine("blocked"):
        SGD().update(params, params)
    assert params["first"].tolist() == [1, 1, 1]


# Rules that an engine can't run


def wrapping():
    """Return an optimizer whose rule has an operation that can't be compiled."""

    class Wrapping(Optimizer):
        lr: float = 1.0
        slots = ("v",)

        def coefficients(self, step):
            return (self.lr,)

        @staticmethod
        def rule(xp):
            def update(param, grad, v, lr):
                v += grad
                param -= lr * (v % 4)
                return param, v

            return update

    return Wrapping()


@pytest.fixture
def demanding(backend):
    """The name of the engine for large arrays, which requires elementwise rules."""
    return engine_for(backend.zeros((BLOCK + 1,), "float32")).name


@pytest.mark.backends("numpy", "cupy")
def test_a_rule_that_cannot_be_compiled_falls_back_with_one_warning(backend, demanding):
    optimizer, size = wrapping(), BLOCK + 1
    values = np.random.default_rng(0).standard_normal(size)
    params = {"w": backend.zeros((size,), "float64")}
    grads = {"w": backend.asarray(values)}
    message = r"\. Falling back to the engine 'plain'$"
    with pytest.warns(UserWarning, match=message) as warned:
        optimizer.update(params, grads)
    optimizer.update(params, grads)  # a second warning would be an error

    assert len(warned) == 1
    assert warned[0].filename == __file__
    expected = -(values % 4) - (2 * values) % 4
    np.testing.assert_allclose(to_host(params["w"]), expected, rtol=1e-14)
    with pytest.raises(UnsuitedFormulaError), engine(demanding):
        optimizer.update(params, grads)


@pytest.mark.backends("numpy", "cupy")
def test_a_rule_that_the_forced_engine_cannot_compile_is_rejected(backend, demanding):
    params, optimizer = {"w": ones(backend, 3)}, wrapping()
    with (
        pytest.raises(UnsuitedFormulaError, match="can't be compiled: unsupported operand"),
        engine(demanding),
    ):
        optimizer.update(params, {"w": ones(backend, 3)})

    assert optimizer.step == 0
    assert to_host(params["w"]).tolist() == [1, 1, 1]


class LARS(Optimizer):
    """A rule with a norm per parameter: You, Gitman & Ginsburg (2017)."""

    lr: float = 0.1

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        def update(param, grad, lr):
            trust = xp.sqrt(xp.sum(param * param)) / xp.sqrt(xp.sum(grad * grad))
            return param - lr * trust * grad

        return update


@pytest.mark.parametrize("kind", [dict, Parameters])
@pytest.mark.parametrize("size", [3, SMALL + 1])
@pytest.mark.parametrize("name", [None, "plain"])
def test_a_rule_with_a_norm_is_rejected_with_the_reason(backend, kind, size, name):
    params, grads = (kind({"w": ones(backend, size), "b": ones(backend, 2)}) for _ in range(2))
    message = "must be elementwise.* can't use xp.sum.* A norm per parameter can't be part"
    optimizer = LARS()
    with (
        engine(name) if name else contextlib.nullcontext(),
        pytest.raises(NotElementwiseError, match=message),
    ):
        optimizer.update(params, grads)
    assert optimizer.step == 0
    assert to_host(params["w"]).tolist() == [1] * size


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("kind", [dict, Parameters])
@pytest.mark.parametrize(
    "factor",
    [
        lambda param, grad: (param * param).sum(),
        lambda param, grad: grad @ grad,
        lambda param, grad: abs(grad).max(),
        lambda param, grad: param.shape[0],
    ],
    ids=["sum", "product", "max", "shape"],
)
def test_a_rule_that_cannot_be_traced_may_not_combine_elements_either(backend, kind, factor):
    class Own(LARS):
        rule = staticmethod(lambda xp: lambda param, grad, lr: param - lr * factor(param, grad))

    params, grads = (kind({"w": ones(backend, 3), "b": ones(backend, 2)}) for _ in range(2))
    with pytest.raises(NotElementwiseError, match="depends on the other elements .* A norm per"):
        Own().update(params, grads)
    assert to_host(params["w"]).tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:.*Falling back")
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_rule_that_cannot_be_traced_runs_if_it_is_elementwise(noise):
    rng = np.random.default_rng(0)

    class Own(LARS):
        @staticmethod
        def rule(xp):
            return lambda param, grad, lr: (
                param - lr * np.cbrt(grad) + noise * rng.standard_normal(param.shape)
            )

    params = {"w": np.ones(3)}
    Own().update(params, {"w": np.array([0.0, 1.0, 8.0])})
    if noise:
        assert len(set(params["w"])) == 3
    else:
        np.testing.assert_allclose(params["w"], [1, 0.9, 0.8])


def test_a_rule_is_checked_once_and_then_without_asking_for_the_arrays():
    asked = []

    def rows():
        asked.append(len(asked))
        return [[np.ones(3), np.ones(3)]]

    table = Table(rows)
    table.rule, table.numbers = Rule(SGD.rule), [(0.1,)]
    table.rule.check_elementwise(table)
    before = len(asked)
    table.rule.check_elementwise(table)
    assert len(asked) == before


@pytest.mark.filterwarnings("ignore:.*Falling back")
def test_a_rule_that_only_takes_matrices_is_tried_out_once():
    shapes = []

    class Own(LARS):
        @staticmethod
        def rule(xp):
            def update(param, grad, lr):
                shapes.append(param.shape)
                return param - lr * np.cbrt(grad) / grad.shape[1]

            return update

    optimizer, params, grads = Own(), {"w": np.ones((3, 2))}, {"w": np.ones((3, 2))}
    optimizer.update(params, grads)
    shapes.clear()
    optimizer.update(params, grads)
    assert shapes == [(3, 2)]


@with_numba
def test_a_rule_that_branches_is_rejected_with_the_remedy():
    class Branching(SGD):
        @staticmethod
        def rule(xp):
            return lambda param, grad, lr: param - lr * grad if grad > 0 else param

    params = {"w": np.ones(3)}
    message = r"can't branch on an element's value. Use xp.where\(condition, a, b\)"
    with pytest.raises(UnsuitedFormulaError, match=message), engine("numba"):
        Branching().update(params, params)


@pytest.mark.parametrize("size", [3, SMALL + 1])
def test_an_error_in_a_rule_is_not_replaced(size):
    class Wrong(SGD):
        @staticmethod
        def rule(xp):
            def update(param, grad, lr):
                raise ZeroDivisionError("mine")

            return update

    with warnings.catch_warnings(action="ignore"), pytest.raises(ZeroDivisionError, match="mine"):
        Wrong().update({"w": np.ones(size)}, {"w": np.ones(size)})
