"""Numerical gradients against known derivatives."""

import numpy as np
import pytest

from dlskills import Parameters, backend_of, numerical_gradient, relative_error, to_host


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


def test_gradients_match_known_derivatives(params, backend):
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


def test_parameters_are_restored(params, backend):
    before = to_host(params.flat).copy()
    numerical_gradient(lambda: backend.xp.sum(params["W"]), params)

    np.testing.assert_array_equal(to_host(params.flat), before)


def test_a_function_may_return_a_number():
    x = np.asarray([1.0, 2.0])
    gradient = numerical_gradient(lambda: float(x @ x), {"x": x})

    np.testing.assert_allclose(gradient["x"], [2, 4])


def test_each_element_is_moved_by_h_in_both_directions():
    x, seen = np.asarray([3.0]), []
    numerical_gradient(lambda: seen.append(x[0]) or 0.0, {"x": x}, h=0.25)

    assert seen == [3.25, 2.75]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 1, 2)])
def test_the_books_form_accepts_a_function_of_an_array(backend, shape):
    values = np.random.default_rng(0).uniform(0.5, 2, shape)
    x, xp = backend.asarray(values.copy(), "float64"), backend.xp
    gradient = numerical_gradient(lambda x: xp.sum(xp.log(x) * x), x)

    assert backend_of(gradient) == backend
    np.testing.assert_allclose(to_host(gradient), np.log(values) + 1, rtol=1e-8)
    np.testing.assert_array_equal(to_host(x), values)


def test_the_books_form_accepts_a_function_that_ignores_its_argument():
    weight, x = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -1.0])

    def loss(_):  # chapter 4: f = lambda w: net.loss(x, t)
        return np.sum((x @ weight) ** 2)

    np.testing.assert_allclose(
        numerical_gradient(loss, weight), 2 * np.outer(x, x @ weight), rtol=1e-8
    )


def test_the_array_is_restored_after_an_error():
    x = np.array([1.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda x: 1 / 0, x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.array([3, 4]), "^params must hold floating-point numbers, got int64. Convert"),
        ({"w": np.array([3, 4])}, "^parameter 'w' must hold floating-point numbers, got int64"),
        ([3.0, 4.0], "^params must be an array, got a list. Create one with numpy.asarray"),
        (3.0, "^params must be an array, got a float"),
        ({"w": 3.0}, "^parameter 'w' must be an array, got a float"),
    ],
)
def test_integers_and_non_arrays_are_rejected(params, message):
    with pytest.raises(TypeError, match=message):
        numerical_gradient(lambda *x: 0.0, params)


@pytest.mark.parametrize("name", ["params", "parameter 'w'"])
def test_elements_that_share_memory_are_rejected(name):
    x = np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))
    with pytest.raises(ValueError, match=f"^{name} has elements that share memory. Pass a copy"):
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


def test_relative_error_is_computed_in_double_precision():
    assert relative_error(np.float32([1]), np.asarray([1 + 1e-10])) == pytest.approx(1e-10)


def test_relative_error_of_parameters(params):
    assert relative_error(params, params) == 0
    assert relative_error(params, params.zeros_like()) == 1


def test_the_relative_error_of_nan_is_not_small():
    assert not relative_error(np.asarray([np.nan]), np.asarray([1.0])) < 1


def test_clip_factor_can_still_be_imported_from_gradients():
    import dlskills
    from dlskills.gradients import clip_factor

    assert clip_factor is dlskills.clip_factor
