"""The fully connected layer."""

import numpy as np
import pytest
from gradient_check import assert_backward, bind, normal

from dlskills import Affine, ReLU, Sequential, engine, initializers, to_host
from dlskills.formulas import ENGINES


@pytest.mark.parametrize("shape", [(5, 12), (5, 4, 3), (5, 3, 2, 2), (1, 12)])
def test_backward(backend, shape):
    assert_backward(bind(Affine(12, 3), backend), normal(backend, *shape))


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3), (0, 6)])
def test_output_is_x_W_plus_b(backend, shape):
    layer = bind(Affine(6, 4), backend)
    x = normal(backend, *shape)
    W, b = to_host(layer.params["W"]), to_host(layer.params["b"])
    rows = to_host(x).reshape(shape[0], 6)

    np.testing.assert_allclose(to_host(layer.forward(x)), rows @ W + b, rtol=1e-12)


def test_a_vector_is_treated_as_one_feature_per_sample(backend):
    layer = bind(Affine(1, 2), backend)

    assert tuple(layer.forward(normal(backend, 5)).shape) == (5, 2)
    assert_backward(layer, normal(backend, 5))


def test_backward_uses_the_last_forward(backend):
    layer = bind(Affine(3, 2), backend)
    layer.forward(normal(backend, 7, 3, seed=5))
    assert_backward(layer, normal(backend, 4, 3))


def test_gradients_are_overwritten_and_not_accumulated(backend):
    layer = bind(Affine(3, 2), backend)
    views = dict(layer.grads)
    x, dout = normal(backend, 4, 3), normal(backend, 4, 2)
    for _ in range(2):
        layer.forward(x)
        layer.backward(dout)

    expected = to_host(x).T @ to_host(dout)
    np.testing.assert_allclose(to_host(layer.grads["W"]), expected, rtol=1e-12)
    np.testing.assert_allclose(to_host(layer.grads["b"]), to_host(dout).sum(axis=0), rtol=1e-12)
    assert all(layer.grads[name] is view for name, view in views.items())


def test_without_propagation_the_input_gradient_is_skipped(backend):
    layer = bind(Affine(3, 2), backend)
    layer.propagates = False
    layer.forward(normal(backend, 4, 3))

    assert layer.backward(normal(backend, 4, 2)) is None
    assert to_host(layer.grads["W"]).all()


def test_shapes():
    layer = Affine(12, 3)

    assert layer.input_shape == (12,)
    assert layer.output_shape((3, 2, 2)) == (3,)
    message = r"Affine\(12, 3, he\(\)\) takes 12 values per sample, got samples of shape \(11,\)"
    with pytest.raises(ValueError, match=message):
        layer.output_shape((11,))


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((0, 2), ValueError, "input_size must be at least 1, got 0"),
        ((2, -1), ValueError, "output_size must be at least 1, got -1"),
        ((2.0, 2), TypeError, "input_size must be a whole number, got 2.0"),
    ],
)
def test_invalid_sizes_are_rejected(sizes, error, message):
    with pytest.raises(error, match=message):
        Affine(*sizes)


@pytest.mark.parametrize(
    ("keyword", "own"),
    [("in_features", "input_size"), ("out_features", "output_size"), ("units", "output_size")],
)
def test_keywords_of_other_libraries_are_rejected_with_the_right_name(keyword, own):
    with pytest.raises(TypeError, match=f"Affine has no argument '{keyword}'. Write {own}=..."):
        Affine(3, 2, **{keyword: 1})


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3)])
def test_without_bias(backend, shape):
    layer = bind(Affine(6, 4, bias=False), backend)
    x = normal(backend, *shape)
    assert list(layer.declare()) == ["W"]
    expected = to_host(x).reshape(5, 6) @ to_host(layer.params["W"])
    np.testing.assert_allclose(to_host(layer.forward(x)), expected, rtol=1e-12)
    assert_backward(layer, x)


def test_without_bias_before_an_activation_on_every_engine(backend):
    network = Sequential(
        [Affine(6, 300, bias=False), ReLU(), Affine(300, 3)], seed=0, dtype="float64",
        device=backend.device, xp=backend.xp,
    )  # fmt: skip
    assert list(network.params) == ["W1", "W2", "b1"]
    x, t = normal(backend, 40, 6), backend.asarray(np.arange(40) % 3)
    hidden = np.maximum(to_host(x) @ to_host(network.params["W1"]), 0)
    expected = hidden @ to_host(network.params["W2"])
    numerical = None
    for name, made in ENGINES.items():
        if made.library not in (None, backend.name) or made.missing() is not None:
            continue
        with engine(name):
            np.testing.assert_allclose(to_host(network.predict(x)), expected, 1e-9, 1e-12)
            grads = to_host(network.gradient(x, t).flat).copy()
        numerical = grads if numerical is None else numerical
        np.testing.assert_allclose(grads, numerical, rtol=1e-9, atol=1e-12, err_msg=name)


def test_initial_values_given_as_an_array(backend):
    W = np.arange(6.0).reshape(2, 3)
    given = backend.asarray(W, "float32")
    network = Sequential([Affine(2, 3, given)], device=backend.device, xp=backend.xp, seed=0)
    np.testing.assert_array_equal(to_host(network.params["W1"]), W)
    network.params["W1"] = network.params["W1"] * 2
    np.testing.assert_array_equal(to_host(given), W)
    message = r"the initial values have shape \(2, 3\), the parameter \(3, 2\)"
    with pytest.raises(ValueError, match=message):
        Sequential([Affine(3, 2, initializers.values(W))])


def test_bias_must_be_a_bool():
    with pytest.raises(TypeError, match=r"^bias must be True or False, got 0.0$"):
        Affine(3, 2, bias=0.0)
    with pytest.raises(TypeError, match=r"Affine has no argument 'use_bias'. Write bias=..."):
        Affine(3, 2, use_bias=False)
