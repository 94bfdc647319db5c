"""Training on 300 digits: what is recorded, and when."""

import numpy as np
import pytest

from dlskills import SGD, MultiLayerNet, load_mnist
from dlskills.arrays.random import stream
from dlskills.experiments import Settings, Text, small_data
from dlskills.experiments.text import Texts

QUIET = Settings(3, verbose=False)


def networks(**options):
    return {
        name: MultiLayerNet(784, [20], 10, weight_decay_lambda=decay, seed=3, **options)
        for name, decay in (("plain", 0), ("decayed", 0.5))
    }


@pytest.fixture(scope="module")
def trained():
    both = networks()
    return both, small_data.train_on_few(both, QUIET, epochs=3, steps=8, what="test")


def test_an_epoch_is_recorded_after_its_first_batch_and_the_end_on_all_test_images(trained):
    _, numbers = trained
    (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    x, t = x_train[:300], t_train[:300]
    network = networks()["decayed"]
    shown = stream(3, "test images").permutation(10_000)[:1000]
    own, epoch = numbers["curves"]["decayed"], 0
    for i, rows in enumerate(stream(3, "batches").integers(300, size=(8, 100))):
        SGD(lr=0.01).update(network.params, network.gradient(x[rows], t[rows]))
        if i in (0, 3, 6):
            squares = sum(float(np.sum(network.params[name] ** 2)) for name in ("W1", "W2"))
            loss = float(network.loss(x, t))
            assert own["train_accuracy"][epoch] == pytest.approx(network.accuracy(x, t), abs=4e-3)
            expected = network.accuracy(x_test[shown], t_test[shown])
            assert own["test_accuracy"][epoch] == pytest.approx(expected, abs=2e-3)
            assert own["squares"][epoch] == pytest.approx(squares, rel=1e-4)
            assert own["penalty"][epoch] == pytest.approx(0.25 * squares, rel=1e-4)
            assert own["train_loss"][epoch] + own["penalty"][epoch] == pytest.approx(loss, rel=1e-4)
            epoch += 1
    assert all(len(curve) == 3 for curve in own.values())
    final = numbers["final"]["decayed"]
    assert final["test_accuracy"] == pytest.approx(network.accuracy(x_test, t_test), abs=2e-3)
    assert final["train_accuracy"] == pytest.approx(network.accuracy(x, t), abs=4e-3)


def test_variants_start_from_the_same_weights(trained):
    _, numbers = trained
    plain, decayed = (numbers["curves"][name] for name in ("plain", "decayed"))
    assert plain["squares"][0] == pytest.approx(decayed["squares"][0], rel=0.02)
    assert plain["penalty"] == [0, 0, 0]
    assert decayed["squares"][2] < 0.98 * plain["squares"][2]


def test_the_tutorials_loop_ends_with_the_first_batch_of_its_last_epoch():
    assert small_data.book_steps(201) == 601
    assert small_data.book_steps(1) == 1
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        small_data.book_steps(0)


def test_measures_of_the_end():
    final = {
        "a": {"train_accuracy": 1.0, "test_accuracy": 0.75},
        "b": {"train_accuracy": 0.75, "test_accuracy": 0.625},
    }
    numbers = {"final": final}
    assert small_data.gap(numbers, "a") == 0.25
    texts = Texts("overfitting")
    assert small_data.smaller_gap(texts, "a", "b").measure(numbers) == 12.5
    assert small_data.better_on_test(texts, "a", "b").measure(numbers) == -12.5
    assert small_data.below_all(texts, "b").measure(numbers) == 0.75


def test_the_figure_shows_both_curves_and_both_ends(trained):
    _, numbers = trained
    figure = small_data.plot_accuracies(
        [numbers], Texts("overfitting"), Text("Title", "标题"), 2,
        {name: Text(name, name) for name in numbers["curves"]},
    )  # fmt: skip
    assert len(figure.axes) == 2
    for panel, name in zip(figure.axes, ("plain", "decayed"), strict=True):
        curves = numbers["curves"][name]
        train, test = (line.get_ydata() for line in panel.get_lines())
        np.testing.assert_array_equal(train, curves["train_accuracy"])
        np.testing.assert_array_equal(test, curves["test_accuracy"])
        assert panel.get_title().startswith(name)
        assert f"test {numbers['final'][name]['test_accuracy']:.1%}" in panel.get_title()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["300 training images", "1,000 test images"]


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend, trained):
    settings = Settings(3, device="cuda", verbose=False)
    there = small_data.train_on_few(
        networks(device="cuda"), settings, epochs=3, steps=8, what="test"
    )
    for name, curves in trained[1]["curves"].items():
        for what, curve in curves.items():
            np.testing.assert_allclose(there["curves"][name][what], curve, rtol=1e-4, atol=4e-3)
