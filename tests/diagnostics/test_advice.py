"""Warnings: each for a network that was made ill on purpose, and none for a healthy one."""

import numpy as np
import pytest

from dlskills import SGD, Adam, MultiLayerNet, MultiLayerNetExtend, load_mnist
from dlskills.diagnostics import Monitor


@pytest.fixture(scope="module")
def digits():
    (x, t), _ = load_mnist(subset="sample")
    return x[:600], t[:600]


def observed(network, digits, steps=1, optimizer=None, every=1):
    x, t = digits
    monitor = Monitor(network, every=every)
    for step in range(steps):
        rows = slice(100 * step % 600, 100 * step % 600 + 100)
        if optimizer is not None:
            optimizer.update(network.params, network.gradient(x[rows], t[rows]))
        monitor.observe(x[rows], t[rows])
    return monitor


def net(*args, **options):
    return MultiLayerNet(784, [50, 50, 50], 10, *args, seed=0, **options)


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [
        (net(), SGD(0.1)),
        (net(), Adam()),
        (net("tanh", "xavier"), SGD(0.1)),
        (net("sigmoid", "xavier"), Adam()),
        (net("leakyrelu"), SGD(0.1)),
        (net("gelu"), Adam()),
        (
            MultiLayerNetExtend(
                784, [50, 50], 10, use_dropout=True, use_batchnorm=True, dropout_ratio=0.2, seed=0
            ),
            Adam(),
        ),
    ],
)
def test_none_for_a_healthy_network(digits, network, optimizer):
    for steps in (1, 21):
        assert observed(network, digits, steps, optimizer, every=4).warnings() == []


@pytest.mark.parametrize("count", [1, 2, 7])
def test_of_a_few_samples_no_unit_is_called_dead(digits, count):
    x, t = digits
    monitor = Monitor(net(), every=1)
    monitor.observe(x[:count], t[:count])
    assert monitor.warnings() == []
    assert np.isnan(monitor.history("dead")).all()


def test_a_start_at_0_is_no_large_update(digits):
    network = net("sigmoid", 0)
    (warnings,) = [observed(network, digits, optimizer=SGD(0.1)).warnings()]
    assert not any("inf" in warning or "one update" in warning for warning in warnings)


def test_dead_relus(digits):
    network = net()
    network.params["b2"] = np.where(np.arange(50) < 45, -100, 0)
    monitor = observed(network, digits)
    (warning,) = monitor.warnings()
    share = monitor.history("dead")[0, 3]
    assert share > 0.89
    assert warning == (
        f"layer 4 (ReLU): {share:.0%} of its units are dead (0 for the whole batch); try He's "
        "initial values or a smaller learning rate"
    )


def test_saturated_sigmoids_and_tanhs(digits):
    for activation, name in (("sigmoid", "Sigmoid"), ("tanh", "Tanh")):
        warnings = observed(net(activation, 1.0), digits).warnings()
        assert f"layer 2 ({name}): " in warnings[0]
        assert "are saturated" in warnings[0]
        assert "Xavier" in warnings[0]


def test_vanishing_gradient(digits):
    (warning,) = observed(net("sigmoid", 0.01), digits).warnings()
    assert warning.startswith("layer 1 (Affine): its gradient is ")
    assert "that of layer 7 (Affine): it vanishes" in warning


def test_exploding_gradient(digits):
    (warning,) = observed(net("relu", 3.0), digits).warnings()
    assert "it explodes on its way back" in warning


def test_exploding_updates(digits):
    warnings = observed(net(), digits, 1, SGD(lr=20)).warnings()
    assert any("one update changes its weights by" in w and "Affine" in w for w in warnings)
    assert any("smaller learning rate, or clipping" in warning for warning in warnings)


def test_what_is_not_finite_is_told_of_once_where_it_begins(digits):
    network = net()
    network.params["W2"] = np.full((50, 50), np.inf)
    (warning,) = observed(network, digits).warnings()
    assert warning.startswith("layer 3 (Affine): its output is not finite")


def test_they_are_about_the_last_observation(digits):
    network = net()
    monitor = Monitor(network, every=1)
    monitor.observe(*digits)
    assert monitor.warnings() == []
    network.params["b1"] = np.full(50, -100.0)
    monitor.observe(*digits)
    assert any("layer 2 (ReLU): 100%" in warning for warning in monitor.warnings())
