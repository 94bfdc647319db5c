"""Formulas give the same results on every engine, for all shapes, dtypes, strides and axes."""

import hypothesis.strategies as st
import numpy as np
import pytest
from gradient_check import normal
from hypothesis import given

from dlskills import along, elementwise, engine, to_host
from dlskills.arrays.random import MaskStream
from dlskills.formulas import ENGINES, NotElementwiseError, UnsuitedFormulaError


def engines_for(backend):
    return [
        name
        for name, engine in ENGINES.items()
        if engine.library in (None, backend.name) and engine.missing() is None
    ]


@elementwise
def gelu_of_sum(xp):
    def results(x, bias, scale):
        tanh = xp.tanh(scale * (x + bias + 0.044715 * x * x * x))
        return 0.5 * x * (1 + tanh), xp.where(tanh > 0, tanh, -x)

    return results


@along
def everything(xp):
    """Two passes, a costly value, and results of all kinds."""

    def results(x, per_line, along_it, number, axis):
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=axis, keepdims=True)
        mean = xp.mean(x, axis=axis, keepdims=True)
        return (
            e / total * along_it + number,
            per_line * mean + xp.min(x, axis=axis, keepdims=True),
            xp.sum((xp.log(total) - shifted) * number) / 2,
            xp.mean(x * x) + number,
            xp.sum(per_line * mean),
        )

    return results


@along
def only_sums(xp):
    return lambda x, y, axis: (x + y, xp.sum(x * y) / 3, xp.mean((x - y) ** 2))


def on_all(backend, formula, *operands, **options):
    """Compare the results of each engine with those of the engine `plain` in float64."""
    wide = [
        backend.asarray(to_host(o).astype("float64")) if hasattr(o, "shape") else o
        for o in operands
    ]
    with engine("plain"):
        expected = formula(*wide, **options)
    expected = expected if isinstance(expected, tuple) else (expected,)
    expected = [np.asarray(to_host(array)) for array in expected]
    for name in engines_for(backend):
        with engine(name):
            found = formula(*operands, **options)
        found = found if isinstance(found, tuple) else (found,)
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert tuple(one.shape) == other.shape, (name, i)
            tolerance = {"float16": 1e-2, "float32": 2e-5, "float64": 1e-11}[
                str(operands[0].dtype).rpartition(".")[2]
            ]
            scale = max(1.0, float(np.max(np.abs(other))))
            np.testing.assert_allclose(
                to_host(one), other, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name} {i}"
            )


def strided(backend, array, kind):
    """Return the same values in another memory order."""
    if kind == "transposed":
        turned = backend.asarray(array.T.copy())
        return backend.xp.permute_dims(turned, tuple(range(array.ndim))[::-1])
    if kind == "every second":
        twice = backend.asarray(np.repeat(array, 2, axis=-1))
        return twice[..., ::2]
    return backend.asarray(array)


STRIDES = st.sampled_from(["contiguous", "transposed", "every second"])


@pytest.mark.backends("numpy", "torch", "cupy")
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 130)),
    axis=st.sampled_from([0, 1, -1]),
    dtype=st.sampled_from(["float32", "float64"]),
    strides=STRIDES,
    seed=st.integers(0, 100),
)
def test_reductions_along_one_of_two_axes(backend, shape, axis, dtype, strides, seed):
    rng = np.random.default_rng(seed)
    x = strided(backend, rng.standard_normal(shape).astype(dtype), strides)
    lines = (1, shape[1]) if axis == 0 else (shape[0], 1)
    length = (shape[0], 1) if axis == 0 else (shape[1],)
    per_line, along_it = (
        backend.asarray(rng.standard_normal(s).astype(dtype)) for s in (lines, length)
    )
    on_all(backend, everything, x, per_line, along_it, 0.5, axis=axis)


