"""Custom layers that do not write their gradients are detected."""

import numpy as np
import pytest
from gradient_check import normal

from dlskills import Affine, Declared, Layer, Sequential, initializers, namespace, to_host


class Scale(Layer):
    """Multiply each unit by a factor; `write` decides where the gradient goes."""

    def __init__(self, size, write):
        self.size, self.write = size, write

    def declare(self):
        return {"a": Declared((self.size,), initializers.constant(1.0))}

    def forward(self, x, train_flg=True):
        self.x = x
        return x * self.params["a"]

    def backward(self, dout):
        self.write(self, namespace(dout).sum(dout * self.x, axis=0))
        return dout * self.params["a"]


def keep(layer, da):
    layer.da = da


def rebind(layer, da):
    layer.grads = {"a": da}


def into_view(layer, da):
    layer.grads["a"][...] = da


def as_item(layer, da):
    layer.grads["a"] = da


def network(backend, write, **options):
    return Sequential(
        [Affine(6, 4), Scale(4, write), Affine(4, 3)],
        device=backend.device, xp=backend.xp, seed=0, **options,
    )  # fmt: skip


def batch(backend):
    return normal(backend, 5, 6, dtype="float32"), backend.asarray(np.arange(5) % 3)


@pytest.mark.parametrize("write", [keep, rebind])
def test_a_gradient_that_was_not_written_is_an_error(backend, write):
    net = network(backend, write)
    message = r"Scale\(\) declares a parameter 'a', and its backward wrote no gradient .*self.grads"
    with pytest.raises(RuntimeError, match=message):
        net.gradient(*batch(backend))
    assert not np.any(to_host(net.grads["a1"]))


def add(layer, da):
    layer.grads["a"] += da


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_that_is_added_to_is_an_error(backend, dtype):
    # from the second batch on, it would be the sum over all batches
    net = network(backend, add, dtype=dtype)
    message = r"Scale\(\) adds to the gradient of its parameter 'a', .*; replace it, such as self"
    with pytest.raises(RuntimeError, match=message):
        net.gradient(*batch(backend))


def test_a_backward_pass_may_change_its_argument(backend):
    def doubled(layer, da):
        layer.grads["a"][...] = da
        layer.dout *= 2.0  # so that a second pass with the same array would look like a sum

    class InPlace(Scale):
        def backward(self, dout):
            self.dout = dout
            return super().backward(dout)

    net = Sequential(
        [InPlace(4, doubled), Affine(4, 3)], device=backend.device, xp=backend.xp, seed=0
    )
    x, t = normal(backend, 5, 4, dtype="float32"), backend.asarray(np.arange(5) % 3)
    first = net.gradient(x, t).copy()
    np.testing.assert_array_equal(to_host(net.gradient(x, t).flat), to_host(first.flat))


@pytest.mark.parametrize("write", [into_view, as_item])
@pytest.mark.parametrize("decay", [0, 0.1])
def test_a_gradient_that_was_written_is_right(backend, write, decay):
    net = network(backend, write, dtype="float64", weight_decay_lambda=decay)
    x, t = batch(backend)
    expected = net.numerical_gradient(x, t)
    for _ in range(2):
        gradient = net.gradient(x, t)
        for name, array in expected.items():
            np.testing.assert_allclose(to_host(gradient[name]), to_host(array), atol=1e-6)


def test_a_gradient_of_zeros_counts_as_written(backend):
    net = network(backend, into_view)
    net.params["W2"] = backend.xp.zeros_like(net.params["W2"])  # so no gradient flows back
    assert not np.any(to_host(net.gradient(*batch(backend))["a1"]))


@pytest.mark.backends("numpy", "torch", "cupy")
def test_in_half_precision_too(backend):
    with pytest.raises(RuntimeError, match="wrote no gradient"):
        network(backend, keep, compute_dtype="float16").gradient(*batch(backend))


@pytest.mark.backends("cupy")
def test_only_the_first_pass_is_checked(backend, device_counters):
    net, (x, t) = network(backend, into_view), batch(backend)
    net.gradient(x, t)
    with device_counters.counting() as added:
        net.gradient(x, t)
    assert added["copies_d2h"] == added["synchronizations"] == 0
