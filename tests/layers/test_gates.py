"""GELU: accuracy of the normal distribution function in its formula."""

import math

import numpy as np
import pytest

from dlskills import GELU, to_host


def exact(x):
    # erfc keeps its digits for negative x, where 1 + erf loses them
    return np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x])


def test_gelu_is_exact_up_to_rounding_in_float64(backend):
    x = np.concatenate([np.linspace(-37, 37, 5001), np.geomspace(1e-300, 1, 50)])
    y = to_host(GELU().forward(backend.asarray(x, "float64")))
    # exp(-x**2 / 2) has a relative error of x**2 / 2 rounding errors
    bound = (8 + x * x) * np.finfo(float).eps * np.abs(exact(x)) + 1e-300
    assert np.all(np.abs(y - exact(x)) <= bound)


def test_gelu_is_exact_up_to_rounding_in_float32(backend):
    x = np.linspace(-12, 12, 5001).astype("float32")
    y = to_host(GELU().forward(backend.asarray(x, "float32"))).astype("float64")
    expected = exact(x.astype("float64"))
    bound = (8 + x * x) * np.finfo("float32").eps * np.abs(expected) + 1e-37
    assert np.all(np.abs(y - expected) <= bound)


def test_the_derivative_of_gelu_is_exact_up_to_rounding(backend):
    x = np.linspace(-37, 37, 2001)
    layer = GELU()
    layer.forward(backend.asarray(x))
    found = to_host(layer.backward(backend.asarray(np.ones_like(x))))
    gate = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])
    bell = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    scale = gate + np.abs(x) * bell
    assert np.all(np.abs(found - (gate + x * bell)) <= (8 + x * x) * 2.3e-16 * scale + 1e-300)


def test_the_approximation_is_close():
    x = np.linspace(-6, 6, 1001)
    difference = GELU(approximate=True).forward(x) - GELU().forward(x)
    assert 1e-4 < np.abs(difference).max() < 5e-4


def test_both_forms_of_gelu_may_be_used_side_by_side():
    x = np.linspace(-2, 2, 9)
    one, other = GELU(), GELU(approximate=True)
    first, second = one.forward(x), other.forward(x)
    assert not np.array_equal(first, second)
    assert not np.array_equal(one.backward(x), other.backward(x))
    assert [repr(one), repr(other)] == ["GELU()", "GELU(approximate=True)"]


@pytest.mark.parametrize("approximate", [False, True])
def test_nan_and_infinity(backend, approximate):
    y = to_host(GELU(approximate).forward(backend.asarray([math.nan, math.inf, 0.0])))
    assert math.isnan(y[0])
    assert y[1:].tolist() == [math.inf, 0]
