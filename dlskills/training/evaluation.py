"""How well a network does on each part of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_choice
from dlskills.layers import RegressionLoss
from dlskills.networks.sequential import Sequential
from dlskills.training.metrics import Function, Metrics, Rows, measure, named_metrics
from dlskills.training.samples import Samples

if TYPE_CHECKING:
    from dlskills.distributed import Communicator


PARTS = ("train", "validation", "test")
"""The names of the parts of the data."""

_GIVEN_BY = {
    "train": "x_train and t_train",
    "validation": "validation=0.2, or validation=(x, t)",
    "test": "x_test and t_test",
}


def choose_rows(size: int, count: int | None, which: str, rng: np.random.Generator) -> Rows:
    """Return the samples to evaluate, as :func:`~dlskills.training.metrics.measure` takes them.

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


class Evaluation:
    """Measures a network on the parts of its data.

    Parameters
    ----------
    network : Sequential
    parts : mapping of str to Samples
        ``"train"``, and perhaps ``"validation"`` and ``"test"``.
    metrics : sequence or mapping, optional
        See :class:`~dlskills.Trainer`.
    count, which
        See :func:`choose_rows`.
    seed : int
        Of random choices.
    communicator : Communicator, optional
        The ranks that share each evaluation; all get its results.
    on : str or sequence of str, optional
        The parts that :meth:`measure` measures; all by default.

    Raises
    ------
    ValueError
        `on` names a part twice, or one that is unknown or not given.
    """

    def __init__(
        self,
        network: Sequential,
        parts: Mapping[str, Samples],
        metrics: Metrics | None,
        count: int | None,
        which: str,
        seed: int,
        communicator: Communicator | None = None,
        on: str | Sequence[str] | None = None,
    ) -> None:
        self._network, self._parts, self._communicator = network, parts, communicator
        self.on = _chosen_parts(on, parts)
        self.on_all = len(self.on) == len(parts)
        self._rows = {
            part: choose_rows(
                samples.x.shape[0], count, which, stream(seed, "evaluation", part)
            )
            for part, samples in parts.items()
        }  # fmt: skip
        regression = isinstance(network.loss_layer, RegressionLoss)
        self._has_classes = not regression or is_one_hot(parts["train"].t)
        if metrics is None:
            self._metrics = _default_metrics(regression or network.output_size == 1)
        else:
            self._metrics = dict.fromkeys(PARTS, named_metrics(metrics))

    @property
    def columns(self) -> list[str]:
        """The names of what :meth:`measure` returns."""
        return [f"{part}_{name}" for part in self.on for name in self._metrics[part]]

    def measure(self) -> dict[str, float]:
        """Return each metric on the chosen samples, by names such as ``"test_accuracy"``."""
        return {
            f"{part}_{name}": self._measured(metric, samples, self._rows[part])
            for part, samples in self._parts.items()
            if part in self.on
            for name, metric in self._metrics[part].items()
        }

    def on_test_data(self) -> dict[str, float]:
        """Return each metric on all of the test data; empty without any."""
        if "test" not in self._parts:
            return {}
        return {
            name: self._measured(metric, self._parts["test"], None)
            for name, metric in self._metrics["test"].items()
        }

    def _measured(self, metric: str | Function, samples: Samples, rows: Rows | None) -> float:
        if metric == "accuracy" and not self._has_classes:
            return math.nan
        return measure(metric, self._network, samples, rows, self._communicator)


def _chosen_parts(given: str | Sequence[str] | None, parts: Mapping[str, Samples]) -> list[str]:
    """Return the names of the parts to evaluate, in the order of the data."""
    if given is None:
        return list(parts)
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        check_choice("evaluate_on", name, PARTS)
        if name not in parts:
            raise ValueError(
                f"evaluate_on={name!r} needs {name} data, got none; give the trainer "
                f"{_GIVEN_BY[name]}"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"evaluate_on must name one or more parts of {', '.join(PARTS)}, each once, got "
            f"{names}; evaluate='never' turns evaluations off"
        )
    return [part for part in parts if part in names]


def _default_metrics(by_loss: bool) -> dict[str, dict[str, str | Function]]:
    """Return what is measured on each part where the user gave no metrics."""
    accuracy, both = named_metrics(["accuracy"]), named_metrics(["accuracy", "loss"])
    return {"train": accuracy, "validation": both, "test": both if by_loss else accuracy}


def is_one_hot(t: Array) -> bool:
    """Return whether targets are classes, each row a single 1 among zeros."""
    if t.ndim != 2 or t.shape[1] < 2:
        return False
    rows = to_host(t)
    ones = rows == 1
    return bool((ones | (rows == 0)).all() and (ones.sum(axis=1) == 1).all())
