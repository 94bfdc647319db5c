"""A training of so many steps, and evaluations that are left out or of some data only."""

import re

import numpy as np
import pytest
from small_run import make_network, make_trainer, outcome, points

from dlskills import Adam, Trainer
from dlskills.optimizers import schedules
from dlskills.training import Checkpoint, CSVLogger, EarlyStopping, Loop, ReduceOnPlateau
from dlskills.training.budget import Budget

STEPS_PER_EPOCH = 6  # of small_run


def by_steps(steps, **options):
    return make_trainer(epochs=None, steps=steps, **options)


# The number of steps


def test_by_default_there_are_20_epochs():
    x, t = points(8)
    trainer = Trainer(make_network(), x, t, mini_batch_size=4, verbose=False)
    assert (trainer.epochs, trainer.steps, trainer.max_iter) == (20, 40, 40)


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (5, 1), (6, 1), (7, 2), (12, 2)])
def test_training_ends_after_the_steps(steps, epochs):
    trainer = by_steps(steps)
    trainer.train()
    assert trainer.step == trainer.steps == trainer.max_iter == len(trainer.train_loss_list)
    assert trainer.step == steps
    assert trainer.epochs == epochs
    assert trainer.epoch == steps // STEPS_PER_EPOCH
    assert len(trainer.train_acc_list) == epochs  # after the first step of each
    assert trainer.test_acc is not None


@pytest.mark.parametrize("evaluate", ["first", "last"])
def test_whole_epochs_are_the_same_in_steps(evaluate):
    in_epochs, in_steps = make_trainer(evaluate=evaluate), by_steps(18, evaluate=evaluate)
    for trainer in (in_epochs, in_steps):
        trainer.train()
    assert outcome(in_steps) == outcome(in_epochs)


def test_an_incomplete_epoch_is_not_evaluated_at_its_end():
    trainer = by_steps(8, evaluate="last")
    trainer.train()
    assert trainer.history["step"] == [STEPS_PER_EPOCH]


def test_the_steps_may_be_raised_and_training_goes_on():
    whole, trainer = by_steps(14), by_steps(5)
    whole.train()
    trainer.train()
    trainer.steps = 9
    trainer.train()
    trainer.train(steps=5)
    assert trainer.steps == 14
    assert outcome(trainer) == outcome(whole)


def test_further_steps_within_the_budget_leave_it():
    trainer = by_steps(14)
    trainer.train(steps=5)
    assert (trainer.step, trainer.steps) == (5, 14)
    trainer.train(epochs=1)  # to the end of the one that has begun
    assert (trainer.step, trainer.steps) == (6, 14)
    trainer.train()
    assert trainer.step == 14


def test_epochs_set_later_replace_the_steps():
    trainer = by_steps(5)
    trainer.epochs = 2
    assert trainer.steps == 12


def test_a_schedule_over_the_steps_ends_at_its_last_value():
    optimizer = Adam(schedules.Linear(0.01, 0.0, steps=7))
    trainer = by_steps(8, optimizer=optimizer)
    trainer.train()
    assert optimizer.lr == 0


@pytest.mark.parametrize("steps", [8, 11, 14])
def test_a_checkpoint_goes_on_bit_for_bit(tmp_path, steps):
    whole = by_steps(15, callbacks=[Checkpoint(tmp_path / "whole", every=4)])
    whole.train()
    by_steps(steps, callbacks=[Checkpoint(tmp_path / "part", every=4)]).train()
    trainer = by_steps(15, callbacks=[Checkpoint(tmp_path / "part", every=4)])
    assert trainer.resume(tmp_path / "part") == steps
    trainer.train()
    assert outcome(trainer) == outcome(whole)


def test_a_checkpoint_of_epochs_goes_on_in_steps(tmp_path):
    make_trainer(epochs=2, callbacks=[Checkpoint(tmp_path)]).train()
    trainer = by_steps(15, callbacks=[Checkpoint(tmp_path)])
    assert trainer.resume(tmp_path) == 12
    trainer.train()
    assert trainer.step == 15


def test_progress_counts_in_steps(capsys):
    by_steps(8, verbose=True).train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == [
        "training: step 6/8", "training: step 8/8",
    ]  # fmt: skip
    assert "at step 7: train accuracy" in lines[1]


