"""Gradients by differences, against derivatives that are known."""

import numpy as np
import pytest

from dlskills import Parameters, backend_of, numerical_gradient, relative_error, to_host
from dlskills.gradients import clip_factor


@pytest.fixture
def params(backend):
    rng = np.random.default_rng(0)
    shapes = {"W": (2, 3), "b": (3,), "scale": (), "none": (0,)}
    return Parameters(
        {
            name: backend.asarray(rng.uniform(0.5, 2, shape), "float64")
            for name, shape in shapes.items()
        }
    )


def test_it_finds_known_derivatives(params, backend):
    xp = backend.xp

    def f():
        row = xp.sum(xp.log(params["W"]), axis=0) * params["b"]
        return xp.sum(row * row) * params["scale"]

    gradient = numerical_gradient(f, params)
    W, b, scale = (to_host(params[name]) for name in ("W", "b", "scale"))
    logs = np.log(W).sum(axis=0)
    expected = {
        "W": 2 * scale * logs * b**2 / W,
        "b": 2 * scale * logs**2 * b,
        "scale": np.sum((logs * b) ** 2),
        "none": np.zeros(0),
    }
    for name, value in expected.items():
        assert backend_of(gradient[name]) == backend
        assert gradient[name].dtype == params.dtype
        np.testing.assert_allclose(to_host(gradient[name]), value, rtol=1e-8)


def test_parameters_are_left_as_they_were(params, backend):
    before = to_host(params.flat).copy()
    numerical_gradient(lambda: backend.xp.sum(params["W"]), params)

    np.testing.assert_array_equal(to_host(params.flat), before)


def test_a_function_may_return_a_number():
    x = np.asarray([1.0, 2.0])
    gradient = numerical_gradient(lambda: float(x @ x), {"x": x})

    np.testing.assert_allclose(gradient["x"], [2, 4])


def test_the_step_is_h_to_both_sides():
    x, seen = np.asarray([3.0]), []
    numerical_gradient(lambda: seen.append(x[0]) or 0.0, {"x": x}, h=0.25)

    assert seen == [3.25, 2.75]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 1, 2)])
def test_the_books_form_takes_a_function_of_an_array(backend, shape):
    values = np.random.default_rng(0).uniform(0.5, 2, shape)
    x, xp = backend.asarray(values.copy(), "float64"), backend.xp
    gradient = numerical_gradient(lambda x: xp.sum(xp.log(x) * x), x)

    assert backend_of(gradient) == backend
    np.testing.assert_allclose(to_host(gradient), np.log(values) + 1, rtol=1e-8)
    np.testing.assert_array_equal(to_host(x), values)


def test_the_books_form_takes_a_function_that_reads_the_array_by_itself():
    weight, x = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -1.0])

    def loss(_):  # chapter 4: f = lambda w: net.loss(x, t)
        return np.sum((x @ weight) ** 2)

    np.testing.assert_allclose(
        numerical_gradient(loss, weight), 2 * np.outer(x, x @ weight), rtol=1e-8
    )


def test_the_books_form_leaves_the_array_after_an_error():
    x = np.array([1.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda x: 1 / 0, x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.array([3, 4]), "^params must hold floating-point numbers, .* got int64. Convert"),
        ({"w": np.array([3, 4])}, "^parameter 'w' must hold floating-point numbers, .* got int64"),
        ([3.0, 4.0], "^params must be an array, got a list. Make one with numpy.asarray"),
        (3.0, "^params must be an array, got a float"),
        ({"w": 3.0}, "^parameter 'w' must be an array, got a float"),
    ],
)
def test_what_takes_no_small_steps_is_refused(params, message):
    with pytest.raises(TypeError, match=message):
        numerical_gradient(lambda *x: 0.0, params)


@pytest.mark.parametrize("name", ["params", "parameter 'w'"])
def test_elements_that_share_memory_are_refused(name):
    x = np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))
    with pytest.raises(ValueError, match=f"^{name} has elements that share memory. Give a copy"):
        numerical_gradient(lambda *x: 0.0, x if name == "params" else {"w": x})


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1, 2], [1, 2], 0),
        ([0, 0], [0, 0], 0),
        ([], [], 0),
        ([3, 4], [0, 0], 1),
        ([0, 0], [3, 4], 1),
        ([3, 4], [-3, -4], 2),
        ([10, 0], [9, 0], 0.1),
    ],
)
def test_relative_error(backend, a, b, error):
    arrays = [backend.asarray(values, "float32") for values in (a, b)]

    assert relative_error(*arrays) == pytest.approx(error)


