"""Arithmetic on Parameters, as for accumulated gradients and averages."""

import operator

import numpy as np
import pytest
from gradient_check import normal

from dlskills import MultiLayerNet, Parameters, to_host

OPERATIONS = [operator.add, operator.sub, operator.mul, operator.truediv]
SHAPES = {"W": (3, 5), "b": (5,), "scale": ()}


def parameters(backend, seed):
    return Parameters(
        {n: normal(backend, *s, seed=seed + i) for i, (n, s) in enumerate(SHAPES.items())}
    )


def host(params):
    return {name: to_host(array).copy() for name, array in params.items()}


def assert_are(params, expected):
    for name, array in expected.items():
        np.testing.assert_allclose(to_host(params[name]), array, rtol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_arithmetic_with_other_parameters(backend, operation):
    a, b = parameters(backend, 0), parameters(backend, 10)
    before = host(a), host(b)
    result = operation(a, b)
    assert_are(result, {name: operation(before[0][name], before[1][name]) for name in SHAPES})
    assert_are(a, before[0])
    assert_are(b, before[1])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", [2, 0.5, np.float64(3), np.float32(0.25)])
def test_arithmetic_with_a_number_on_either_side(backend, operation, number):
    a = parameters(backend, 0)
    before = host(a)
    assert_are(operation(a, number), {n: operation(v, float(number)) for n, v in before.items()})
    assert_are(operation(number, a), {n: operation(float(number), v) for n, v in before.items()})
    assert_are(-a, {name: -value for name, value in before.items()})


@pytest.mark.parametrize("operation", ["iadd", "isub", "imul", "itruediv"])
@pytest.mark.parametrize("other", ["parameters", "number"])
def test_in_place_operators_keep_the_buffer(backend, operation, other):
    a, b = parameters(backend, 0), parameters(backend, 10)
    view, before = a["W"], host(a)
    term = b if other == "parameters" else 2.0
    terms = host(b) if other == "parameters" else dict.fromkeys(SHAPES, 2.0)
    assert getattr(operator, operation)(a, term) is a
    plain = getattr(operator, operation.removeprefix("i"))
    expected = {name: plain(before[name], terms[name]) for name in SHAPES}
    assert_are(a, expected)
    np.testing.assert_allclose(to_host(view), expected["W"], rtol=1e-12)


def test_gradients_of_two_batches_accumulate(backend):
    network = MultiLayerNet(
        6, [5], 3, device=backend.device, xp=backend.xp, dtype="float64", seed=0
    )
    x, t = normal(backend, 8, 6), backend.asarray(np.arange(8) % 3)
    accumulated = network.gradient(x[:4, ...], t[:4]).copy()
    accumulated += network.gradient(x[4:, ...], t[4:])
    accumulated /= 2
    assert_are(accumulated, host(network.gradient(x, t)))


def test_padding_stays_0(backend):
    a = parameters(backend, 0)
    total = sum(np.sum(np.square(value)) for value in host(a + 1.0).values())
    np.testing.assert_allclose(np.sum(np.square(to_host((a + 1.0).flat))), total, rtol=1e-12)
    assert np.all(np.isfinite(to_host((a / a).flat)))


def test_other_layouts_and_types_are_rejected(backend):
    a = parameters(backend, 0)
    other = Parameters({"W": normal(backend, 3, 5)})
    with pytest.raises(ValueError, match="the same names, shapes, dtype and device, got"):
        a + other
    for wrong in ("2", None, [1.0]):
        with pytest.raises(TypeError):
            a + wrong
