"""Per-sample normalization: statistics, gradients and errors."""

import numpy as np
import pytest
from gradient_check import assert_backward, bind, normal

from dlskills import (
    Affine,
    LayerNormalization,
    ReLU,
    RMSNormalization,
    Sequential,
    engine,
    to_host,
)

KINDS = pytest.mark.parametrize("kind", [LayerNormalization, RMSNormalization])


def expected(kind, x, params, epsilon):
    """Compute the textbook formula in float64."""
    x = x.astype(np.float64)
    if kind is RMSNormalization:
        return params["gamma"] * x / np.sqrt(np.mean(x**2, -1, keepdims=True) + epsilon)
    centred = x - x.mean(-1, keepdims=True)
    normalized = centred / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return params["gamma"] * normalized + params["beta"]


@KINDS
@pytest.mark.parametrize("shape", [(4, 6), (128, 100), (3, 2, 5), (2, 3, 4, 70)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_matches_the_textbook_formula(backend, kind, shape, dtype):
    layer = bind(kind(shape[-1], epsilon=1e-3), backend, dtype=dtype)
    x = normal(backend, *shape, dtype=dtype)
    y = layer.forward(x)
    assert y.dtype == x.dtype
    params = {name: to_host(value) for name, value in layer.params.items()}
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(
        to_host(y), expected(kind, to_host(x), params, 1e-3), rtol=tolerance, atol=tolerance
    )


@KINDS
@pytest.mark.parametrize("shape", [(4, 6), (3, 2, 5)])
def test_gradients_match_numerical_gradients(backend, kind, shape):
    assert_backward(bind(kind(shape[-1]), backend), normal(backend, *shape))


@KINDS
def test_training_and_inference_give_the_same_output(backend, kind):
    layer, x = bind(kind(5), backend), normal(backend, 3, 5)
    assert to_host(layer.forward(x, True)).tolist() == to_host(layer.forward(x, False)).tolist()


@KINDS
def test_engines_agree_on_large_inputs(backend, kind):
    layer = bind(kind(90), backend, dtype="float32")
    x, dout = (normal(backend, 100, 90, seed=seed, dtype="float32") for seed in (0, 1))
    found = [layer.forward(x), layer.backward(dout), *layer.grads.values()]
    found = [to_host(array).copy() for array in found]
    with engine("plain"):
        plain = [layer.forward(x), layer.backward(dout), *layer.grads.values()]
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, to_host(other), rtol=1e-4, atol=1e-5)


@KINDS
def test_a_mismatched_number_of_features_is_rejected(kind):
    with pytest.raises(ValueError, match=r"last axis has 7 features, got samples of shape \(5,\)"):
        Sequential([Affine(3, 5), kind(7), ReLU(), Affine(5, 2)])


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization])
def test_epsilon_must_be_positive(layer):
    with pytest.raises(ValueError, match="^epsilon must be greater than 0, got 0$"):
        layer(3, epsilon=0)
