"""Formulas of elements: the same values everywhere, and one launch on a GPU."""

import numpy as np
import pytest
from gradient_check import normal

from dlskills import fusion, to_host
from dlskills.fusion import elementwise, summed


@elementwise
def scaled_and_shifted(xp):
    return lambda x, mean, scale: (x - mean) * scale


@elementwise
def two_results(xp):
    def both(x, labels, classes):
        hot = xp.astype(labels == classes, x.dtype)
        return xp.exp(x) * hot, xp.where(x > 0, x, -x)

    return both


@summed
def sum_and_squares(xp):
    return lambda x, mean: (x, (x - mean) * (x - mean))


@summed
def exponentials(xp):
    return lambda x: xp.exp(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operands_broadcast_and_numbers_go_in(backend, dtype):
    x, mean = normal(backend, 6, 4, dtype=dtype), normal(backend, 4, dtype=dtype)
    y = scaled_and_shifted(x, mean, 0.5)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(to_host(y), (to_host(x) - to_host(mean)) * 0.5, rtol=1e-6, atol=1e-7)


def test_numbers_of_numpy_are_numbers(backend):
    x = normal(backend, 3, 5, dtype="float32")
    y = scaled_and_shifted(x, np.float32(1.0), np.float64(0.5))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(to_host(y), to_host(scaled_and_shifted(x, 1.0, 0.5)))
    total = sum_and_squares(x, np.float32(1.0), axis=0)[1]
    np.testing.assert_array_equal(to_host(total), to_host(sum_and_squares(x, 1.0, axis=0)[1]))


def test_the_first_operand_may_be_a_scalar_of_numpy():
    assert scaled_and_shifted(np.float64(3.0), 1.0, np.float64(0.5)) == 1.0


def test_several_results_and_integers(backend):
    x = normal(backend, 3, 5)
    labels, classes = backend.asarray(np.array([[0], [4], [2]])), backend.asarray(np.arange(5))
    hot, absolute = map(to_host, two_results(x, labels, classes))
    x = to_host(x)
    expected = np.zeros((3, 5))
    for row, label in enumerate([0, 4, 2]):
        expected[row, label] = np.exp(x[row, label])
    np.testing.assert_allclose(hot, expected, rtol=1e-12)
    np.testing.assert_allclose(absolute, np.abs(x))


@pytest.mark.parametrize(
    ("shape", "axis"), [((7, 3), 0), ((7, 3), 1), ((4, 3, 2, 5), (0, 2, 3)), ((6,), 0), ((3, 0), 1)]
)
@pytest.mark.parametrize("given", [True, False])
def test_sums_of_several_results(backend, shape, axis, given):
    x = normal(backend, *shape)
    host = to_host(x)
    sums = [host.sum(axis), ((host - 0.5) ** 2).sum(axis)]
    out = [backend.zeros(sums[0].shape, "float64") for _ in sums] if given else None
    results = sum_and_squares(x, 0.5, axis=axis, out=out)
    if given:
        assert all(result is into for result, into in zip(results, out, strict=True))
    for result, expected in zip(results, sums, strict=True):
        assert tuple(result.shape) == expected.shape
        np.testing.assert_allclose(to_host(result), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("given", [True, False])
def test_half_precision_is_added_up_in_single(backend, given):
    x = backend.zeros((4000, 3), "float16") + 1.5
    out = [backend.zeros((3,), "float16") for _ in range(2)] if given else None
    sums = sum_and_squares(x, 0.5, axis=0, out=out)
    assert [total.dtype for total in sums] == [backend.dtype("float16")] * 2
    assert [to_host(total).tolist() for total in sums] == [[6000] * 3, [4000] * 3]


def test_one_sum_is_an_array(backend):
    x = normal(backend, 4, 3)
    np.testing.assert_allclose(
        to_host(exponentials(x, axis=1)), np.exp(to_host(x)).sum(1), rtol=1e-12
    )


def test_operands_are_left_as_they_are(backend):
    x = normal(backend, 4, 3)
    before = to_host(x).copy()
    scaled_and_shifted(x, 1.0, 2.0)
    sum_and_squares(x, 1.0, axis=0)
    np.testing.assert_array_equal(to_host(x), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(backend, value):
    x = backend.asarray(np.array([[1.0, value]]))
    assert not np.isfinite(to_host(scaled_and_shifted(x, 0.0, 2.0))[0, 1])
    assert not np.isfinite(to_host(sum_and_squares(x, 0.0, axis=0)[1])[1])


@pytest.mark.backends("cupy")
def test_a_formula_is_one_launch(backend, device_counters):
    x, mean = normal(backend, 30, 4), normal(backend, 4)
    for work in (
        lambda: scaled_and_shifted(x, mean, 0.5),
        lambda: sum_and_squares(x, mean, axis=0),
        lambda: exponentials(x, axis=1),
    ):
        work()
        with device_counters.counting() as added:
            work()
        assert added["kernel_launches"] == 1
        assert added["copies_h2d"] == added["copies_d2h"] == 0


def test_a_decorated_formula_keeps_its_name():
    assert scaled_and_shifted.__name__ == "scaled_and_shifted"


def named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["<lambda>", "σ", "_swish_", "class", "2x", ""])
def test_a_formula_may_have_any_name(backend, name):
    swish = elementwise(named(name, lambda xp: lambda x: x / (1 + xp.exp(-x))))
    x = normal(backend, 5)
    host = to_host(x)
    np.testing.assert_allclose(to_host(swish(x)), host / (1 + np.exp(-host)), rtol=1e-12)
    total = summed(named(name, lambda xp: lambda x: x * x))(x, axis=0)
    np.testing.assert_allclose(to_host(total), np.sum(host**2), rtol=1e-12)


def test_over_all_axes(backend):
    x = normal(backend, 4, 3, 2)
    sums = sum_and_squares(x, 0.5, axis=None)
    assert [total.shape for total in sums] == [(), ()]
    host = to_host(x)
    expected = [host.sum(), ((host - 0.5) ** 2).sum()]
    np.testing.assert_allclose([float(total) for total in sums], expected, rtol=1e-12)


@pytest.mark.backends("numpy", "cupy")
def test_integers_are_computed_with_as_the_library_does(backend):
    x = backend.asarray(np.array([[-2, -1, 0, 1, 2]]))
    half = scaled_and_shifted(x, 0.0, 0.25)
    np.testing.assert_array_equal(to_host(half), [[-0.5, -0.25, 0, 0.25, 0.5]])
    np.testing.assert_allclose(to_host(exponentials(x, axis=1)), [np.exp(np.arange(-2, 3)).sum()])


@pytest.mark.backends("cupy")
def test_where_no_kernel_can_be_made_a_formula_is_called_with_one_warning(backend):
    parity = elementwise(named("parity", lambda xp: lambda x: x % 2))
    centred = summed(named("centred", lambda xp: lambda x: x - xp.mean(x)))
    x = backend.asarray(np.array([1.0, 2.0, 6.0]))
    with pytest.warns(UserWarning, match="^parity: no kernel .*; it runs operation by") as warned:
        assert to_host(parity(x)).tolist() == [1, 0, 0]
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="can't use xp.mean over all"):
        assert float(centred(x, axis=0)) == 0
    parity(x)  # a second warning would be an error
    centred(x, axis=0)


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("shape", [(100_000,), (300, 500), (2, 300_000)])
def test_large_sums_of_one_operand(backend, shape):
    x = normal(backend, *shape, dtype="float32")
    expected = np.exp(to_host(x).astype("float64")).sum(-1)
    np.testing.assert_allclose(to_host(exponentials(x, axis=-1)), expected, rtol=1e-4)


@pytest.mark.backends("cupy")
def test_no_sum_has_the_form_that_cupy_hands_to_cub(backend):
    """Of one operand and one result: its kernel does not compile with names as ours."""
    for formula, kinds in ((exponentials, "a"), (sum_and_squares, "an")):
        kernel, count = fusion._sum_kernel(formula.formula, kinds)
        assert (kernel.nin, kernel.nout) == (2, count)
