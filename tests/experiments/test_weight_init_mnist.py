"""Initial weights on MNIST, from a few steps."""

import numpy as np
import pytest

from dlskills import SGD, MultiLayerNet, load_mnist
from dlskills.arrays.random import stream
from dlskills.experiments import Settings, judge, weight_init_mnist

INITS = ["std 0.01", "Xavier", "He"]


def run(iterations, **settings):
    return weight_init_mnist.run(Settings(verbose=False, **settings), iterations=iterations)


@pytest.fixture(scope="module")
def numbers():
    return run(100)


def falling(*steps):
    """Losses that come down to 0.5 after so many steps."""
    return {
        name: [2.3] * count + [0.4] * (600 - count)
        for name, count in zip(INITS, steps, strict=True)
    }


def test_only_good_initial_weights_learn(numbers):
    assert list(numbers["train_loss"]) == INITS
    late = {name: np.mean(losses[-20:]) for name, losses in numbers["train_loss"].items()}
    assert late["std 0.01"] == pytest.approx(np.log(10), abs=0.01)
    assert late["He"] < 2 < late["Xavier"] < 2.3


def test_each_learns_with_an_sgd_of_its_own():
    losses = run(3, seed=5)["train_loss"]["Xavier"]
    (x, t), _ = load_mnist(subset="sample")
    network = MultiLayerNet(784, [100] * 4, 10, weight_init_std="xavier", seed=5)
    optimizer, expected = SGD(0.01), []
    for rows in stream(5, "batches").integers(10_000, size=(3, 128)):
        loss, grads = network.loss_and_gradient(x[rows], t[rows])
        expected.append(float(loss))
        optimizer.update(network.params, grads)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_the_table_says_when_a_network_has_begun_to_learn():
    numbers = {"train_loss": falling(600, 400, 100), "test_accuracy": dict.fromkeys(INITS, 0.5)}
    columns, rows = weight_init_mnist.table(numbers).shown()
    assert columns[1:3] == ["steps to loss 0.5", "loss, last 100"]
    assert rows[0] == ["std 0.01", "never", "2.300", "50.0%"]
    # the mean over 11 points gets there a few points later
    assert [400 <= int(rows[1][1]) <= 405, 100 <= int(rows[2][1]) <= 105] == [True, True]


def test_claims_can_come_out_false(numbers):
    numbers = numbers | {"train_loss": falling(100, 100, 400), "change": {"std 0.01": 0.5}}
    assert not any(verdict.confirmed for verdict in judge(weight_init_mnist.CLAIMS, [numbers]))


def test_the_figure_names_everything(numbers):
    figures = weight_init_mnist.plot([numbers])
    assert set(figures) == set(weight_init_mnist.EXPERIMENT.alt) == {"weight-init-mnist"}
    (axes,) = figures["weight-init-mnist"].axes
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == INITS
    assert axes.get_xlabel() == "iteration"
    assert "loss" in axes.get_ylabel()
    (one,) = weight_init_mnist.plot([run(1)]).values()  # a curve of one point
    one.draw_without_rendering()


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here, host = run(3, device="cuda"), run(3)
    for name, losses in host["train_loss"].items():
        np.testing.assert_allclose(here["train_loss"][name], losses, rtol=1e-4)


def test_weights_that_start_small_are_hardly_updated(numbers):
    assert numbers["change"]["std 0.01"] < 0.01 < numbers["change"]["He"]


def test_a_scale_of_ones_own():
    settings = Settings(verbose=False)
    numbers = weight_init_mnist.run(settings, iterations=1, weight_init=[0.1, "orthogonal"])
    assert list(numbers["train_loss"]) == ["std 0.1", "orthogonal"]


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed():
    verdicts = judge(weight_init_mnist.CLAIMS, [run(2000)])
    assert all(verdict.confirmed for verdict in verdicts)
