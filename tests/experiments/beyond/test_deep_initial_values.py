"""Deep initial values, from a few steps and from made-up results."""

import itertools

import numpy as np
import pytest

from dlskills import Affine, Sequential, SoftmaxWithLoss, Tanh, initializers, load_mnist
from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import deep_initial_values as deep


@pytest.fixture(scope="module")
def numbers():
    return deep.run(Settings(verbose=False), iterations=5, layers=3, units=10)


def words(xavier, he, standard, normalized):
    made_up = {
        "error": {"Xavier": [0.9, xavier], "He": [0.9, he]},
        "ratio": {"standard": standard, "normalized": normalized},
    }
    return [verdict.word for verdict in judge(deep.CLAIMS, [made_up])]


def test_claims_are_judged_both_ways():
    assert words(0.88, 0.07, 0.57, 0.95) == ["confirmed"] * 4
    assert words(0.5, 0.2, 0.9, 0.577) == ["not confirmed"] * 4


def test_gradients_shrink_only_with_the_standard_initial_weights(numbers):
    assert numbers["ratio"]["standard"] == pytest.approx(deep.STANDARD, abs=0.03)
    assert numbers["ratio"]["normalized"] == pytest.approx(1, abs=0.1)
    assert all(len(std) == 5 for std in numbers["gradient_std"].values())


def test_the_gradients_are_those_of_the_whole_network(numbers):
    (x, t), _ = load_mnist(subset="sample")
    uniform = initializers.uniform
    sizes = [784, 1000, 1000, 1000, 1000, 1000, 10]
    layers = []
    for before, after in itertools.pairwise(sizes):
        layers += [Affine(before, after, uniform(before**-0.5)), Tanh()]
    network = Sequential(layers[:-1], seed=0)
    y, loss = x[:300], SoftmaxWithLoss()
    for layer in network.layers:
        y = layer.forward(y, True)
    loss.forward(y, t[:300])
    dout = loss.backward()
    for layer in reversed(network.layers[9:]):
        dout = layer.backward(dout)
    assert numbers["gradient_std"]["standard"][-1] == pytest.approx(float(np.std(dout)), rel=1e-4)


def test_the_figure_and_the_table(numbers):
    (figure,) = deep.plot([numbers, numbers]).values()
    errors, gradients = figure.axes
    assert (len(errors.get_lines()), len(gradients.get_lines())) == (2, 3)
    _, rows = deep.table(numbers).shown()
    assert [row[0] for row in rows] == ["Xavier", "He", "standard", "normalized"]
