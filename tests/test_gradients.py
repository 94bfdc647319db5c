"""Gradients by differences, against derivatives that are known."""

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


def test_clip_factor_is_still_found_here():
    import dlskills
    from dlskills.gradients import clip_factor

    assert clip_factor is dlskills.clip_factor
