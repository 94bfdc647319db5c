"""The layer Softmax."""

import math

import numpy as np
import pytest
from gradient_check import assert_backward, normal

from dlskills import Affine, MeanSquaredError, Sequential, Softmax, SoftmaxWithLoss, to_host

SHAPES = [(5, 3), (4, 1), (1, 6), (2, 3, 4), (2, 2, 3, 5), (300, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_values(backend, shape):
    x = normal(backend, *shape)
    e = np.exp(to_host(x))
    expected = e / e.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(to_host(Softmax().forward(x)), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_backward(backend, shape):
    assert_backward(Softmax(), normal(backend, *shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_inputs(backend, dtype):
    x = backend.asarray([[1e30, 1e30, -1e30], [-1e30, 0.0, -math.inf]], dtype)
    layer = Softmax()
    assert to_host(layer.forward(x)).tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    dx = to_host(layer.backward(backend.asarray([[1.0, 0, 0], [1, 0, 0]], dtype)))
    assert dx.tolist() == [[0.25, -0.25, 0], [0, 0, 0]]


def test_its_gradient_in_a_network(backend):
    network = Sequential(
        [Affine(4, 3), Softmax()], MeanSquaredError(), seed=0, dtype="float64",
        device=backend.device, xp=backend.xp,
    )  # fmt: skip
    x, t = normal(backend, 6, 4), backend.asarray(np.eye(3)[[0, 1, 2, 2, 1, 0]])
    grads = network.gradient(x, t)
    for name, expected in network.numerical_gradient(x, t).items():
        np.testing.assert_allclose(to_host(grads[name]), to_host(expected), rtol=1e-6, atol=1e-9)


def test_the_logarithm_of_its_output_is_the_loss(backend):
    x, t = normal(backend, 5, 3), np.array([0, 1, 2, 1, 0])
    y = to_host(Softmax().forward(x))
    expected = -np.log(y[np.arange(5), t]).mean()
    assert float(SoftmaxWithLoss().forward(x, backend.asarray(t))) == pytest.approx(expected)
