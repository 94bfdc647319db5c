"""The engine `cuda` compared with NumPy in double precision and with the engine `plain`."""

import math
import os
import threading
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from some_formulas import (
    EACH,
    FORMULAS,
    PROBLEMS,
    batch_norm,
    chosen,
    extremes,
    gelu,
    operands_for,
    relu_backward_bias,
    softmax_loss,
    squared_error,
    sums_of_lines,
    weight_decay,
)  # fmt: skip

from dlskills.formulas import engines
from dlskills.formulas.engines import cuda
from dlskills.formulas.formula import along, elementwise
from dlskills.formulas.operators import OPERATORS
from dlskills.formulas.trace import UnsuitedFormulaError

pytestmark = pytest.mark.backends("cupy")


def arranged(xp, values, how):
    """Return a copy on the device with other strides."""
    array = xp.asarray(values)
    if how == "transposed":
        return xp.asarray(array.T.copy()).T
    if how == "sliced" and array.ndim:
        return xp.repeat(array, 2, axis=-1)[..., ::2]
    if how == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    return array


def called(formula, operands, axes, **options):
    axis = {"axis": axes} if formula.has_axis else {}
    results = formula(*operands, **axis, **options)
    return results if isinstance(results, tuple) else (results,)


def expected(formula, operands, axes):
    """Compute the results with NumPy in double precision."""
    doubles = [
        o.astype("float64") if isinstance(o, np.ndarray) and o.dtype.kind == "f" else o
        for o in operands
    ]
    with engines.engine("plain"), np.errstate(all="ignore"):
        return called(formula, doubles, axes)


TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}


def check(xp, results, wanted, like, dtype):
    assert len(results) == len(wanted)
    for result, want, plain in zip(results, wanted, like, strict=True):
        want = np.asarray(want)
        assert isinstance(result, xp.ndarray)
        assert result.shape == plain.shape
        if plain.dtype.kind == "f":  # conditions are numbers
            assert result.dtype == plain.dtype
        finite = np.abs(want[np.isfinite(want)])
        scale = finite.max() if finite.size else 0.0
        allowed = TOLERANCE[dtype] * (scale + 1)
        np.testing.assert_allclose(result.get(), want, rtol=TOLERANCE[dtype], atol=allowed)


AXES = {1: [(0,)], 2: [(0,), (1,), (-1,), (0, 1)], 3: [(0, 2), (1, 2), (0,), (2,), (0, 1, 2)],
        4: [(0, 2, 3), (3,)]}  # fmt: skip


@st.composite
def problems(draw):
    ndim = draw(st.sampled_from([1, 2, 2, 2, 3, 4]))
    sizes = st.one_of(st.integers(1, 40), st.sampled_from([32, 33, 64, 257, 300]))
    shape = tuple(draw(st.integers(1, 9) if ndim > 2 else sizes) for _ in range(ndim))
    return shape, draw(st.sampled_from(AXES[ndim]))


@hypothesis.given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_results_match_numpy(formula, backend, data, seed):
    xp, (shape, axes) = backend.xp, data.draw(problems())
    dtype = data.draw(st.sampled_from(sorted(TOLERANCE)))
    operands = operands_for(formula, shape, axes, dtype, np.random.default_rng(seed))
    here = [
        arranged(xp, o, data.draw(st.sampled_from(["", "", "transposed", "sliced", "reversed"])))
        if isinstance(o, np.ndarray)
        else o
        for o in operands
    ]
    with engines.engine("plain"):
        like = called(formula, here, axes)
    with engines.engine("cuda"):
        results = called(formula, here, axes)
        again = called(formula, here, axes)
    if dtype != "float16" or all(np.isfinite(p.get()).all() for p in like):
        check(xp, results, expected(formula, operands, axes), like, dtype)
    for result, same in zip(results, again, strict=True):
        assert result.get().tobytes() == same.get().tobytes()


by_each = pytest.mark.parametrize(
    ("formula", "problem"), EACH, ids=lambda it: getattr(it, "__name__", it)
)
MANY = (300, 7000), (0, 1)  # more elements than threads


@pytest.mark.parametrize("dtype", TOLERANCE)
@by_each
def test_each_formula_takes_one_launch(formula, problem, dtype, backend, device_counters):
    shape, axes = PROBLEMS[problem]
    one_launch(formula, shape, axes, dtype, backend, device_counters)


def test_sums_over_many_elements_take_one_launch(backend, device_counters):
    one_launch(squared_error, *MANY, "float32", backend, device_counters)


