"""Custom layers that do not write their gradients are detected."""

import numpy as np
import pytest
from gradient_check import normal

from dlskills import Affine, Declared, Layer, ReLU, Sequential, initializers, namespace, to_host


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


def test_no_mark_is_left_in_a_gradient_after_an_error(backend):
    net = Sequential(
        [Affine(6, 4), Scale(4, into_view), Scale(4, add), Affine(4, 3)],
        device=backend.device, xp=backend.xp, seed=0,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="adds to the gradient"):
        net.gradient(*batch(backend))
    assert not np.any(to_host(net.grads["a1"]))
    assert not np.any(to_host(net.grads["a2"]))


def test_no_mark_is_left_where_a_layer_was_replaced(backend):
    net = network(backend, into_view)
    net.layers[1] = ReLU()
    net.gradient(*batch(backend))
    assert not np.any(to_host(net.grads["a1"]))


def test_a_gradient_as_large_as_the_mark_counts_as_written(backend):
    def large(layer, da):
        layer.grads["a"][...] = da * 0 - 54400

    found = to_host(network(backend, large).gradient(*batch(backend))["a1"])
    np.testing.assert_array_equal(found, np.full(4, -54400, "float32"))


def test_a_subclass_whose_passes_are_those_of_its_base_is_not_marked_again(backend):
    class OwnAffine(Affine):
        pass

    net = Sequential(
        [OwnAffine(6, 4), ReLU(), Affine(4, 3)], device=backend.device, xp=backend.xp, seed=0
    )
    x, t = batch(backend)
    net.gradient(x, t)
    net.grads["W1"] = net.grads["W1"] * 0
    with pytest.raises(ValueError, match="must"):  # between marking and the backward pass
        net.gradient(x, t[:3])
    assert not np.any(to_host(net.grads["W1"]))


def test_a_gradient_that_is_added_to_zeros_is_right(backend):
    class FromZero(Scale):
        def forward(self, x, train_flg=True):
            self.grads["a"][...] = 0.0
            return super().forward(x, train_flg)

    net = Sequential(
        [FromZero(4, add), Affine(4, 3)], device=backend.device, xp=backend.xp, seed=0,
        dtype="float64",
    )  # fmt: skip
    x, t = normal(backend, 5, 4), backend.asarray(np.arange(5) % 3)
    expected = to_host(net.numerical_gradient(x, t)["a1"])
    for _ in range(2):
        np.testing.assert_allclose(to_host(net.gradient(x, t)["a1"]), expected, atol=1e-6)


def test_elements_that_are_never_written_are_0(backend):
    def first_half(layer, da):
        layer.grads["a"][:2] = da[:2]

    net = network(backend, first_half)
    for _ in range(2):
        found = to_host(net.gradient(*batch(backend))["a1"])
        assert np.all(found[:2] != 0)
        assert np.all(found[2:] == 0)


def test_the_first_pass_runs_each_layer_once(backend):
    runs = []
    network(backend, lambda layer, da: runs.append(into_view(layer, da))).gradient(*batch(backend))
    assert len(runs) == 1


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
