"""Networks trained side by side: each as if it were alone."""

import numpy as np
import pytest

from dlskills import SGD, Adam, MultiLayerNet
from dlskills.arrays.random import stream
from dlskills.experiments import Settings
from dlskills.experiments.side_by_side import SideBySide, digits_on, late_loss, train_on_mnist

rng = np.random.default_rng(0)
X, T = rng.random((40, 6), dtype=np.float32), rng.integers(3, size=40)


def network(seed=0):
    return MultiLayerNet(6, [5], 3, seed=seed)


def pair(steps=4):
    networks = {"a": network(1), "b": network(2)}
    optimizers = {"a": SGD(0.1), "b": Adam(0.01)}
    return SideBySide(networks, optimizers, X, T, batch_size=8, steps=steps, seed=3)


def test_each_network_learns_as_if_it_were_alone():
    training = pair()
    for step in range(4):
        training.step(step)
    alone, optimizer, losses = network(2), Adam(0.01), []
    for rows in stream(3, "batches").integers(40, size=(4, 8)):
        loss, grads = alone.loss_and_gradient(X[rows], T[rows])
        losses.append(float(loss))
        optimizer.update(alone.params, grads)
    np.testing.assert_allclose(training.fetched()["b"], losses, rtol=1e-6)
    np.testing.assert_array_equal(training.networks["b"].params.flat, alone.params.flat)


def test_a_network_taken_out_gets_no_more_batches():
    training = pair()
    training.step(0)
    del training.networks["a"]
    training.step(1)
    assert {name: len(losses) for name, losses in training.fetched().items()} == {"a": 1, "b": 2}


def test_a_batch_is_drawn_with_replacement_and_stays_the_same():
    training = pair()
    x, t = training.batch(2)
    rows = stream(3, "batches").integers(40, size=(4, 8))[2]
    np.testing.assert_array_equal(x, X[rows])
    np.testing.assert_array_equal(t, T[rows])
    np.testing.assert_array_equal(training.batch(2)[0], x)


def test_on_mnist_with_a_test_at_the_end():
    networks = {"small": MultiLayerNet(784, [4], 10, seed=0)}
    settings = Settings(verbose=False)
    numbers = train_on_mnist(
        networks, {"small": SGD(0.2)}, settings, batch_size=10, steps=3, what="test"
    )
    _, _, x, t = digits_on(settings)
    assert numbers["test_accuracy"] == {"small": networks["small"].accuracy(x, t)}
    assert len(numbers["train_loss"]["small"]) == 3
    assert numbers["lr"] == {"small": 0.2}
    assert numbers["digits"] == 10_000


def test_the_late_loss_is_that_of_the_last_hundred_batches():
    numbers = {"train_loss": {"a": [9.0] * 50 + [1.0] * 100}}
    assert late_loss(numbers, "a") == 1
    assert np.isnan(late_loss(numbers, "b"))


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here = SideBySide(
        {"a": MultiLayerNet(6, [5], 3, seed=1, device="cuda")}, {"a": SGD(0.1)},
        backend.asarray(X), backend.asarray(T), batch_size=8, steps=4, seed=3,
    )  # fmt: skip
    host = pair()
    for step in range(4):
        here.step(step)
        host.step(step)
    np.testing.assert_allclose(here.fetched()["a"], host.fetched()["a"], rtol=1e-5)