def one_launch(formula, shape, axes, dtype, backend, device_counters):
    operands = operands_for(formula, shape, axes, dtype, np.random.default_rng(0))
    here = [backend.asarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    with engines.engine("plain"):
        like = called(formula, here, axes)
    called(formula, here, axes)  # compiles the kernel
    with device_counters.counting() as added:
        results = called(formula, here, axes)
    assert added["kernel_launches"] == 1
    assert added["library_calls"] == added["copies_h2d"] == added["copies_d2h"] == 0
    check(backend.xp, results, expected(formula, operands, axes), like, dtype)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@by_each
def test_nonfinite_values_propagate(formula, special, problem, backend):
    shape, axes = PROBLEMS[problem]
    rng = np.random.default_rng(0)
    operands = operands_for(formula, shape, axes, "float32", rng)
    flat = operands[0].reshape(-1)
    flat[rng.integers(flat.size, size=3)] = special
    here = [backend.asarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    with engines.engine("plain"):
        like = called(formula, here, axes)
    check(backend.xp, called(formula, here, axes), expected(formula, operands, axes), like,
          "float32")  # fmt: skip


# Results in given arrays


@hypothesis.given(data=st.data())
@pytest.mark.parametrize(
    "formula", [batch_norm, weight_decay, sums_of_lines, chosen, softmax_loss],
    ids=lambda formula: formula.__name__,
)  # fmt: skip
def test_results_are_written_to_the_arrays_of_out(formula, backend, data):
    xp, (shape, axes) = backend.xp, data.draw(problems())
    dtype = data.draw(st.sampled_from(["float16", "float32"]))
    operands = operands_for(formula, shape, axes, dtype, np.random.default_rng(0))
    here = [xp.asarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    with engines.engine("plain"):
        like = called(formula, here, axes)
    out = []
    for result in like:
        kind = data.draw(st.sampled_from(["new", "same", "flat", "strided", "float64"]))
        shape = (result.size,) if kind == "flat" else result.shape
        into = "float64" if kind == "float64" else dtype
        array = xp.full(shape, xp.nan, dtype=into)
        if kind == "strided" and result.ndim:
            array = xp.full((*shape[:-1], 2 * shape[-1]), xp.nan, dtype=dtype)[..., ::2]
        out.append(None if kind == "new" else array)
    with engines.engine("cuda"):
        results = called(formula, here, axes, out=out)
    for result, into, want in zip(results, out, expected(formula, operands, axes), strict=True):
        assert into is None or result is into
        want = np.asarray(want, "float64")
        allowed = TOLERANCE["float16"] * (np.abs(want).max() + 1)
        np.testing.assert_allclose(result.get().reshape(want.shape), want, atol=allowed)


@along
def early(xp):
    def results(x, axis):
        return x * 2, x - xp.mean(x, axis=axis, keepdims=True)

    return results


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_result_may_overwrite_an_operand(problem, backend):
    shape, axes = PROBLEMS[problem]
    x = np.random.default_rng(0).standard_normal(shape)
    here, other = backend.asarray(x), backend.asarray(x)
    early(here, axis=axes, out=[here, None])
    np.testing.assert_array_equal(here.get(), 2 * x)
    for out in [other, None], [None, other], [other, backend.asarray(x)]:
        other[...] = backend.asarray(x)
        doubled, centred = early(other, axis=axes, out=out)
        np.testing.assert_allclose(doubled.get(), 2 * x)
        np.testing.assert_allclose(centred.get(), x - x.mean(axes, keepdims=True), atol=1e-12)


def test_out_needs_as_many_elements(backend):
    x = backend.xp.ones((4, 5))
    with pytest.raises(ValueError, match=r"as its result of shape \(4, 1\), got shape \(3,\)"):
        extremes(x, axis=1, out=[backend.xp.ones(3), None])
    with pytest.raises(ValueError, match="has 2 results, got 1 arrays"):
        extremes(x, axis=1, out=[None])
    with pytest.raises(ValueError, match="3"):
        gelu(x, out=[backend.xp.ones(3)])


# Operators, integers, fallbacks, streams and devices


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [op for op in OPERATORS if not op.startswith("logical")])
def test_operators_match_numpy(op, dtype, backend):
    operands = OPERATORS[op].operands
    if op == "where":
        function = lambda xp: lambda x, y: xp.where(x > y, x, y)  # noqa: E731
    elif op == "astype":
        function = lambda xp: lambda x, y: xp.astype(x > y, x.dtype)  # noqa: E731
    else:
        function = lambda xp: lambda *xy: getattr(xp, op)(*xy[:operands])  # noqa: E731
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (2, 50)).astype(dtype)
    if op == "acosh":
        x += 1
    x[:5], y[3:8] = [0, np.nan, np.inf, -np.inf, -0.0], [0, 1, np.nan, np.inf, -np.inf]
    result = elementwise(function)(backend.asarray(x), backend.asarray(y))
    with engines.engine("plain"), np.errstate(all="ignore"):
        want = elementwise(function)(x, y)
    np.testing.assert_allclose(result.get(), want, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_numbers_on_the_device_stay_there(backend, device_counters):
    x, loss = backend.xp.ones((4, 5), dtype="float32"), backend.asarray(np.float32(3.0))
    weight_decay(x, x, 0.5, loss, axis=(0, 1))
    with device_counters.counting() as added:
        _, loss = weight_decay(x, x, 0.5, loss, axis=(0, 1), out=[None, loss])
    assert added["copies_d2h"] == 0
    assert added["kernel_launches"] == 1
    assert float(loss) == 8.0


def test_integers_are_left_to_the_plain_engine(backend):
    x = backend.xp.arange(6).reshape(2, 3)
    low, high = extremes(x, axis=1)
    assert low.dtype == high.dtype == x.dtype
    assert high.get().tolist() == [[2], [5]]


def test_empty_arrays(backend):
    x = backend.xp.ones((0, 3), dtype="float32")
    assert gelu(x).shape == (0, 3)
    assert relu_backward_bias(x, x, axis=0)[1].get().tolist() == [[0, 0, 0]]


def test_a_formula_that_cannot_be_traced_warns_once(backend):
    @elementwise
    def odd(xp):
        return lambda x: xp.sinc(x)

    x = backend.xp.ones(3)
    message = r"odd: .*sinc can't be compiled\. Falling back to the engine 'plain'"
    with pytest.warns(UserWarning, match=message):
        odd(x)
    odd(x)
    with engines.engine("cuda"), pytest.raises(UnsuitedFormulaError):
        odd(x)


def test_a_complex_operand_is_rejected(backend):
    x = backend.xp.ones(3)
    with engines.engine("cuda"), pytest.raises(UnsuitedFormulaError, match="complex"):
        squared_error(x, x * 1j, axis=0)


def test_a_result_of_another_shape_is_left_to_the_plain_engine(backend):
    @elementwise
    def of_one(xp):
        return lambda x, y: (x + y, 2 * y)

    x, y = backend.xp.ones((3, 4)), backend.xp.ones((3, 1))
    with pytest.warns(UserWarning, match="Falling back to the engine 'plain'"):
        assert of_one(x, y)[1].shape == (3, 1)


def test_streams_and_threads_do_not_share_partial_sums(backend):
    import cupy

    @along
    def summed(xp):
        return lambda x, axis: xp.sum(x)

    x = backend.xp.ones((40, 50))
    summed(x, axis=(0, 1))
    [call] = summed.memory.values()
    scratch = call.__self__.scratch
    before = set(scratch.kept)
    with cupy.cuda.Stream():
        summed(x, axis=(0, 1))
    thread = threading.Thread(target=lambda: summed(x, axis=(0, 1)))
    thread.start()
    thread.join()
    assert len(set(scratch.kept) - before) == 2
    assert len({counter.data.ptr for _, counter in scratch.kept.values()}) == len(scratch.kept)
    assert all(int(counter[0]) == 0 for _, counter in scratch.kept.values())


def test_the_engine_is_available(backend):
    assert cuda.ENGINE.missing() is None
    assert engines.engine_for(backend.xp.ones(3)) is cuda.ENGINE


SECOND_DEVICE = """
import sys
sys.path.insert(0, {tests!r})
import cupy_stand_in
cupy_stand_in.activate({build!r})
import cupy
from dlskills.formulas import engines
from dlskills.formulas.formula import Rule
from dlskills.formulas.table import Table
from some_formulas import gelu, squared_error

with cupy.cuda.Device(1):
    x, half = cupy.ones((4, 5)), cupy.full((4, 5), 0.5)
    rows = [[cupy.ones(3), cupy.ones(3)] for _ in range(2)]
results = gelu(x), *squared_error(x, half, axis=(0, 1))
table = Table(rows)
table.rule, table.numbers = Rule(lambda xp: lambda param, grad: param - grad), [()]
engines.update(table)
assert [result.device.id for result in results] == [1, 1, 1]
with cupy.cuda.Device(1):
    assert float(results[1]) == 0.25
    assert not any(row[0].any() for row in rows)
assert cupy.cuda.Device().id == 0
"""


def test_work_runs_on_the_device_of_the_first_operand(backend, run_python):
    build = os.environ.get("DLSKILLS_HIPEMU_BUILD")
    if build is None:
        pytest.skip("only the stand-in has two devices everywhere")
    tests = str(Path(__file__).parent.parent)
    run_python(SECOND_DEVICE.format(tests=tests, build=build), HIPEMU_DEVICES="2")
