"""Activations of each layer: statistics, histograms and what the tutorial says of them."""

import copy

import numpy as np
import pytest

from dlskills.arrays.random import stream
from dlskills.experiments import Settings, activation_histograms, judge

INITS = ["std 1", "std 0.01", "Xavier", "He"]


def run(draws=1, **settings):
    return activation_histograms.run(Settings(verbose=False, **settings), draws=draws)


@pytest.fixture(scope="module")
def numbers():
    return run(2)


def by_hand(numbers, function, std):
    """The first draw's activations, from its seed, in plain NumPy."""
    seed = int(stream(0, "draws").integers(2**32, size=1)[0])
    x = stream(seed, "inputs").standard_normal((1000, 100))
    found = []
    for layer in range(1, 6):
        x = function(x @ (std * stream(seed, "weights", f"W{layer}").standard_normal((100, 100))))
        found.append(x)
    return found


CASES = {
    ("sigmoid", "std 1"): (lambda a: 1 / (1 + np.exp(-a)), 1),
    ("tanh", "Xavier"): (np.tanh, 0.1),
    ("relu", "He"): (lambda a: np.maximum(a, 0), np.sqrt(2) / 10),
}


@pytest.mark.parametrize(("function", "init"), CASES)
def test_statistics_and_histograms_are_those_of_the_activations(numbers, function, init):
    layers = by_hand(numbers, *CASES[function, init])
    statistics = numbers["statistics"][function][init]
    histograms = numbers["histograms"][function][init]
    edges = np.array(histograms["edges"])
    assert edges.shape == (31 if function != "relu" else 61,)
    for i, a in enumerate(layers):
        assert statistics["mean"][0][i] == pytest.approx(np.mean(a))
        assert statistics["std"][0][i] == pytest.approx(np.std(a))
        standard = (a - np.mean(a)) / np.std(a)
        assert statistics["skewness"][0][i] == pytest.approx(np.mean(standard**3), abs=1e-12)
        assert statistics["signal"][0][i] == pytest.approx(np.sqrt(np.mean(np.std(a, axis=0) ** 2)))
        inside = np.sum(histograms["counts"][i]) / a.size
        zeros = histograms["zeros"][i] if function == "relu" else 0
        assert zeros == (np.mean(a == 0) if function == "relu" else 0)
        assert inside == pytest.approx((1 - zeros) * (1 - histograms["outside"][i]))
        expected, _ = np.histogram(a[a != 0], edges)
        np.testing.assert_allclose(histograms["counts"][i], expected, atol=1)  # at an edge


def test_a_range_fits_its_function(numbers):
    def edges(function, init):
        return np.array(numbers["histograms"][function][init]["edges"])

    for init in INITS:
        assert (edges("sigmoid", init)[0], edges("sigmoid", init)[-1]) == (0, 1)
        assert (edges("tanh", init)[0], edges("tanh", init)[-1]) == (-1, 1)
        ratios = edges("relu", init)[1:] / edges("relu", init)[:-1]
        np.testing.assert_allclose(ratios, ratios[0])  # evenly on a logarithmic axis
        found = numbers["histograms"]["relu"][init]
        assert max(found["outside"]) <= 0.005
        assert all(max(counts) > 0.02 * 100_000 for counts in found["counts"])  # no empty panel


def test_other_activations_and_weights_may_be_looked_at():
    found = activation_histograms.run(
        Settings(verbose=False), draws=1, weight_init=[0.5], activation=["gelu"]
    )
    assert found["labels"] == {"gelu": "GELU"}
    assert list(found["histograms"]["gelu"]) == ["std 0.5"]
    assert len(activation_histograms.table(found).rows) == 1
    (figure,) = activation_histograms.plot([found]).values()
    assert len(figure.axes) == 5


def test_the_same_normals_are_scaled(numbers):
    std = {init: numbers["statistics"]["relu"][init]["std"][0] for init in INITS}
    layers = np.arange(1, 6)  # ReLU passes a factor on: it multiplies in each layer
    np.testing.assert_allclose(std["std 0.01"], std["std 1"] / 100.0**layers)
    np.testing.assert_allclose(std["He"], np.array(std["Xavier"]) * np.sqrt(2) ** layers)


def test_draws_differ(numbers):
    first, second = numbers["statistics"]["relu"]["He"]["std"]
    assert len(first) == 5
    assert first != second
    again = run()
    assert again["statistics"]["relu"]["He"]["std"] == [first]
    assert run(seed=1)["statistics"] != again["statistics"]


