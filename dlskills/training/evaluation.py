"""How well a network does on samples, wherever those are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.layers import BinaryCrossEntropy, MeanSquaredError
from dlskills.networks.sequential import Sequential
from dlskills.training.samples import Samples

_ROWS = 1000  # samples whose loss is computed at a time, at most

Rows = int | np.ndarray[Any, Any]
"""Some samples: so many from the first on, or those of these indices."""


def accuracy(network: Sequential, samples: Samples, rows: Rows | None = None) -> float:
    """Return the accuracy on samples, as many of them at a time as the samples ask for.

    Parameters
    ----------
    network : Sequential
    samples : Samples
    rows : int or numpy.ndarray, optional
        How many to take, from the first on, or the indices of those to take; all by default.

    Returns
    -------
    float
        NaN for a network with a single output, unless its loss is BinaryCrossEntropy.
    """
    if network.output_size == 1 and not isinstance(network.loss_layer, BinaryCrossEntropy):
        return math.nan
    # whole numbers add up to the same whatever the parts
    right: int = sum(
        round(network.accuracy(*part) * count)
        for part, count in _parts(samples, rows, samples.rows_at_a_time)
    )
    return right / _count(samples, rows)


def mean_loss(network: Sequential, samples: Samples, rows: Rows | None = None) -> float:
    """Return the mean loss on samples in inference mode, weight decay included."""
    total: float = sum(
        float(network.loss(*part)) * count
        for part, count in _parts(samples, rows, min(samples.rows_at_a_time, _ROWS))
    )
    return total / _count(samples, rows)


def _count(samples: Samples, rows: Rows | None) -> int:
    if rows is None:
        return int(samples.x.shape[0])
    return rows if isinstance(rows, int) else len(rows)


def _parts(
    samples: Samples, rows: Rows | None, step: int
) -> Iterator[tuple[tuple[Array, Array], int]]:
    """Yield inputs and targets of at most `step` samples, and their number."""
    size = _count(samples, rows)
    for start in range(0, size, step):
        part = slice(start, min(start + step, size))
        chosen = rows[part] if isinstance(rows, np.ndarray) else part
        yield samples.part(chosen), part.stop - start


def choose_rows(size: int, count: int | None, which: str, rng: np.random.Generator) -> Rows:
    """Return the samples that accuracies are measured on, as :func:`accuracy` takes them.

    Parameters
    ----------
    size : int
        Of the data.
    count : int, optional
        How many to take; all by default.
    which : {"first", "random"}
    rng : numpy.random.Generator
        To draw from.
    """
    count = size if count is None else min(count, size)
    if which == "first" or count == size:
        return count
    return np.sort(rng.permutation(size)[:count])


class Measured(NamedTuple):
    """What an evaluation after a step found; None for what is not measured."""

    step: int
    train_acc: float
    test_acc: float | None
    test_loss: float | None


class Evaluation:
    """Measures a network on its training and test data, and keeps what it found.

    Parameters
    ----------
    network : Sequential
    train : Samples
    test : Samples or None
    count, which
        See :func:`choose_rows`.
    seed : int
        Of random choices.

    Attributes
    ----------
    train_acc_list, test_acc_list, test_loss_list, penalty_list : list of float
        See :class:`~dlskills.Trainer`.
    latest : Measured or None
        The latest evaluation.
    """

    def __init__(
        self,
        network: Sequential,
        train: Samples,
        test: Samples | None,
        count: int | None,
        which: str,
        seed: int,
    ) -> None:
        self._network, self._test = network, test
        parts = {"train": train} | ({} if test is None else {"test": test})
        self._chosen = {
            part: (samples, choose_rows(
                samples.x.shape[0], count, which, stream(seed, "evaluation", part)
            ))
            for part, samples in parts.items()
        }  # fmt: skip
        regression = isinstance(network.loss_layer, MeanSquaredError)
        self._has_classes = not regression or is_one_hot(train.t)
        self._has_loss = regression or network.output_size == 1
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []
        self.test_loss_list: list[float] = []
        self.penalty_list: list[float] = []
        self.latest: Measured | None = None

    def record(self, step: int) -> None:
        """Measure on the chosen samples after a step, and add to the lists."""
        train_acc = self._accuracy(*self._chosen["train"])
        test_acc, test_loss = self._on_test_data(*self._chosen.get("test", (None, None)))
        penalty = float(self._network.penalty())
        self.train_acc_list.append(train_acc)
        if test_acc is not None:
            self.test_acc_list.append(test_acc)
        if test_loss is not None:
            self.test_loss_list.append(test_loss)
        self.penalty_list.append(penalty)
        self.latest = Measured(step, train_acc, test_acc, test_loss)

    def final(self) -> tuple[float | None, float | None]:
        """Return accuracy and loss on all of the test data, None for what is not measured."""
        return self._on_test_data(self._test, None)

    def _on_test_data(
        self, samples: Samples | None, rows: Rows | None
    ) -> tuple[float | None, float | None]:
        if samples is None:
            return None, None
        loss = mean_loss(self._network, samples, rows) if self._has_loss else None
        return self._accuracy(samples, rows), loss

    def _accuracy(self, samples: Samples, rows: Rows | None) -> float:
        return accuracy(self._network, samples, rows) if self._has_classes else math.nan


def is_one_hot(t: Array) -> bool:
    """Return whether targets are classes, each row a single 1 among zeros."""
    if t.ndim != 2 or t.shape[1] < 2:
        return False
    rows = to_host(t)
    ones = rows == 1
    return bool((ones | (rows == 0)).all() and (ones.sum(axis=1) == 1).all())
