"""Values and derivatives of the activation functions, also for huge inputs."""

import math

import numpy as np
import pytest
from gradient_check import assert_backward, normal

from dlskills import GELU, LeakyReLU, ReLU, Sigmoid, Tanh, to_host
from dlskills.layers import ACTIVATIONS

FUNCTIONS = {
    ReLU: lambda x: max(x, 0),
    LeakyReLU: lambda x: x if x > 0 else 0.01 * x,
    Sigmoid: lambda x: 1 / (1 + math.exp(-x)),
    Tanh: math.tanh,
    GELU: lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_values(backend, activation):
    x = np.linspace(-5, 5, 41)
    y = activation().forward(backend.asarray(x))

    np.testing.assert_allclose(
        to_host(y), [FUNCTIONS[activation](v) for v in x], rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 2, 2)])
def test_backward(backend, activation, shape):
    assert_backward(activation(), normal(backend, *shape))


def test_the_slope_of_leaky_relu(backend):
    layer = LeakyReLU(slope=0.25)
    y = layer.forward(backend.asarray([-4.0, 4.0]))

    assert to_host(y).tolist() == [-1, 4]
    assert_backward(LeakyReLU(-0.5), normal(backend, 6))


@pytest.mark.parametrize("activation", [ReLU, LeakyReLU])
def test_the_derivative_at_0_is_the_left_derivative(backend, activation):
    layer = activation()
    layer.forward(backend.asarray([0.0, -0.0]))
    left = 0.01 if activation is LeakyReLU else 0

    np.testing.assert_allclose(to_host(layer.backward(backend.asarray([1.0, 1.0]))), left)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("activation", "limits"), [(Sigmoid, (0, 1)), (Tanh, (-1, 1))])
def test_huge_inputs_saturate_without_overflow(backend, activation, limits, dtype):
    layer = activation()
    y = layer.forward(backend.asarray([-1e30, 1e30], dtype))

    assert to_host(y).tolist() == list(limits)
    assert to_host(layer.backward(backend.asarray([1.0, 1.0], dtype))).tolist() == [0, 0]


@pytest.mark.parametrize("activation", [ReLU, LeakyReLU, GELU])
@pytest.mark.parametrize(
    ("dtype", "huge"), [("float32", 1e10), ("float32", 1e30), ("float16", 8e3)]
)
def test_huge_inputs_pass_through_without_overflow(backend, activation, dtype, huge):
    if dtype == "float16" and backend.name == "array_api_strict":
        pytest.skip("the standard has no half precision")
    layer = activation()
    with np.errstate(over="ignore"):  # GELU's third power overflows
        y = layer.forward(backend.asarray([-huge, huge], dtype))
        dx = layer.backward(backend.asarray([1.0, 1.0], dtype))

    assert to_host(y)[1] == np.dtype(dtype).type(huge)
    slope = 0.01 if activation is LeakyReLU else 0
    rtol = 1e-7 if dtype == "float32" else 1e-3
    np.testing.assert_allclose(to_host(dx), [slope, 1], rtol=rtol)


def test_gelu_approximates_its_exact_form():
    x = np.linspace(-6, 6, 1001)
    exact = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x]

    assert np.abs(GELU().forward(x) - exact).max() < 5e-4


def test_activation_names_match_their_classes():
    assert {name: kind.__name__.lower() for name, kind in ACTIVATIONS.items()} == {
        name: name for name in ACTIVATIONS
    }


@pytest.mark.parametrize("slope", ["0.1", None, math.nan])
def test_an_invalid_slope_is_rejected(slope):
    with pytest.raises((TypeError, ValueError), match="slope must be"):
        LeakyReLU(slope)
