"""With and without Batch Norm: pairs of networks, and those that diverge."""

import numpy as np
import pytest

from dlskills import SGD, MultiLayerNet, MultiLayerNetExtend, load_mnist
from dlskills.arrays.random import stream
from dlskills.experiments import Settings, batch_norm, judge
from dlskills.experiments.batch_norm import SCALES, WITH, WITHOUT, first_not_finite
from dlskills.experiments.parts import union

SOME = [1.0, SCALES[7], 0.1]


def run(scales=SOME, epochs=3, **settings):
    return batch_norm.run(Settings(verbose=False, **settings), scales=scales, epochs=epochs)


@pytest.fixture(scope="module")
def numbers():
    return run()


def test_the_scales_are_the_tutorials():
    np.testing.assert_allclose(SCALES, np.logspace(0, -4, 16))
    assert len({f"{scale:.3g}" for scale in SCALES}) == 16


def test_batch_norm_learns_where_the_plain_network_does_not(numbers):
    assert list(numbers["accuracy"]) == ["1", "0.0136", "0.1"]
    accuracy = numbers["accuracy"]["0.0136"]
    assert list(map(len, accuracy.values())) == [3, 3]
    assert accuracy[WITH][-1] > 0.5
    assert accuracy[WITHOUT][-1] < 0.2
    assert numbers["diverged"]["0.0136"] == {}


@pytest.mark.parametrize("name", [WITH, WITHOUT])
def test_it_is_the_training_that_it_claims_to_be(name):
    accuracy = run([0.1], epochs=2, seed=4)["accuracy"]["0.1"][name]
    (x, t), _ = load_mnist(subset="sample")
    x, t = x[:1000], t[:1000]
    network = MultiLayerNetExtend(
        784, [100] * 5, 10, weight_init_std=0.1, use_batchnorm=name == WITH, seed=4
    )
    optimizer, expected = SGD(0.01), []
    for step, rows in enumerate(stream(4, "batches").integers(1000, size=(11, 100))):
        optimizer.update(network.params, network.gradient(x[rows], t[rows]))
        if step % 10 == 0:
            expected.append(network.accuracy(x, t))
    assert accuracy == pytest.approx(expected, abs=2e-3)


def test_a_diverged_network_stops_and_is_not_taken_for_a_guess(numbers):
    accuracy, diverged = numbers["accuracy"]["1"], numbers["diverged"]["1"]
    assert len(accuracy[WITH]) == 3
    assert len(accuracy[WITHOUT]) == 1  # of the first step, after which all was finite still
    assert list(diverged) == [WITHOUT]
    assert 2 <= diverged[WITHOUT]["step"] <= 11
    assert diverged[WITHOUT]["where"].startswith("Affine")


def test_scales_can_be_shared_out(numbers):
    parts = [run([scale]) for scale in SOME]
    assert union(union(parts[0], parts[1]), parts[2]) == numbers


# Where numbers stop being finite first


def batches(*inputs):
    return [(np.array([[value, 1]], dtype=np.float32), np.array([0])) for value in inputs]


def small():
    network = MultiLayerNet(2, [3, 3], 2, weight_init_std=1.0, seed=0)
    for name in ("W1", "W2", "W3"):
        network.params[name][...] = 1
    return network


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_layer_whose_output_is_first():
    network = small()
    network.params["W2"][...] = 1e38
    assert first_not_finite(network, SGD(), iter(batches(9))) == {"step": 1, "where": "Affine 2"}
    network = small()
    assert first_not_finite(network, SGD(0), iter(batches(1, 1, np.inf))) == {
        "step": 3, "where": "Affine 1",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_gradient_or_the_parameter_that_is_first():
    network = small()
    network.params["W1"][...] = 1e-38  # so that the scores are finite, but not what goes back
    network.params["W3"][...] = [[-3e38, 3e38]] * 3
    found = first_not_finite(network, SGD(), iter(batches(1)))
    assert found == {"step": 1, "where": "gradient of b2"}
    network = small()
    network.params["W3"][...] = [[0, 1]] * 3
    assert first_not_finite(network, SGD(1e39), iter(batches(1))) == {"step": 1, "where": "W1"}


def test_nothing_to_find_is_an_error():
    with pytest.raises(ValueError, match="stay finite"):
        first_not_finite(small(), SGD(), iter(batches(1, 2)))


# What is shown


def made_up(numbers, plain):
    """Accuracies of Batch Norm and of a plain network, at all scales."""
    keys = [f"{scale:.3g}" for scale in SCALES]
    accuracy = {key: {WITH: [0.2, 0.9], WITHOUT: plain} for key in keys}
    return {"accuracy": accuracy, "diverged": {key: {} for key in keys}}


def test_claims_can_come_out_false(numbers):
    verdicts = judge(batch_norm.CLAIMS, [made_up(numbers, [0.5, 0.95])])
    assert not any(verdict.confirmed for verdict in verdicts)


def test_a_diverged_network_counts_as_beaten(numbers):
    made = made_up(numbers, [0.1, 0.1])
    made["accuracy"]["1"][WITHOUT] = [0.3]
    made["diverged"]["1"] = {WITHOUT: {"step": 4, "where": "Affine 3"}}
    measured = judge(batch_norm.CLAIMS, [made])[1].measured[0]
    assert measured.value == 1
    _, rows = batch_norm.table(made).shown()
    assert rows[0] == ["1", "0.550", "0.900", "0.150", "diverged: Affine 3"]
    assert rows[1] == ["0.541", "0.550", "0.900", "0.100", "0.100"]


def test_the_figures_name_everything(numbers):
    figures = batch_norm.plot([numbers])
    assert set(figures) == set(batch_norm.EXPERIMENT.alt)
    (panel,) = figures["batch-norm"].axes
    assert panel.get_title().endswith("0.0136")
    names = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert names == [WITH, WITHOUT]
    for line, values in zip(panel.get_lines(), numbers["accuracy"]["0.0136"].values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    grid = figures["batch-norm-scales"]
    assert [panel.get_title() for panel in grid.axes] == ["std 1", "std 0.0136", "std 0.1"]
    (legend,) = grid.legends  # one for all
    assert [text.get_text() for text in legend.get_texts()] == [WITH, WITHOUT]
    (note,) = grid.axes[0].texts
    assert "diverged" in note.get_text()
    assert not grid.axes[1].texts
    five = {part: dict.fromkeys("12345", values["0.1"]) for part, values in numbers.items()}
    assert len(batch_norm.plot([five])["batch-norm-scales"].axes) == 5


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here, host = run([1.0, 0.1], 2, device="cuda"), run([1.0, 0.1], 2)
    assert here["diverged"] == host["diverged"]
    for scale, accuracy in host["accuracy"].items():
        for name, values in accuracy.items():
            assert here["accuracy"][scale][name] == pytest.approx(values, abs=5e-3)


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed():
    verdicts = judge(batch_norm.CLAIMS, [batch_norm.run(Settings(verbose=False))])
    assert all(verdict.confirmed for verdict in verdicts)
