"""The line of an epoch: what it shows, and what it leaves out."""

import math

import pytest

from dlskills.training.epoch_line import epoch_line, measured


def row(step, train=math.nan, test=math.nan, loss=math.nan):
    return {
        "step": step,
        "loss": 1.0,
        "train_accuracy": train,
        "test_accuracy": test,
        "test_loss": loss,
    }


@pytest.mark.parametrize(
    ("latest", "shown"),
    [
        (row(5, 0.5, 0.25), "; at step 5: train accuracy 0.5000, test 0.2500"),
        (row(8, 0.5), "; at step 8: train accuracy 0.5000"),
        (
            row(8, 0.5, 0.25, 2.0),
            "; at step 8: train accuracy 0.5000, test 0.2500, test loss 2.0000",
        ),
        (row(8, loss=2.0), "; at step 8: test loss 2.0000"),
        (row(8), ""),
        (row(4, 0.5, 0.25), ""),  # of the epoch before
        ({}, ""),
    ],
)  # fmt: skip
def test_accuracies_are_those_of_the_epoch(latest, shown):
    line = epoch_line(2, 3, [1.0, 2.0, 3.0, 4.0], latest, 8)
    assert line == f"epoch 2/3, mean loss 2.5000{shown}"


def test_a_line_of_some_hundred_epochs_fits_80_columns():
    line = epoch_line(301, 301, [0.01, 0.02], row(901, 1.0, 0.76), 902)
    assert len(line) <= 80


def test_metrics_in_words_leave_out_what_was_not_measured():
    numbers = {"test_accuracy": 0.5, "test_loss": math.nan, "validation_accuracy": 0.25}
    assert measured(numbers) == "test accuracy 0.5000, validation 0.2500"
    assert measured({"test_loss": math.nan}) == measured({}) == ""