def test_the_mean_loss_of_the_last_line_is_of_the_incomplete_epoch(capsys):
    trainer = by_steps(8, verbose=True)
    trainer.train()
    mean = np.mean(trainer.train_loss_list[STEPS_PER_EPOCH:])
    assert f"step 8/8, mean loss {mean:.4f};" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 3, "steps": 5}, ValueError, "give epochs or steps, got epochs=3 and steps=5"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, "steps must be a whole number, got 2.5"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ],
)
def test_an_impossible_budget_is_refused(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_trainer(**({"epochs": None} | options))
    with pytest.raises(error, match=re.escape(message)):
        make_trainer().train(**options)


def test_max_steps_of_other_libraries_is_steps_here():
    with pytest.raises(TypeError, match="steps="):
        make_trainer(max_steps=3)


def test_budgets_in_either_unit():
    assert Budget(steps=7).in_epochs(3) == 3
    assert Budget(epochs=2).in_steps(3) == 6
    assert Budget().in_steps(1) == 20


# Which evaluations are made


def test_without_evaluations_the_history_is_empty():
    quiet, measured = by_steps(14, evaluate="never"), by_steps(14)
    for trainer in (quiet, measured):
        trainer.train()
    assert quiet.history.rows == len(quiet.history) == 0
    assert quiet.train_acc_list == quiet.test_acc_list == quiet.penalty_list == []
    assert quiet.train_loss_list == measured.train_loss_list
    assert quiet.test_acc == measured.test_acc is not None


def test_without_evaluations_none_is_computed():
    class Counting(type(make_network())):
        asked = 0

        def accuracy(self, x, t):
            type(self).asked += 1
            return super().accuracy(x, t)

    x, t = points(42)
    Trainer(
        Counting(4, [8], 3, seed=0), x, t, steps=14, mini_batch_size=8, verbose=False,
        evaluate="never",
    ).train()  # fmt: skip
    assert Counting.asked == 0


def test_divergence_is_still_found_at_the_end_of_an_epoch():
    trainer = by_steps(60, evaluate="never", optimizer="sgd", optimizer_param={"lr": 1e200})
    with np.errstate(all="ignore"), pytest.raises(ArithmeticError, match="not finite"):
        trainer.train()


@pytest.mark.parametrize("given", ["test", ["test"], ("test",)])
def test_evaluations_on_test_data_only(given):
    some, all_of_it = by_steps(14, evaluate_on=given), by_steps(14)
    for trainer in (some, all_of_it):
        trainer.train()
    assert [name for name in some.history if "_" in name] == ["test_accuracy"]
    assert some.train_acc_list == []
    assert some.test_acc_list == all_of_it.test_acc_list
    assert len(some.test_acc_list) == 3


def test_evaluations_on_two_of_three_parts():
    trainer = by_steps(2, validation=0.2, evaluate_on=["test", "validation"])
    trainer.train()
    assert [name for name in trainer.history if "_" in name] == [
        "validation_accuracy", "validation_loss", "test_accuracy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate_on": "tests"}, "evaluate_on 'tests' is not known; did you mean 'test'?"),
        ({"evaluate_on": "validation"}, "needs validation data, got none; give the trainer valid"),
        ({"evaluate_on": []}, "one or more parts of train, validation, test, each once, got []"),
        ({"evaluate_on": ["test", "test"]}, "each once, got ['test', 'test']"),
        ({"evaluate": "nowhere"}, "evaluate 'nowhere' is not known"),
    ],
)
def test_impossible_evaluations_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_trainer(**options)


FOLLOWING = [
    lambda folder: EarlyStopping("train_loss"),
    lambda folder: ReduceOnPlateau("train_loss"),
    lambda folder: Checkpoint(folder, best_by="train_loss"),
]


@pytest.mark.parametrize("make", [*FOLLOWING, lambda folder: CSVLogger(folder / "rows.csv")])
def test_callbacks_that_need_evaluations_are_refused_without(tmp_path, make):
    with pytest.raises(ValueError, match="evaluate='never' makes none; give evaluate='first'"):
        by_steps(5, evaluate="never", callbacks=[make(tmp_path)])


@pytest.mark.parametrize("make", FOLLOWING)
def test_callbacks_that_follow_other_data_are_refused(tmp_path, make):
    with pytest.raises(ValueError, match="leave out the train data, .* add 'train' to it"):
        by_steps(5, evaluate_on="test", callbacks=[make(tmp_path)])


def test_callbacks_that_follow_the_evaluated_data_are_taken(tmp_path):
    checkpoint = Checkpoint(tmp_path / "best", best_by="test_accuracy")
    by_steps(
        8, evaluate_on="test", callbacks=[checkpoint, CSVLogger(tmp_path / "rows.csv")]
    ).train()
    assert checkpoint.best_file.exists()
    assert "test_accuracy" in (tmp_path / "rows.csv").read_text()


def test_a_checkpoint_of_other_evaluations_is_refused(tmp_path):
    by_steps(5, evaluate_on="test", callbacks=[Checkpoint(tmp_path)]).train()
    with pytest.raises(ValueError, match=r"evaluate_on: \['test'\] there"):
        by_steps(9, callbacks=[Checkpoint(tmp_path)]).resume(tmp_path)


def test_a_loop_still_refuses_them():
    with pytest.raises(ValueError, match="a Loop makes none"):
        Loop(make_network(), "sgd", callbacks=[EarlyStopping()])
