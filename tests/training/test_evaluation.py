"""Accuracy on samples: in parts, of some rows, and of networks without one."""

import numpy as np
import pytest

from dlskills import Affine, MeanSquaredError, MultiLayerNet, Sequential
from dlskills.training.evaluation import choose_rows, is_one_hot
from dlskills.training.metrics import accuracy, mean_loss
from dlskills.training.samples import SamplesOnDevice


def samples_of(backend, count=23):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((count, 4), np.float32), rng.integers(3, size=count)
    return SamplesOnDevice(backend, x, t, backend.dtype("float32")), x, t


def test_the_parts_make_the_whole(backend, monkeypatch):
    samples, *_ = samples_of(backend)
    network = MultiLayerNet(4, [8], 3, seed=0, device=backend.device, xp=backend.xp)
    whole = accuracy(network, samples)
    assert 0 < whole < 1
    assert whole == network.accuracy(samples.x, samples.t)
    for rows in (1, 5, 23):
        monkeypatch.setattr(samples, "rows_at_a_time", rows)
        assert accuracy(network, samples) == whole


def test_some_rows_alone(backend, monkeypatch):
    samples, x, t = samples_of(backend)
    network = MultiLayerNet(4, [8], 3, seed=0, device=backend.device, xp=backend.xp)
    rows = np.array([0, 7, 8, 22])
    expected = network.accuracy(backend.asarray(x[rows]), backend.asarray(t[rows]))
    monkeypatch.setattr(samples, "rows_at_a_time", 3)
    assert accuracy(network, samples, rows) == expected
    first = network.accuracy(backend.asarray(x[:5]), backend.asarray(t[:5]))
    assert accuracy(network, samples, 5) == first


def test_one_output_has_no_accuracy(backend):
    samples, *_ = samples_of(backend)
    network = Sequential([Affine(4, 1)], MeanSquaredError(), device=backend.device, xp=backend.xp)
    assert np.isnan(accuracy(network, samples))


@pytest.mark.parametrize("rows", [None, 5, np.array([0, 7, 8, 22])])
def test_the_mean_loss_of_the_parts_is_that_of_the_whole(backend, monkeypatch, rows):
    samples, x, t = samples_of(backend)
    network = MultiLayerNet(
        4, [8], 3, weight_decay_lambda=0.1, seed=0, dtype="float64", device=backend.device,
        xp=backend.xp,
    )  # fmt: skip
    chosen = slice(None) if rows is None else slice(rows) if isinstance(rows, int) else rows
    whole = float(network.loss(backend.asarray(x[chosen]), backend.asarray(t[chosen])))
    for step in (1, 3, 10_000):
        monkeypatch.setattr(samples, "rows_at_a_time", step)
        assert mean_loss(network, samples, rows) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        ([[0, 1, 0], [1, 0, 0]], True),
        ([[False, True], [True, False]], True),
        ([[0.0, 1.0], [1.0, 0.0]], True),
        ([[0.0, 1.0], [0.5, 0.5]], False),
        ([[0, 1], [1, 1]], False),
        ([[0, 0], [0, 1]], False),
        ([[2, -1], [0, 1]], False),
        ([[1], [1]], False),
        ([0, 1], False),
    ],
)
def test_one_hot_rows_are_known(backend, t, expected):
    assert is_one_hot(backend.asarray(t)) == expected


@pytest.mark.parametrize("count", [None, 10, 11])
@pytest.mark.parametrize("which", ["first", "random"])
def test_all_rows_need_no_choice(count, which):
    assert choose_rows(10, count, which, np.random.default_rng(0)) == 10


def test_rows_are_chosen():
    rng = np.random.default_rng(0)
    assert choose_rows(10, 4, "first", rng) == 4
    drawn = choose_rows(1000, 400, "random", rng)
    assert len(set(drawn)) == 400
    assert np.all(np.diff(drawn) > 0)  # in their order: nearer in memory
    assert 400 < drawn.mean() < 600