def test_relative_error_is_computed_in_double():
    assert relative_error(np.float32([1]), np.asarray([1 + 1e-10])) == pytest.approx(1e-10)


def test_relative_error_of_parameters(params):
    assert relative_error(params, params) == 0
    assert relative_error(params, params.zeros_like()) == 1


def test_a_gradient_that_is_not_finite_is_no_match():
    assert not relative_error(np.asarray([np.nan]), np.asarray([1.0])) < 1


# Clipping by the norm of all gradients together


@pytest.mark.parametrize("kind", [dict, Parameters])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("max_norm", "scale", "factor"),
    [(26, 1, 1), (13, 1, 1), (6.5, 1, 0.5), (13, 2, 1), (52, 2, 2), (6.5, -2, -0.5), (1, 0, 0)],
)
def test_the_factor_of_clipping(backend, kind, dtype, max_norm, scale, factor):
    values = {"W": [[3.0, 0.0], [0.0, -4.0]], "b": [12.0], "none": []}  # 3² + 4² + 12² = 13²
    grads = kind({key: backend.asarray(value, dtype) for key, value in values.items()})
    found = clip_factor(grads, max_norm, scale)

    assert float(found) == pytest.approx(factor, rel=1e-6)
    if backend.name == "numpy":
        assert isinstance(found, int | float)
    else:  # on the device, for the kernel to read
        assert backend_of(found) == backend
        assert found.shape == ()
        assert found.dtype == backend.dtype(dtype)


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("kind", [dict, Parameters])
def test_the_norm_of_half_precision_is_computed_in_single(backend, kind):
    grads = kind({"w": backend.zeros((1000,), "float16") + 20})

    assert float(clip_factor(grads, 1.0)) == pytest.approx(1 / (20 * 1000**0.5), rel=1e-6)


def test_gradients_on_two_devices_have_no_norm(backend):
    if backend.name == "numpy":
        pytest.skip("NumPy's arrays are all on one device")
    grads = {"a": backend.asarray([1.0]), "b": np.ones(1), "c": 2.0}
    with pytest.raises(TypeError, match=r"on one device; some are on .*, some on cpu \(NumPy\)"):
        clip_factor(grads, 1.0)


def test_gradients_that_need_no_clipping_are_not_scaled(backend):
    grads = {"w": backend.asarray([0.1, 0.2, 0.3], "float32")}

    assert float(clip_factor(grads, 0.7)) == 1
    assert float(clip_factor({"w": grads["w"] * 0}, 0.7)) == 1
    assert clip_factor({}, 0.7) == 1


def test_the_norm_of_numbers():
    assert clip_factor({"x": 3.0, "y": -4}, 2.5) == 0.5
    assert clip_factor({"x": np.float32(3), "y": np.asarray(4.0)}, 2.5) == 0.5


@pytest.mark.parametrize("kind", [dict, Parameters])
def test_a_gradient_that_is_not_finite_shows_in_the_factor(backend, kind):
    for bad, factor in ((np.nan, np.nan), (np.inf, 0.0), (-np.inf, 0.0)):
        grads = kind({"W": backend.asarray([1.0, bad]), "b": backend.asarray([1.0, 2.0])})
        np.testing.assert_equal(float(clip_factor(grads, 1.0)), factor)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1, ::2], np.transpose])
def test_the_norm_of_any_layout(layout):
    array = layout(np.random.default_rng(0).standard_normal((300, 400)))

    assert clip_factor({"w": array}, 1.0) == pytest.approx(1 / np.linalg.norm(array), rel=1e-12)


@pytest.mark.parametrize("kind", [dict, Parameters])
def test_the_norm_of_millions_is_as_precise_as_their_dtype(kind):
    values = np.random.default_rng(0).uniform(0.9, 1.1, 3_000_000).astype("float32")
    norm = np.linalg.norm(values.astype("float64"))

    assert clip_factor(kind({"w": values}), 1.0) * norm == pytest.approx(1, abs=1e-6)
