"""The line of an epoch: what it shows, and what it leaves out."""

import math

import pytest

from dlskills.training.epoch_line import epoch_line, on_test_data
from dlskills.training.evaluation import Measured


@pytest.mark.parametrize(
    ("latest", "shown"),
    [
        (Measured(5, 0.5, 0.25, None), "; at step 5: train accuracy 0.5000, test 0.2500"),
        (Measured(8, 0.5, None, None), "; at step 8: train accuracy 0.5000"),
        (
            Measured(8, 0.5, 0.25, 2.0),
            "; at step 8: train accuracy 0.5000, test 0.2500, test loss 2.0000",
        ),
        (Measured(8, math.nan, math.nan, 2.0), "; at step 8: test loss 2.0000"),
        (Measured(8, math.nan, None, None), ""),
        (Measured(4, 0.5, 0.25, None), ""),  # of the epoch before
        (None, ""),
    ],
)  # fmt: skip
def test_accuracies_are_those_of_the_epoch(latest, shown):
    line = epoch_line(2, 3, [1.0, 2.0, 3.0, 4.0], latest, 8)
    assert line == f"epoch 2/3, mean loss 2.5000{shown}"


def test_a_line_of_some_hundred_epochs_fits_80_columns():
    line = epoch_line(301, 301, [0.01, 0.02], Measured(901, 1.0, 0.76, None), 902)
    assert len(line) <= 80


@pytest.mark.parametrize(
    ("accuracy", "loss", "shown"),
    [
        (0.5, None, "test accuracy 0.5000"),
        (math.nan, 2.0, "test loss 2.0000"),
        (0.5, 2.0, "test accuracy 0.5000, test loss 2.0000"),
        (math.nan, None, ""),
        (None, None, ""),
    ],
)
def test_what_is_said_of_test_data(accuracy, loss, shown):
    assert on_test_data(accuracy, loss) == shown
