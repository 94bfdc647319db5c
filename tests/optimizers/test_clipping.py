"""Gradient clipping by the global norm."""

import numpy as np
import pytest

from dlskills import SGD, Parameters, backend_of, clip_factor, to_host


@pytest.mark.parametrize("kind", [dict, Parameters])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("max_norm", "scale", "factor"),
    [(26, 1, 1), (13, 1, 1), (6.5, 1, 0.5), (13, 2, 1), (52, 2, 2), (6.5, -2, -0.5), (1, 0, 0)],
)
def test_the_factor_limits_the_global_norm(backend, kind, dtype, max_norm, scale, factor):
    values = {"W": [[3.0, 0.0], [0.0, -4.0]], "b": [12.0], "none": []}  # 3² + 4² + 12² = 13²
    grads = kind({key: backend.asarray(value, dtype) for key, value in values.items()})
    found = clip_factor(grads, max_norm, scale)

    assert float(found) == pytest.approx(factor, rel=1e-6)
    if backend.name == "numpy":
        assert isinstance(found, int | float)
    else:  # stays on the device, where the kernel reads it
        assert backend_of(found) == backend
        assert found.shape == ()
        assert found.dtype == backend.dtype(dtype)


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("kind", [dict, Parameters])
def test_the_norm_of_half_precision_gradients_is_computed_in_float32(backend, kind):
    grads = kind({"w": backend.zeros((1000,), "float16") + 20})

    assert float(clip_factor(grads, 1.0)) == pytest.approx(1 / (20 * 1000**0.5), rel=1e-6)


def test_gradients_on_different_devices_are_refused(backend):
    if backend.name == "numpy":
        pytest.skip("all NumPy arrays are on one device")
    grads = {"a": backend.asarray([1.0]), "b": np.ones(1), "c": 2.0}
    with pytest.raises(
        TypeError, match=r"must be on one device .*, got some on .* and some on cpu \(NumPy"
    ):
        clip_factor(grads, 1.0)


def test_gradients_below_the_maximum_norm_are_not_scaled(backend):
    grads = {"w": backend.asarray([0.1, 0.2, 0.3], "float32")}

    assert float(clip_factor(grads, 0.7)) == 1
    assert float(clip_factor({"w": grads["w"] * 0}, 0.7)) == 1
    assert clip_factor({}, 0.7) == 1


def test_the_norm_of_numbers():
    assert clip_factor({"x": 3.0, "y": -4}, 2.5) == 0.5
    assert clip_factor({"x": np.float32(3), "y": np.asarray(4.0)}, 2.5) == 0.5


@pytest.mark.parametrize("kind", [dict, Parameters])
def test_nan_and_infinity_show_in_the_factor(backend, kind):
    for bad, factor in ((np.nan, np.nan), (np.inf, 0.0), (-np.inf, 0.0)):
        grads = kind({"W": backend.asarray([1.0, bad]), "b": backend.asarray([1.0, 2.0])})
        np.testing.assert_equal(float(clip_factor(grads, 1.0)), factor)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1, ::2], np.transpose])
def test_the_norm_of_arrays_of_any_layout(layout):
    array = layout(np.random.default_rng(0).standard_normal((300, 400)))

    assert clip_factor({"w": array}, 1.0) == pytest.approx(1 / np.linalg.norm(array), rel=1e-12)


@pytest.mark.parametrize("kind", [dict, Parameters])
def test_the_norm_of_millions_of_elements_keeps_full_precision(kind):
    values = np.random.default_rng(0).uniform(0.9, 1.1, 3_000_000).astype("float32")
    norm = np.linalg.norm(values.astype("float64"))

    assert clip_factor(kind({"w": values}), 1.0) * norm == pytest.approx(1, abs=1e-6)


def test_padding_is_excluded_from_the_norm(backend):
    grads = Parameters({"a": backend.asarray([3.0] * 4), "b": backend.asarray(8.0)})
    assert float(clip_factor(grads, 1.0)) == pytest.approx(0.1, rel=1e-6)


def test_the_norm_of_many_arrays(backend):
    rng = np.random.default_rng(0)
    values = {f"w{i}": rng.standard_normal(i % 7) for i in range(100)}
    norm = np.sqrt(sum(np.sum(value**2) for value in values.values()))
    grads = {key: backend.asarray(value) for key, value in values.items()}
    assert float(clip_factor(grads, 1.0)) == pytest.approx(1 / norm, rel=1e-12)


def rounds_subnormals_to_zero(backend):
    return float(backend.asarray([1e-40], "float32")[0] * 1) == 0


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1e20, "float32"),
        (3e38, "float32"),
        (1e-25, "float32"),
        (1e-40, "float32"),
        (6e4, "float16"),
    ],
)
@pytest.mark.parametrize("kind", [dict, Parameters])
@pytest.mark.parametrize("size", [3, 100_000])
def test_the_norm_is_correct_when_squares_overflow_or_underflow(backend, value, dtype, kind, size):
    if not hasattr(backend.xp, dtype):
        pytest.skip(f"{backend.name} has no {dtype}")
    arrays = [backend.zeros((size,), dtype) + value for _ in range(2)]
    grads = kind({"a": arrays[0], "b": arrays[1]})
    stored = float(np.asarray(value, dtype))
    norm = stored * (2 * size) ** 0.5
    tolerance = 1e-3 if dtype == "float16" else 1e-5
    if dtype == "float32" and rounds_subnormals_to_zero(backend):
        if value < 1e-38:
            assert float(clip_factor(grads, norm / 4)) == 1
            return
        if value > 1e38:  # the factor of the update below is subnormal
            assert float(clip_factor(grads, norm / 4)) == pytest.approx(0.25, rel=tolerance)
            return
    assert float(clip_factor(grads, norm / 4)) == pytest.approx(0.25, rel=tolerance)
    assert float(clip_factor(grads, norm * 4)) == 1
    params = kind({name: backend.zeros((size,), dtype) for name in grads})
    SGD(lr=1.0, clip_norm=1.0).update(params, grads)
    expected = -min(stored, 1 / (2 * size) ** 0.5)
    np.testing.assert_allclose(to_host(params["a"]), expected, rtol=2e-3, atol=0)


def test_a_gradient_that_is_none_is_named():
    with pytest.raises(TypeError, match="the gradient of 'b' is None"):
        clip_factor({"a": np.ones(2), "b": None}, 1.0)


def test_the_factor_of_zeros_nan_and_infinity(backend):
    zeros = backend.zeros((4,), "float32")
    assert float(clip_factor({"a": zeros}, 1.0)) == 1
    assert np.isnan(float(clip_factor({"a": zeros + np.nan}, 1.0)))
    assert float(clip_factor({"a": zeros + np.inf}, 1.0)) == 0
