"""What an evaluation measures, on which data."""

import numpy as np
import pytest
from small_run import make_network, make_trainer, points

from dlskills import Trainer, to_host


def largest_score(outputs, targets):
    assert outputs.shape[0] == targets.shape[0]
    return outputs.max()


def test_a_function_is_a_metric_of_all_samples(backend, monkeypatch):
    x, t = points(42)
    network = make_network(backend.xp, backend.device)
    trainer = Trainer(
        network, x, t, x, t, epochs=1, mini_batch_size=8, verbose=False, evaluate="last",
        metrics={"accuracy": "accuracy", "top": lambda y, t: backend.xp.max(y)},
    )  # fmt: skip
    for samples in trainer._parts.values():
        monkeypatch.setattr(samples, "rows_at_a_time", 5)
    trainer.train()
    scores = to_host(network.predict(backend.asarray(x, "float64")))
    assert trainer.history["test_top"][-1] == pytest.approx(scores.max(), rel=1e-12)
    assert trainer.history["train_top"][-1] == pytest.approx(scores.max(), rel=1e-12)
    assert "test_loss" not in trainer.history


def test_functions_go_by_their_names():
    trainer = make_trainer(metrics=[largest_score], evaluate="last")
    trainer.train()
    assert len(trainer.history["train_largest_score"]) == 3
    assert trainer.test_acc is None
    assert trainer.test_acc_list == []


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (["accurcay"], ValueError, "metric 'accurcay' is not known; did you mean 'accuracy'"),
        ([3], TypeError, "a metric must be 'accuracy', 'loss' or a function .* got 3"),
        ([largest_score, largest_score], ValueError, "two metrics are called 'largest_score'"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, error, message):
    with pytest.raises(error, match=message):
        make_trainer(metrics=metrics)


# Validation data


def test_a_fraction_is_left_out_of_training():
    trainer = make_trainer(validation=0.25, evaluate="last")
    assert trainer.train_size == 32
    x, t = points(42)
    kept = {tuple(row) for row in to_host(trainer.x_train)}
    assert len(kept) == 32
    assert kept < set(map(tuple, x))
    left = [i for i, row in enumerate(x) if tuple(row) not in kept]
    trainer.train()
    found = trainer.history["validation_accuracy"][-1]
    assert found == pytest.approx(trainer.network.accuracy(x[left], t[left]), abs=1e-12)
    again, other = make_trainer(validation=0.25), make_trainer(validation=0.25, seed=7)
    assert np.array_equal(again.x_train, trainer.x_train)
    assert not np.array_equal(other.x_train, trainer.x_train)


def test_arrays_may_be_given():
    x, t = points(9, seed=5)
    trainer = make_trainer(validation=(x, t), evaluate="last")
    trainer.train()
    assert trainer.train_size == 42
    network = trainer.network
    assert trainer.history["validation_accuracy"][-1] == network.accuracy(x, t)
    assert trainer.history["validation_loss"][-1] == pytest.approx(network.loss(x, t), rel=1e-12)


def test_validation_changes_no_step():
    x, t = points(9, seed=5)
    plain, watched = make_trainer(), make_trainer(validation=(x, t))
    plain.train()
    watched.train()
    assert plain.train_loss_list == watched.train_loss_list


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (0, ValueError, "validation must be greater than 0 and less than 1"),
        (1.0, ValueError, "validation must be greater than 0 and less than 1"),
        (0.001, ValueError, "validation=0.001 of 42 samples are 0, which leaves nothing"),
        (points(3)[0], TypeError, "validation must be a fraction such as 0.2, or a pair"),
        ((points(3)[0],), TypeError, r"or a pair of arrays \(x, t\), got tuple"),
        ((points(3)[0], points(4)[1]), ValueError, "x_validation and t_validation must have"),
        ((points(3)[0][:, :2], points(3)[1]), ValueError, "x_validation must have 4 numbers"),
    ],
)
def test_wrong_validation_data_are_refused(validation, error, message):
    with pytest.raises(error, match=message):
        make_trainer(validation=validation)


def test_a_metric_that_returns_no_number_is_named(backend):
    def right(outputs, targets):
        return outputs[:, 0] > 0

    trainer = make_trainer(make_network(backend.xp, backend.device), metrics=[right])
    with pytest.raises(ValueError, match=r"the metric 'right' must return a number.*\(\d+,\)"):
        trainer.train()
