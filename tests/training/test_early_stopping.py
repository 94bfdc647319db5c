"""Callbacks that follow a metric: when they stop, what they restore, how they reduce the rate."""

import math

import numpy as np
import pytest
from small_run import finding, make_network, make_trainer

from dlskills import SGD, to_host
from dlskills.optimizers.schedules import StepDecay
from dlskills.training import Callback, EarlyStopping, ReduceOnPlateau
from dlskills.training.best import Best


def trained(values, *callbacks, metric="loss", network=None, **options):
    """A training whose evaluations find these values, one per epoch."""
    options = {"epochs": len(values), "evaluate": "last", "optimizer": "sgd"} | options
    trainer = make_trainer(
        network, callbacks=callbacks, **finding(values, metric=metric), **options
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best_epoch"),
    [
        ([3, 2, 1, 1, 1, 0], 2, 5, 3),
        ([3, 2, 1, 1, 0, 0, 0], 2, 7, 5),
        ([1, 2], 1, 2, 1),
        ([3, 2, 1], 1, 3, 3),
        ([1, math.nan, math.nan, 0], 2, 3, 1),
    ],
)
def test_it_stops_after_so_many_evaluations_without_improvement(
    values, patience, epochs, best_epoch
):
    stopping = EarlyStopping(patience=patience)
    trainer = trained(values, stopping)
    assert trainer.epoch == epochs
    assert stopping.best == values[best_epoch - 1]
    assert stopping.best_step == 6 * best_epoch


@pytest.mark.parametrize(("mode", "epochs"), [("max", 3), ("min", 5)])
def test_larger_may_be_better(mode, epochs):
    values = [0.5, 0.4, 0.3, 0.2, 0.1]
    trainer = trained(values, EarlyStopping("validation_my", 2, mode=mode), metric="my")
    assert trainer.epoch == epochs


def test_an_improvement_may_be_too_small_to_count():
    values = [1.0, 0.99, 0.98, 0.5]
    assert trained(values, EarlyStopping(patience=2, min_delta=0.1)).epoch == 3


@pytest.mark.parametrize("epochs", [3, 5])  # stopped early, and at the end as planned
def test_the_best_state_is_restored(backend, epochs):
    states = []

    def watch(trainer):
        states.append(trainer.network.state_dict())

    values = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0][:epochs]
    network = make_network(backend.xp, backend.device)
    trainer = trained(values, watch, EarlyStopping(patience=3), network=network)
    assert trainer.epoch == epochs
    for name, value in states[1].items():
        now = trainer.network.state_dict()[name]
        if hasattr(value, "shape"):
            np.testing.assert_array_equal(to_host(now), value)
        else:
            assert now == value


def test_or_is_not():
    states = []
    trainer = trained(
        [1.0, 2.0, 2.0],
        lambda trainer: states.append(trainer.network.params.flat.copy()),
        EarlyStopping(patience=2, restore_best=False),
    )
    assert np.array_equal(trainer.network.params.flat, states[-1])


def test_with_real_validation_data_it_stops_before_the_end():
    trainer = make_trainer(
        validation=0.3, epochs=200, optimizer="adam", optimizer_param={"lr": 0.05},
        callbacks=[EarlyStopping(patience=3)],
    )  # fmt: skip
    trainer.train()
    assert trainer.stopped
    assert trainer.epoch < 200
    stopping = trainer.callbacks[0]
    assert stopping.best == min(trainer.history["validation_loss"])
    trainer.train()
    assert trainer.epoch < 200  # it stays stopped
    epoch = trainer.epoch
    trainer.train(epochs=1)  # unless it is asked to go on
    assert trainer.epoch == epoch + 1


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("validation_loss", "no 'validation_loss' is measured, .*give the trainer validation=0.2"),
        ("test_loss", r"no 'test_loss' .*metrics=\[\"accuracy\", \"loss\"\]"),
    ],
)
def test_what_is_not_measured_is_named(metric, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(callbacks=[EarlyStopping(metric)])


def test_keras_name_of_the_validation_loss_gets_the_hint():
    trainer = make_trainer(callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(ValueError, match="no 'val_loss' is measured, .*validation=0.2"):
        trainer.train()


def test_a_column_that_a_callback_adds_can_be_followed():
    class Adds(Callback):
        def after_evaluation(self, trainer):
            trainer.history.add({"test_score": 1.0})

    trainer = make_trainer(
        callbacks=[Adds(), EarlyStopping("test_score", patience=1)], evaluate="last", epochs=9
    )
    trainer.train()
    assert trainer.stopped
    assert trainer.epoch == 2


def test_a_column_that_no_evaluation_writes_is_named():
    trainer = make_trainer(callbacks=[EarlyStopping("my_loss")])
    with pytest.raises(ValueError, match="no 'my_loss' is measured, only "):
        trainer.train()


def test_the_rate_is_reduced():
    rates = []
    trainer = trained(
        [2, 1, 1, 1, 1, 1, 1],
        ReduceOnPlateau(factor=0.5, patience=2, min_lr=0.003),
        lambda trainer: rates.append(trainer.optimizer.lr),
        optimizer="sgd",
        optimizer_param={"lr": 0.01},
    )
    assert rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.003, 0.003]
    assert trainer.optimizer.lr == 0.003


def test_a_rate_below_the_least_is_not_raised():
    trainer = trained([1, 1, 1], ReduceOnPlateau(patience=1, min_lr=0.1))
    assert trainer.optimizer.lr == 0.01


def test_a_schedule_would_set_the_rate_again():
    with pytest.raises(TypeError, match="ReduceOnPlateau sets the learning rate, and SGD.* sched"):
        trained([1, 1], ReduceOnPlateau(), optimizer=SGD(lr=StepDecay(0.1, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "patience must be at least 1"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be at least 0"),
        (lambda: EarlyStopping("f1"), "'f1' does not tell whether smaller or larger is better"),
        (lambda: ReduceOnPlateau(factor=1), "factor must be greater than 0 and less than 1"),
        (lambda: ReduceOnPlateau(factor=0), "factor must be greater than 0 and less than 1"),
    ],
)
def test_a_wrong_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("metric", "mode"), [("loss", "min"), ("test_accuracy", "max"), ("validation_error", "min")]
)
def test_names_tell_the_direction(metric, mode):
    assert Best(metric).mode == mode


def test_training_that_goes_on_after_a_stop_is_as_patient_again():
    trainer = trained([1.0] * 9, EarlyStopping(patience=2))
    assert trainer.epoch == 3
    trainer.train(epochs=5)
    assert trainer.epoch == 5


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_a_larger_budget_continues_a_training_that_was_stopped(unit):
    trainer = trained([1.0] * 9, EarlyStopping(patience=2))
    trainer.train()
    assert trainer.epoch == 3  # it stays stopped
    setattr(trainer, unit, 5 * (1 if unit == "epochs" else trainer.iter_per_epoch))
    trainer.train()
    assert trainer.epoch == 5