def test_the_gradient_is_that_of_backpropagation(numbers):
    layers = by_hand(numbers, np.tanh, 0.1)
    seed = int(stream(0, "draws").integers(2**32, size=1)[0])
    dout, expected = stream(seed, "gradient").standard_normal((1000, 100)), []
    for layer in range(5, 0, -1):
        expected.insert(0, np.sqrt(np.mean(dout**2)))
        weights = 0.1 * stream(seed, "weights", f"W{layer}").standard_normal((100, 100))
        dout = (dout * (1 - layers[layer - 1] ** 2)) @ weights.T
    np.testing.assert_allclose(numbers["statistics"]["tanh"]["Xavier"]["gradient"][0], expected)


def test_saturated_dead_and_correlated_units_are_found():
    a = np.array([[0.05, 0.0, 0.5, 0.5], [0.95, 0.0, 0.3, 0.7], [0.55, 0.0, 0.1, 0.9]])
    found = activation_histograms.describe("sigmoid", [a], [a * (1 - a)], [a])
    assert found["saturated"] == [pytest.approx(5 / 12)]
    assert found["dead"] == [0.25]
    assert found["centred"] == [pytest.approx(3 / 12)]
    varying = np.abs(np.corrcoef(a[:, [0, 2, 3]], rowvar=False))
    assert found["correlation"] == [pytest.approx(np.mean(varying[np.triu_indices(3, 1)]))]
    assert found["derivative"] == [pytest.approx(np.mean(a * (1 - a)))]
    assert activation_histograms.describe("relu", [a], [a], [a])["saturated"] == [0]


DOUBTED = [
    "Sigmoid, standard deviation 1: in backpropagation the gradient becomes ever smaller and "
    "finally vanishes.",
    "Sigmoid, standard deviation 0.01: the gradient does not vanish.",
    "With tanh, the distribution is a handsome bell.",
]


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed_except_for_gradients_and_the_bell():
    verdicts = judge(activation_histograms.CLAIMS, [run(8)])
    assert [str(v.claim.says) for v in verdicts if not v.confirmed] == DOUBTED


def test_claims_can_come_out_false(numbers):
    swapped = copy.deepcopy(numbers)
    for part in (swapped["statistics"], swapped["histograms"]):
        for function, inits in part.items():  # each row under another's name
            part[function] = dict(zip(INITS, reversed(inits.values()), strict=True))
    verdicts = judge(activation_histograms.CLAIMS, [swapped])
    # with every scale but one that explodes
    vanishing = (
        "ReLU, Xavier: with more layers, learning meets the problem of the vanishing gradient."
    )
    skewed = "Sigmoid, Xavier: the later the layer, the more skewed its distribution."
    assert [str(v.claim.says) for v in verdicts if v.confirmed] == [
        DOUBTED[0], skewed, DOUBTED[2], vanishing,
    ]  # fmt: skip


def test_the_figures_name_everything(numbers):
    figures = activation_histograms.plot([numbers])
    assert set(figures) == set(activation_histograms.EXPERIMENT.alt)
    figure = figures["activation-histograms-relu"]
    panels = np.array(figure.axes).reshape(4, 5)
    assert "ReLU, values greater than 0" in figure.get_suptitle()
    assert [panel.get_xlabel() for panel in panels[-1]] == [f"layer {i}" for i in range(1, 6)]
    for init, row in zip(INITS, panels, strict=True):
        assert row[0].get_ylabel() == f"weights: {init}\nfraction of values"
    std = numbers["statistics"]["relu"]["Xavier"]["std"][0][2]
    assert panels[2, 2].get_title() == f"σ = {std:.2g}"
    assert "standard deviation σ of the activations" in figure.get_suptitle()
    counts = numbers["histograms"]["relu"]["Xavier"]["counts"][2]
    (histogram,) = panels[2, 2].patches
    np.testing.assert_allclose(histogram.get_data().values, np.array(counts) / 100_000)


def test_the_table_has_a_row_a_network(numbers):
    columns, rows = activation_histograms.table(numbers).shown()
    assert [row[:2] for row in rows[:4]] == [["sigmoid", init] for init in INITS]
    assert all(len(row) == len(columns) for row in rows)
    assert rows[1][-1].endswith("e-07")


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here, host = run(device="cuda"), run()
    for function, inits in host["statistics"].items():
        for init, statistics in inits.items():
            for name, values in statistics.items():
                there = here["statistics"][function][init][name]
                np.testing.assert_allclose(there, values, rtol=1e-6, atol=1e-9)