@pytest.mark.backends("numpy", "torch", "cupy")
@given(
    shape=st.tuples(*(st.integers(1, 9),) * 4),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 100),
)
def test_reductions_over_batch_and_pixels(backend, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    per_channel = rng.standard_normal((1, shape[1], 1, 1)).astype(dtype)
    x, per_channel = map(backend.asarray, (rng.standard_normal(shape).astype(dtype), per_channel))
    on_all(backend, everything, x, per_channel, 1.0, 0.25, axis=(0, 2, 3))


@pytest.mark.backends("numpy", "torch", "cupy")
@given(
    shape=st.lists(st.integers(0, 12), min_size=1, max_size=3).map(tuple),
    broadcast=st.sampled_from(["full", "last", "one", "number"]),
    dtype=st.sampled_from(["float32", "float64"]),
    strides=STRIDES,
    seed=st.integers(0, 100),
)
def test_elementwise_with_broadcasting(backend, shape, broadcast, dtype, strides, seed):
    rng = np.random.default_rng(seed)
    x = strided(backend, rng.standard_normal(shape).astype(dtype), strides)
    other = {"full": shape, "last": shape[-1:], "one": (1,) * len(shape)}.get(broadcast)
    bias = 0.5 if other is None else backend.asarray(rng.standard_normal(other).astype(dtype))
    if 0 not in shape:
        on_all(backend, gelu_of_sum, x, bias, 0.8)
    else:
        assert tuple(gelu_of_sum(x, bias, 0.8)[0].shape) == shape


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (5000,), (70, 300), (2, 3, 1000)])
def test_sums_over_everything(backend, shape, dtype):
    x, y = (normal(backend, *shape, seed=seed, dtype=dtype) for seed in (0, 1))
    on_all(backend, only_sums, x, y, axis=tuple(range(len(shape))))


@pytest.mark.backends("numpy", "cupy")
def test_a_long_sum_is_accurate(backend):
    x = backend.asarray(np.full(3_000_000, 0.1, "float32"))
    for name in [name for name in engines_for(backend) if ENGINES[name].fuses]:
        with engine(name):
            total = float(only_sums(x, x, axis=0)[1])
        assert total == pytest.approx(3_000_000 * float(np.float32(0.1)) ** 2 / 3, rel=1e-6), name


