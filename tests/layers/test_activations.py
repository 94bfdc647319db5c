"""Values and derivatives of the activation functions, also for huge inputs."""

import math

import numpy as np
import pytest
from gradient_check import assert_backward, normal

from dlskills import (
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Swish,
    Tanh,
    initializers,
    to_host,
)
from dlskills.layers import ACTIVATIONS


def logistic(x):
    return 1 / (1 + math.exp(-x))


def elu(x, alpha=1.0):
    return x if x > 0 else alpha * math.expm1(x)


FUNCTIONS = {
    ReLU: lambda x: max(x, 0),
    LeakyReLU: lambda x: x if x > 0 else 0.01 * x,
    ELU: elu,
    SELU: lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    Softplus: lambda x: math.log(1 + math.exp(x)),
    Sigmoid: logistic,
    Tanh: math.tanh,
    GELU: lambda x: x / 2 * math.erfc(-x / math.sqrt(2)),
    Swish: lambda x: x * logistic(x),
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELU(0.3),
        lambda: ELU(0),
        lambda: Swish(1.7),
        lambda: Swish(-0.5),
        lambda: GELU(approximate=True),
    ],
    ids=lambda make: repr(make()),
)
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
def test_backward_with_settings(backend, make, shape):
    assert_backward(make(), normal(backend, *shape))


def test_settings_change_the_function(backend):
    x = np.linspace(-4, 4, 33)
    there = backend.asarray(x)
    np.testing.assert_allclose(to_host(ELU(0.3).forward(there)), [elu(v, 0.3) for v in x], 1e-12)
    expected = [v * logistic(1.7 * v) for v in x]
    np.testing.assert_allclose(to_host(Swish(1.7).forward(there)), expected, 1e-12)
    expected = [v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x]
    found = to_host(GELU(approximate=True).forward(there))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_the_slope_of_leaky_relu(backend):
    layer = LeakyReLU(slope=0.25)
    y = layer.forward(backend.asarray([-4.0, 4.0]))

    assert to_host(y).tolist() == [-1, 4]
    assert_backward(LeakyReLU(-0.5), normal(backend, 6))


@pytest.mark.parametrize(("activation", "left"), [(ReLU, 0), (LeakyReLU, 0.01), (ELU, 1)])
def test_the_derivative_at_0_is_the_left_derivative(backend, activation, left):
    layer = activation()
    layer.forward(backend.asarray([0.0, -0.0]))

    np.testing.assert_allclose(to_host(layer.backward(backend.asarray([1.0, 1.0]))), left)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("activation", "limits"), [(Sigmoid, (0, 1)), (Tanh, (-1, 1))])
def test_huge_inputs_saturate_without_overflow(backend, activation, limits, dtype):
    layer = activation()
    y = layer.forward(backend.asarray([-1e30, 1e30], dtype))

    assert to_host(y).tolist() == list(limits)
    assert to_host(layer.backward(backend.asarray([1.0, 1.0], dtype))).tolist() == [0, 0]


@pytest.mark.parametrize(
    "activation", [ReLU, LeakyReLU, GELU, lambda: GELU(approximate=True), Swish, ELU, Softplus]
)
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


def test_selu_keeps_mean_0_and_variance_1():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    y = SELU().forward(x)

    assert abs(y.mean()) < 0.005
    assert abs(y.var() - 1) < 0.01


def test_elu_keeps_digits_near_0(backend):
    y = to_host(ELU().forward(backend.asarray([-1e-12], "float64")))
    assert y[0] == pytest.approx(-1e-12, rel=1e-11)


def test_activation_names_match_their_classes():
    names = {name: kind.__name__.lower() for name, kind in ACTIVATIONS.items()}
    assert names.pop("silu") == "swish"
    assert SiLU is Swish
    assert names == {name: name for name in names}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_names_initial_values_that_fit(name):
    """Over five layers, the size of activations neither explodes nor vanishes."""
    initializer, activation = initializers.weight_initializer(name), ACTIVATIONS[name]()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 300))
    sizes = []
    for _ in range(5):
        x = activation.forward(x @ initializer((300, 300), rng))
        sizes.append(np.sqrt(np.mean(x * x)))
    assert 0.1 < sizes[-1] / sizes[0] < 10


@pytest.mark.parametrize("slope", ["0.1", None, math.nan])
def test_an_invalid_slope_is_rejected(slope):
    with pytest.raises((TypeError, ValueError), match="slope must be"):
        LeakyReLU(slope)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ELU(-1), "alpha must be at least 0, got -1"),
        (lambda: ELU("1"), "alpha must be a number, got '1'"),
        (lambda: Swish(math.inf), "beta must be finite, got inf"),
        (lambda: GELU("tanh"), "approximate must be True or False, got 'tanh'"),
    ],
)
def test_invalid_settings_are_rejected(make, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        make()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_match_pytorch(dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    pairs = {
        "elu": (ELU(0.7), lambda x: functional.elu(x, 0.7)),
        "selu": (SELU(), functional.selu),
        "softplus": (Softplus(), functional.softplus),
        "silu": (SiLU(), functional.silu),
        "gelu": (GELU(), functional.gelu),
        "gelu, tanh": (GELU(True), lambda x: functional.gelu(x, approximate="tanh")),
    }
    values = np.linspace(-15, 15, 601).astype(dtype)
    dout = np.cos(values)
    tolerance = {"rtol": 1e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-7, "atol": 1e-9}
    for name, (ours, theirs) in pairs.items():
        x = torch.tensor(values, requires_grad=True)
        y = theirs(x)
        y.backward(torch.tensor(dout))
        np.testing.assert_allclose(
            ours.forward(values), y.detach().numpy(), **tolerance, err_msg=name
        )
        np.testing.assert_allclose(ours.backward(dout), x.grad.numpy(), **tolerance, err_msg=name)
