"""Properties of every layer: device and dtype, forward before backward, and custom layers."""

import numpy as np
import pytest
from gradient_check import bind, normal

from dlskills import (
    ELU,
    GELU,
    SELU,
    Affine,
    BatchNormalization,
    Dropout,
    Layer,
    LayerNormalization,
    LeakyReLU,
    Loss,
    MeanSquaredError,
    ReLU,
    RMSNormalization,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxWithLoss,
    Softplus,
    Swish,
    Tanh,
    backend_of,
    layers,
    to_host,
)
from dlskills.layers import ACTIVATIONS

LAYERS = {
    "affine": lambda: Affine(3, 2),
    "affine without bias": lambda: Affine(3, 2, bias=False),
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "softplus": Softplus,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
    "approximate gelu": lambda: GELU(approximate=True),
    "swish": Swish,
    "softmax": Softmax,
    "batch norm": lambda: BatchNormalization(3),
    "batch norm without parameters": lambda: BatchNormalization(3, affine=False),
    "layer norm": lambda: LayerNormalization(3),
    "rms norm": lambda: RMSNormalization(3),
    "dropout": lambda: Dropout(0.4, seed=0),
    "inverted dropout": lambda: Dropout(0.4, inverted=True, seed=0),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def test_every_public_layer_is_tested():
    made = {type(make()) for make in LAYERS.values()}
    public = {value for value in vars(layers).values() if isinstance(value, type)}

    assert {kind for kind in public if issubclass(kind, Layer)} - {Layer, layers.Activation} == made
    assert set(ACTIVATIONS.values()) <= made


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("train_flg", [True, False])
def test_outputs_and_gradients_keep_device_and_dtype(backend, make, dtype, train_flg):
    layer = bind(make(), backend, dtype)
    x = normal(backend, 8, 3, dtype=dtype)
    before = to_host(x).copy()
    y = layer.forward(x, train_flg)
    dout = normal(backend, *y.shape, dtype=dtype)
    dx = layer.backward(dout)

    for array in (y, dx, *layer.grads.values()):
        assert backend_of(array) == backend
        assert array.dtype == backend.dtype(dtype)
    assert tuple(dx.shape) == tuple(x.shape)
    assert tuple(y.shape[1:]) == layer.output_shape((3,))
    np.testing.assert_array_equal(to_host(x), before)


@every_layer
def test_every_backend_computes_the_same_output(backend, make):
    here, there = (
        bind(make(), where, "float64").forward(normal(where, 8, 3))
        for where in (backend_of(np.zeros(1)), backend)
    )
    np.testing.assert_allclose(to_host(there), here, rtol=1e-12, atol=1e-14)


@every_layer
def test_backward_before_forward_is_rejected(backend, make):
    layer = bind(make(), backend)
    with pytest.raises(RuntimeError, match=rf"^{type(layer).__name__}.backward needs .* Call"):
        layer.backward(normal(backend, 8, 3))


@pytest.mark.parametrize("loss", [SoftmaxWithLoss(), MeanSquaredError()])
def test_backward_of_a_loss_before_forward_is_rejected(loss):
    with pytest.raises(RuntimeError, match="Call forward first"):
        loss.backward()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: Layer().forward(None), r"Layer must define forward\(x, train_flg\)"),
        (lambda: Layer().backward(None), r"Layer must define backward\(dout\)"),
        (lambda: Loss().forward(None, None), r"Loss must define forward\(x, t\)"),
        (lambda: Loss().backward(), r"Loss must define backward\(dout\)"),
    ],
)
def test_base_classes_name_the_missing_method(call, what):
    with pytest.raises(NotImplementedError, match=what):
        call()


class Scale(Layer):
    """A custom layer with one parameter."""

    def declare(self):
        return {"factor": layers.Declared((1,), lambda shape, rng: np.full(shape, 2.0))}

    def forward(self, x, train_flg=True):
        self._x = x
        return x * self.params["factor"]

    def backward(self, dout):
        self.grads["factor"][...] = backend_of(dout).xp.sum(dout * self._x)
        return dout * self.params["factor"]


def test_a_custom_layer_learns_its_parameter(backend):
    network = Sequential(
        [Affine(3, 4), Scale(), Affine(4, 2), Scale()],
        dtype="float64",
        seed=0,
        device=backend.device,
        xp=backend.xp,
    )
    assert list(network.params) == ["W1", "b1", "factor1", "W2", "b2", "factor2"]
    assert to_host(network.params["factor2"]) == 2
    x, t = normal(backend, 5, 3), backend.asarray([0, 1, 1, 0, 1])
    grads = network.gradient(x, t)
    for name, expected in network.numerical_gradient(x, t).items():
        np.testing.assert_allclose(to_host(grads[name]), to_host(expected), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Affine(3, 2), "Affine(3, 2, he())"),
        (Affine(3, 2, 0.01), "Affine(3, 2, normal(0.01))"),
        (ReLU(), "ReLU()"),
        (Affine(3, 2, bias=False), "Affine(3, 2, he(), bias=False)"),
        (LeakyReLU(0.2), "LeakyReLU(slope=0.2)"),
        (ELU(0.5), "ELU(alpha=0.5)"),
        (SELU(), "SELU()"),
        (Swish(), "Swish()"),
        (Swish(1.5), "Swish(beta=1.5)"),
        (GELU(), "GELU()"),
        (GELU(approximate=True), "GELU(approximate=True)"),
        (
            BatchNormalization(5, affine=False),
            "BatchNormalization(5, momentum=0.9, epsilon=1e-06, debias=True, affine=False)",
        ),
        (BatchNormalization(5), "BatchNormalization(5, momentum=0.9, epsilon=1e-06, debias=True)"),
        (
            BatchNormalization(5, debias=False, correction=1),
            "BatchNormalization(5, momentum=0.9, epsilon=1e-06, debias=False, correction=1)",
        ),
        (Dropout(), "Dropout(0.5)"),
        (Dropout(0.2, inverted=True), "Dropout(0.2, inverted=True)"),
        (SoftmaxWithLoss(), "SoftmaxWithLoss()"),
    ],
)
def test_repr_shows_the_settings(layer, expected):
    assert repr(layer) == expected