@pytest.mark.backends("numpy", "cupy")
def test_a_large_problem_split_over_threads_is_complete(backend):
    x = normal(backend, 1500, 1000, dtype="float32")
    line, along_it = normal(backend, 1, 1000, dtype="float32"), normal(backend, 1500, 1, seed=3)
    on_all(backend, everything, x, line, along_it, 0.5, axis=0)
    on_all(backend, only_sums, x, x, axis=(0, 1))


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("shape", [(4, 6), (300, 40)])
def test_half_precision_is_computed_in_single_precision(backend, shape):
    rng = np.random.default_rng(0)
    x = backend.asarray((300 * rng.standard_normal(shape)).astype("float16"))  # squares overflow
    for name in engines_for(backend):
        with engine(name):
            full, total, mean = only_sums(x, x, axis=(0, 1))
        assert full.dtype == x.dtype
        assert "float32" in str(total.dtype)
        expected = np.mean(to_host(x).astype("float64") ** 2)
        assert float(total) == pytest.approx(expected * x.shape[0] * x.shape[1] / 3, rel=1e-4)
        assert float(mean) == 0


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("shape", [(4, 6), (300, 40)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_propagate(backend, shape, value):
    x = np.random.default_rng(0).standard_normal(shape)
    x[1, 2] = value
    x = backend.asarray(x)
    for name in engines_for(backend):
        with engine(name), np.errstate(all="ignore"):
            full, line, *totals = everything(x, 1.0, 1.0, 0.5, axis=1)
        assert not np.isfinite(to_host(line)[1, 0]), name
        assert np.all(np.isfinite(np.delete(to_host(full), 1, axis=0))), name
        if np.isnan(value):
            assert np.all(np.isnan(to_host(full)[1])), name
        assert not np.isfinite(float(totals[1])), name


@pytest.mark.parametrize("given", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.backends("numpy", "torch", "cupy")
def test_results_are_written_to_the_arrays_of_out(backend, given):
    x, y = (normal(backend, 80, 90, seed=seed, dtype="float32") for seed in (0, 1))
    for name in engines_for(backend):
        wanted = [backend.zeros((80, 90), "float32"), backend.zeros((), "float32"), None]
        out = [into if wish else None for into, wish in zip(wanted, given, strict=True)]
        with engine(name):
            results = only_sums(x, y, axis=(0, 1), out=out)
        for into, result in zip(out, results, strict=True):
            assert into is None or into is result
        np.testing.assert_allclose(to_host(results[0]), to_host(x) + to_host(y), rtol=1e-6)


@pytest.mark.backends("numpy", "torch", "cupy")
def test_sums_may_be_written_to_arrays_without_the_reduced_axis(backend):
    @along
    def sums(xp):
        return lambda x, axis: (2 * x, xp.sum(x, axis=axis, keepdims=True))

    x = normal(backend, 80, 90, dtype="float32")
    for name in engines_for(backend):
        out = backend.zeros((90,), "float32")
        with engine(name):
            assert sums(x, axis=0, out=(None, out))[1] is out
        np.testing.assert_allclose(to_host(out), to_host(x).sum(0), rtol=1e-4, atol=1e-5)


@along
def doubled_and_centred(xp):
    return lambda x, axis: (x * 2, x - xp.mean(x, axis=axis, keepdims=True))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.backends("numpy", "torch", "cupy")
def test_a_result_may_overwrite_an_operand(backend, axis):
    for name in engines_for(backend):
        x = normal(backend, 80, 90)
        host = to_host(x).copy()
        with engine(name):
            doubled, centred = doubled_and_centred(x, axis=axis, out=(x, None))
        assert doubled is x
        np.testing.assert_allclose(to_host(x), host * 2)
        expected = host - host.mean(axis, keepdims=True)
        np.testing.assert_allclose(to_host(centred), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.backends("numpy", "cupy")
def test_a_wrong_number_of_output_arrays_is_rejected(backend):
    x = normal(backend, 80, 90)
    for name in engines_for(backend):
        for _ in range(2):
            with engine(name), pytest.raises(ValueError, match=r"only_sums has 3 results, got 1"):
                only_sums(x, x, axis=0, out=(None,))


def test_operands_are_not_changed(backend):
    x = normal(backend, 80, 90)
    before = to_host(x).copy()
    gelu_of_sum(x, x, 2.0)
    everything(x, 1.0, 1.0, 0.5, axis=0)
    np.testing.assert_array_equal(to_host(x), before)


@pytest.mark.parametrize("shape", [(3, 5), (80, 90)])
def test_numpy_scalars_are_treated_as_numbers(backend, shape):
    x = normal(backend, *shape, dtype="float32")
    found = gelu_of_sum(x, np.float32(1.0), np.float64(0.5))
    for one, other in zip(found, gelu_of_sum(x, 1.0, 0.5), strict=True):
        assert one.dtype == x.dtype
        np.testing.assert_array_equal(to_host(one), to_host(other))


def test_the_first_operand_may_be_a_numpy_scalar():
    assert gelu_of_sum(np.float64(0.0), 1.0, 1.0)[0] == 0.0


@pytest.mark.parametrize("shape", [(3, 5), (80, 90)])
def test_a_number_may_be_a_0d_array(backend, shape):
    x, half = normal(backend, *shape), backend.asarray(np.asarray(0.5))
    for one, other in zip(gelu_of_sum(x, half, half), gelu_of_sum(x, 0.5, 0.5), strict=True):
        np.testing.assert_allclose(to_host(one), to_host(other), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (80, 90)])
def test_integer_operands_next_to_floats(backend, shape):
    @elementwise
    def hot(xp):
        return lambda x, labels, classes: xp.exp(x) * xp.astype(labels == classes, x.dtype)

    x = normal(backend, *shape)
    labels = np.arange(shape[0])[:, None] % shape[1]
    found = hot(x, backend.asarray(labels), backend.asarray(np.arange(shape[1])))
    expected = np.where(labels == np.arange(shape[1]), np.exp(to_host(x)), 0)
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-12)


@pytest.mark.backends("numpy", "cupy")
def test_integer_arrays_follow_the_librarys_promotion(backend):
    quarter = elementwise(lambda xp: lambda x: x * 0.25)
    x = backend.asarray(np.arange(-3, 5000))
    np.testing.assert_array_equal(to_host(quarter(x)), np.arange(-3, 5000) * 0.25)


@pytest.mark.parametrize("shape", [(3, 5), (80, 90)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_random_mask_may_be_an_operand(backend, shape, dtype):
    masked = elementwise(lambda xp: lambda x, mask, scale: x * mask * scale)
    x = normal(backend, *shape, dtype=dtype)
    mask = MaskStream(0, "dropout").draw(x, 0.3)
    host = MaskStream(0, "dropout").draw(to_host(x), 0.3).values()
    for _ in range(2):  # forward and backward
        np.testing.assert_array_equal(to_host(masked(x, mask, 2.0)), to_host(x) * host * 2)


@pytest.mark.parametrize("name", ["<lambda>", "σ", "_swish_", "class", "2x", ""])
@pytest.mark.parametrize("size", [5, 5000])
def test_a_formula_may_have_any_name(backend, name, size):
    function = lambda xp: lambda x: x / (1 + xp.exp(-x))  # noqa: E731
    function.__name__ = name
    x = normal(backend, size)
    host = to_host(x)
    np.testing.assert_allclose(
        to_host(elementwise(function)(x)), host / (1 + np.exp(-host)), rtol=1e-12
    )


def test_a_decorated_formula_keeps_its_name_and_docstring():
    assert everything.__name__ == "everything"
    assert everything.__doc__.startswith("Two passes")


@pytest.mark.backends("cupy")
def test_a_formula_takes_one_launch(backend, device_counters):
    x, y = normal(backend, 30, 40), normal(backend, 30, 40, seed=1)
    for work in (
        lambda: gelu_of_sum(x, y, 0.5),
        lambda: everything(x, 1.0, 1.0, 0.5, axis=0),
        lambda: everything(x, 1.0, 1.0, 0.5, axis=1),
        lambda: only_sums(x, y, axis=(0, 1)),
    ):
        work()
        with device_counters.counting() as added:
            work()
        assert added["kernel_launches"] == 1
        assert added["copies_h2d"] == added["copies_d2h"] == 0


# Formulas that an engine can't run


@pytest.mark.backends("numpy", "cupy")
def test_a_formula_that_cannot_be_compiled_warns_once_and_runs(backend):
    parity = elementwise(lambda xp: lambda x: x % 2)
    x = backend.asarray(np.arange(5000.0))
    if "numba" not in engines_for(backend) and "cuda" not in engines_for(backend):
        pytest.skip("no engine that compiles formulas")
    message = r"the formula can't be compiled: .*\. Falling back to the engine 'plain'"
    with pytest.warns(UserWarning, match=message) as warned:
        assert to_host(parity(x))[:3].tolist() == [0, 1, 0]
    assert warned[0].filename == __file__
    parity(x)  # a second warning would be an error


@pytest.mark.backends("numpy", "cupy")
def test_a_forced_engine_does_not_fall_back(backend):
    parity = elementwise(lambda xp: lambda x: x % 2)
    names = set(engines_for(backend)) - {"plain"}
    for name in names:
        with engine(name), pytest.raises(UnsuitedFormulaError, match="can't be compiled"):
            parity(normal(backend, 5000))


def test_blocked_rejects_an_elementwise_formula_that_reduces():
    centred = elementwise(lambda xp: lambda x: x - xp.mean(x))
    with engine("blocked"), pytest.raises(NotElementwiseError, match="Use @along for reductions"):
        centred(np.arange(100_000.0))
