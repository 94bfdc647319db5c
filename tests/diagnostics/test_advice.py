"""Warnings: one for each kind of badly configured network, and none for a healthy one."""

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
def test_a_healthy_network_gets_no_warning(digits, network, optimizer):
    for steps in (1, 21):
        assert observed(network, digits, steps, optimizer, every=4).warnings() == []


@pytest.mark.parametrize("count", [1, 2, 7])
def test_dead_units_are_not_detected_in_small_batches(digits, count):
    x, t = digits
    monitor = Monitor(net(), every=1)
    monitor.observe(x[:count], t[:count])
    assert monitor.warnings() == []
    assert np.isnan(monitor.history("dead")).all()


def test_zero_initial_weights_give_no_warning_about_updates(digits):
    network = net("sigmoid", 0)
    (warnings,) = [observed(network, digits, optimizer=SGD(0.1)).warnings()]
    assert not any("inf" in warning or "one update" in warning for warning in warnings)


def test_dead_units_give_a_warning(digits):
    network = net()
    network.params["b2"] = np.where(np.arange(50) < 45, -100, 0)
    monitor = observed(network, digits)
    (warning,) = monitor.warnings()
    fraction = monitor.history("dead")[0, 3]
    assert fraction > 0.89
    assert warning == (
        f"layer 4 (ReLU): {fraction:.0%} of the units are dead (0 for the whole batch). Try He "
        "initialization or a smaller learning rate"
    )


def test_saturated_outputs_give_a_warning(digits):
    for activation, name in (("sigmoid", "Sigmoid"), ("tanh", "Tanh")):
        warnings = observed(net(activation, 1.0), digits).warnings()
        assert f"layer 2 ({name}): " in warnings[0]
        assert "are saturated" in warnings[0]
        assert "Xavier" in warnings[0]


def test_a_vanishing_gradient_gives_a_warning(digits):
    (warning,) = observed(net("sigmoid", 0.01), digits).warnings()
    assert warning.startswith("layer 1 (Affine): the gradient is ")
    assert "that of layer 7 (Affine), so it vanishes" in warning


def deep(digits, activation, initial, depth=5, width=100):
    network = MultiLayerNet(784, [width] * depth, 10, activation, initial, seed=0)
    return observed(network, digits).warnings()


def test_a_gradient_that_shrinks_among_hidden_layers_gives_a_warning(digits):
    standard = 1 / np.sqrt(3 * 300)  # Glorot & Bengio (2010), equation 1
    (warning,) = deep(digits, "tanh", standard, width=300)
    assert "layer 1 (Affine): the gradient is 0.1 times that of layer 9 (Affine)" in warning
    assert "it shrinks to 0.5" in warning
    assert deep(digits, "tanh", "xavier") == []
    assert deep(digits, "tanh", standard, depth=3, width=300) == []  # too few to judge


def test_activations_that_vanish_give_a_warning(digits):
    warnings = deep(digits, "relu", "xavier", depth=30)
    (warning,) = [warning for warning in warnings if "activations" in warning]
    assert "(Affine): the output's standard deviation of 0.000" in warning
    assert "times that of layer 1 (Affine), so the activations vanish" in warning
    assert deep(digits, "relu", "he", depth=30) == []


def test_activations_that_explode_give_a_warning(digits):
    warnings = deep(digits, "relu", 1.0)
    assert any("so the activations explode" in warning for warning in warnings)


def test_an_exploding_gradient_gives_a_warning(digits):
    warnings = observed(net("relu", 3.0), digits).warnings()
    assert any("the gradient" in w and "so it explodes" in w for w in warnings)


def test_large_updates_give_a_warning(digits):
    warnings = observed(net(), digits, 1, SGD(lr=20)).warnings()
    assert any("one update changes the weights by" in w and "Affine" in w for w in warnings)
    assert any("smaller learning rate or gradient clipping" in warning for warning in warnings)


def test_only_the_first_layer_that_is_not_finite_gives_a_warning(digits):
    network = net()
    network.params["W2"] = np.full((50, 50), np.inf)
    (warning,) = observed(network, digits).warnings()
    assert warning.startswith("layer 3 (Affine): the output is not finite")


def test_warnings_are_about_the_last_observation(digits):
    network = net()
    monitor = Monitor(network, every=1)
    monitor.observe(*digits)
    assert monitor.warnings() == []
    network.params["b1"] = np.full(50, -100.0)
    monitor.observe(*digits)
    assert any("layer 2 (ReLU): 100%" in warning for warning in monitor.warnings())
