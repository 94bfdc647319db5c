"""Weights that start all the same, and what becomes of them."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dlskills import MultiLayerNet, load_mnist
from dlskills.experiments import Settings, judge, symmetry
from dlskills.initializers import constant, zeros

NAMES = [
    f"{activation}, {start}"
    for activation in ("sigmoid", "ReLU")
    for start in ("all 0", "all 0.01", "random")
]


def run(iterations, **settings):
    return symmetry.run(Settings(verbose=False, **settings), iterations=iterations)


@pytest.fixture(scope="module")
def numbers():
    return run(40)


def test_units_that_start_alike_stay_alike(numbers):
    assert list(numbers["units"]) == NAMES
    for name in NAMES:
        if name.endswith("random"):
            assert numbers["units"][name] == 48
            assert numbers["spread"][name] > 0.1
        else:
            assert numbers["units"][name] == 1
            assert not numbers["spread"][name] > 1e-9  # 0, or NaN where nothing moves


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize(
    ("kernels", "threads"),
    [("Haswell", "1"), ("Haswell", "2"), ("Nehalem", "1"), ("SkylakeX", "2")],
)
def test_units_stay_alike_on_other_processors(kernels, threads):
    # OpenBLAS rounds as the processor named would have it; other libraries don't mind
    code = """
from dlskills.experiments import Settings, symmetry
numbers = symmetry.run(Settings(verbose=False), iterations=200)
print(*[numbers["units"][name] for name in symmetry.COPIES])
print(max(numbers["spread"][name] for name in symmetry.COPIES))
"""
    told = {"OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": threads}
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True
    )
    if run.returncode < 0:
        pytest.skip(f"this processor can't stand in for {kernels}")
    assert run.stdout.split() == ["1", "1", "1", "0.0"], run.stderr


def test_with_relu_and_all_0_only_the_last_bias_learns(numbers):
    change = numbers["change"]["ReLU, all 0"]
    assert {name: value > 0 for name, value in change.items()} == {
        "W1": False, "b1": False, "W2": False, "b2": True,
    }  # fmt: skip
    assert np.isnan(numbers["spread"]["ReLU, all 0"])
    assert all(value > 0 for value in numbers["change"]["sigmoid, all 0"].values())


@pytest.fixture(scope="module")
def batch():
    (x, t), _ = load_mnist(subset="sample")
    return x[:50], t[:50]


def test_the_gradient_of_all_0_with_relu_is_exactly_0(batch):
    network = MultiLayerNet(784, [20, 20], 10, weight_init_std=zeros(), seed=0)
    grads = network.gradient(*batch)
    for name, grad in grads.items():
        assert np.any(grad) == (name == "b3")


def test_the_gradient_of_a_constant_is_the_same_for_all_units(batch):
    network = MultiLayerNet(
        784, [20], 10, "sigmoid", weight_init_std=constant(0.01), seed=0, dtype="float64"
    )
    grads = network.gradient(*batch)
    largest = np.max(np.abs(grads["W1"]))
    assert np.max(np.ptp(grads["W1"], axis=1)) < 1e-12 * largest
    assert np.max(np.ptp(grads["W2"], axis=0)) < 1e-12
    assert np.max(np.ptp(grads["W1"], axis=0)) > 0.1 * largest  # but not for all inputs


def test_distinct_units_are_counted_up_to_rounding():
    a, b = np.array([1.0, -2, 3]), np.array([1.0, -2, 3.1])
    assert symmetry.distinct_units(np.stack([a, b, a, b, a + 1e-9], axis=1)) == 2
    assert symmetry.distinct_units(np.zeros((3, 4))) == 1
    assert symmetry.distinct_units(np.eye(4)) == 4


def test_pictures_are_means_of_the_changes_of_four_pixels(numbers):
    pictures = np.array(numbers["pictures"]["sigmoid, all 0"])
    assert pictures.shape == (4, 14, 14)
    np.testing.assert_array_equal(pictures[0], pictures[3])
    assert np.max(np.abs(pictures)) <= numbers["change"]["sigmoid, all 0"]["W1"]
    assert not np.any(numbers["pictures"]["ReLU, all 0"])
    random = np.array(numbers["pictures"]["ReLU, random"])
    assert not np.array_equal(random[0], random[1])
    change = np.zeros((28, 28))
    change[2:4, 4:6] = [[1, 2], [3, 4]]
    picture = np.array(symmetry.picture_of(change.ravel()))
    assert picture[1, 2] == 2.5
    assert np.sum(picture) == 2.5


def test_claims_can_come_out_false(numbers):
    swapped = {
        key: dict(zip(NAMES, reversed(values.values()), strict=True))
        if isinstance(values, dict) else values
        for key, values in numbers.items()
    }  # fmt: skip
    verdicts = judge(symmetry.CLAIMS, [swapped])
    assert [verdict.confirmed for verdict in verdicts] == [False, False, True, False, False]


def test_the_figures_name_everything(numbers):
    figures = symmetry.plot([numbers])
    assert set(figures) == set(symmetry.EXPERIMENT.alt)
    texts = [text.get_text() for panel in figures["symmetry"].axes for text in panel.texts]
    assert sorted(texts) == sorted(
        f"{name}: {'48 different units' if 'random' in name else 'all units alike'}"
        for name in NAMES
    )
    (axes,) = figures["symmetry-loss"].axes
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == NAMES
    figures["symmetry"].draw_without_rendering()


def test_the_table(numbers):
    columns, rows = symmetry.table(numbers).shown()
    assert [row[0] for row in rows] == NAMES
    assert [row[1] for row in rows] == ["1", "1", "48", "1", "1", "48"]
    assert rows[3][2] == "0"
    assert all(len(row) == len(columns) for row in rows)


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend):
    here, host = run(3, device="cuda"), run(3)
    assert here["units"] == host["units"]
    for name, losses in host["train_loss"].items():
        np.testing.assert_allclose(here["train_loss"][name], losses, rtol=1e-9)


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed_except_for_relu():
    verdicts = judge(symmetry.CLAIMS, [run(1000)])
    assert [verdict.confirmed for verdict in verdicts] == [True, True, False, True, True]
