"""The on-disk cache of compiled kernels: shared by processes, keyed by source, never fatal."""

import importlib.util

import numpy as np
import pytest

from dlskills import SGD, engine
from dlskills.optimizers import OPTIMIZERS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


@pytest.fixture
def cache():
    """The cache module, without kernels in memory and without earlier warnings."""
    from dlskills.formulas import cache

    cache._warned.clear()
    forget_kernels()
    yield cache
    cache._warned.clear()
    forget_kernels()


@pytest.fixture
def folder(cache, tmp_path, monkeypatch):
    """An empty folder for the cache."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def forget_kernels():
    from dlskills.formulas.engines import numba_kernels
    from dlskills.formulas.formula import rule_of

    numba_kernels._kernel_of.cache_clear()
    rule_of.cache_clear()


def kept(folder):
    """Return the numbers of cached sources and of cached kernels."""
    return len(list(folder.rglob("kernel_*.py"))), len(list(folder.rglob("kernel_*.nbc")))


def step_of(rule, gradient=3.0, dtype="float64"):
    """Return the step that a rule with lr = 1 takes from a parameter of 10."""
    own = type("Own", (SGD,), {"rule": staticmethod(rule)})
    params = {"w": np.full(2, 10, dtype)}
    with engine("numba"):
        own(lr=1.0).update(params, {"w": np.full(2, gradient, dtype)})
    assert params["w"][0] == params["w"][1]
    return float(params["w"][0]) - 10


def test_a_second_process_reuses_compiled_kernels(run_python, tmp_path):
    code = """
        import numpy as np
        from dlskills import Adam
        from dlskills.formulas.engines import numba_kernels
        from dlskills.formulas.formula import rule_of
        from dlskills.optimizers.modifiers import clipped
        for dtype in ("float32", "float64"):
            params = {"w": np.ones(5000, dtype)}
            Adam(clip_value=0.5).update(params, params)
        stats = [kernel.stats for kernel in rule_of(clipped(Adam.rule)).memory.values()]
        print(len(stats), *(sum(s.cache_hits.values()) for s in stats))
    """
    assert run_python(code) == ["2 0 0"]
    files = kept(tmp_path)
    assert files == (2, 2)
    assert run_python(code) == ["2 1 1"]
    assert kept(tmp_path) == files


def scaling(factor):
    def rule(xp):
        return lambda param, grad, lr: param - factor * lr * grad

    return rule


def scaling_by_helper(factor):
    def rule(xp):
        def twice(x):
            return factor * x

        return lambda param, grad, lr: param - lr * twice(grad)

    return rule


# Pairs of rules with the same name and one difference, and the steps that they take.
PAIRS = {
    "closure": (scaling(2.0), -6, scaling(3.0), -9),
    "helper": (scaling_by_helper(2.0), -6, scaling_by_helper(3.0), -9),
    "literal": (
        lambda xp: lambda param, grad, lr: param - lr * grad * 2.0, -6,
        lambda xp: lambda param, grad, lr: param - lr * grad * 3.0, -9,
    ),
    "small difference": (scaling(1.0), -3, scaling(1 + 2**-40), -3 * (1 + 2**-40)),
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
def test_a_changed_rule_is_compiled_again(folder, one, first, two, second):
    for _ in "compiled", "loaded":
        assert step_of(one) == first
        assert step_of(two) == pytest.approx(second, rel=2**-44)
        assert kept(folder) == (2, 2)
        forget_kernels()


FACTOR = 2.0


def test_a_changed_global_compiles_the_rule_again(folder, monkeypatch):
    rule = lambda xp: lambda param, grad, lr: param - lr * FACTOR * grad  # noqa: E731
    assert step_of(rule) == -6
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    forget_kernels()
    assert step_of(rule) == -9
    assert kept(folder) == (2, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rules_that_compute_the_same_share_a_kernel(folder, dtype):
    assert step_of(scaling(2.0), dtype=dtype) == -6
    assert step_of(scaling(2.0), dtype=dtype) == -6  # another function
    assert kept(folder) == (1, 1)


@pytest.mark.slow  # compiles every rule
def test_every_optimizer_is_cached(folder):
    params = {"w": np.ones(5000)}
    for rule in OPTIMIZERS.values():
        rule().update(params, params)
    sources, kernels = kept(folder)
    assert sources == kernels > 5


def test_changed_compiler_options_compile_again(folder, monkeypatch):
    from dlskills.formulas import vector_math

    assert step_of(SGD.rule) == -3
    monkeypatch.setitem(vector_math.OPTIONS, "boundscheck", True)
    forget_kernels()
    step_of(SGD.rule)
    assert kept(folder) == (2, 2)


# File errors give one warning, and kernels are compiled again


def warned_once(rule=None):
    with pytest.warns(RuntimeWarning, match="compiled formulas can't be cached on disk"):
        assert step_of(rule or scaling(2.0)) == -6
    forget_kernels()
    for factor in (2.0, 3.0):  # other kernels, too: a second warning would be an error
        step_of(rule or scaling(factor))


def test_a_folder_that_cannot_be_created_warns_once(cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    warned_once()


def test_a_missing_home_folder_warns_once(cache, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache.Path, "home", home)
    warned_once()


def test_a_folder_that_numba_cannot_write_to_warns(folder, monkeypatch, tmp_path):
    assert step_of(scaling(2.0)) == -6
    (tmp_path / "file").touch()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "file"))
    (next(folder.rglob("kernel_*.py")).parent / "__pycache__").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    forget_kernels()
    with pytest.warns(RuntimeWarning, match="can't be cached on disk"):
        assert step_of(scaling(2.0)) == -6


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04damaged", None], ids=["empty", "damaged", "cut"]
)
def test_damaged_files_are_compiled_again(folder, kind, content):
    assert step_of(scaling(2.0)) == -6
    (file,) = folder.rglob(kind)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    forget_kernels()
    warned_once()


def test_a_full_disk_warns_once(folder, cache, monkeypatch):
    def full(self, *arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", full)
    with pytest.warns(RuntimeWarning, match="No space left on device") as warned:
        assert step_of(scaling(2.0)) == -6
    assert len(warned) == 1


def test_a_source_that_cannot_be_written_warns_once(folder, cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dlskills.files.os.fsync", full)
    warned_once()
