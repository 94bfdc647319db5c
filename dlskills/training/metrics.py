"""What an evaluation measures: accuracy, loss, and functions of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.share import share_of
from dlskills.checks import check_choice
from dlskills.layers import BinaryCrossEntropy
from dlskills.networks.sequential import Sequential
from dlskills.training.samples import Samples

if TYPE_CHECKING:
    from dlskills.distributed import Communicator

_ROWS = 1000  # samples whose loss is computed at a time, at most

Rows: TypeAlias = int | np.ndarray[Any, Any]
"""The first so many samples, or those of these indices."""

Function: TypeAlias = Callable[[Array, Array], Any]
"""A metric of your own: takes outputs (N, ...) and targets (N, ...), returns a number."""

Metrics: TypeAlias = Sequence[str | Function] | Mapping[str, str | Function]

BUILT_IN = ("accuracy", "loss")


def named_metrics(given: Metrics) -> dict[str, str | Function]:
    """Return metrics by name.

    Raises
    ------
    TypeError, ValueError
        One is neither ``"accuracy"`` nor ``"loss"`` nor a function, or two have one name.
    """
    if isinstance(given, str):
        given = [given]
    pairs = given.items() if isinstance(given, Mapping) else [(_name(one), one) for one in given]
    metrics: dict[str, str | Function] = {}
    for name, metric in pairs:
        if isinstance(metric, str):
            check_choice("metric", metric, BUILT_IN)
        elif not callable(metric):
            raise TypeError(
                f"a metric must be 'accuracy', 'loss' or a function of outputs and targets, got "
                f"{metric!r}"
            )
        if name in metrics:
            raise ValueError(f"two metrics are called {name!r}; give a mapping of names to metrics")
        metrics[name] = metric
    return metrics


def _name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "__name__", type(metric).__name__))


def measure(
    metric: str | Function,
    network: Sequential,
    samples: Samples,
    rows: Rows | None = None,
    communicator: Communicator | None = None,
) -> float:
    """Return a metric of a network on samples, in inference mode.

    Parameters
    ----------
    metric : {"accuracy", "loss"} or callable
    network : Sequential
    samples : Samples
    rows : int or numpy.ndarray, optional
        The number of samples to take, from the first, or their indices; all by default.
    communicator : Communicator, optional
        Ranks that share the samples of accuracies and losses, and all get the result. A function
        of your own may need all outputs at once, so every rank computes it.

    Returns
    -------
    float
    """
    if metric == "accuracy":
        return accuracy(network, samples, rows, communicator)
    if metric == "loss":
        return mean_loss(network, samples, rows, communicator)
    return _of_all(metric, network, samples, rows)


def _of_all(metric: Any, network: Sequential, samples: Samples, rows: Rows | None) -> float:
    """Return a user's metric of all outputs and targets together."""
    xp = network.backend.xp
    outputs, targets = [], []
    for (x, t), _ in _parts(samples, rows, samples.rows_at_a_time):
        outputs.append(network.predict(x))
        targets.append(t)
    with network.backend.active():
        number = metric(xp.concat(outputs), xp.concat(targets))
    if getattr(number, "shape", ()) != ():
        raise ValueError(
            f"the metric {_name(metric)!r} must return a number, got an array of shape "
            f"{tuple(number.shape)}; take its mean"
        )
    return float(to_host(number)) if hasattr(number, "shape") else float(number)


def accuracy(
    network: Sequential,
    samples: Samples,
    rows: Rows | None = None,
    communicator: Communicator | None = None,
) -> float:
    """Return the accuracy on samples, as many of them at a time as the samples ask for.

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
        for part, count in _parts(samples, rows, samples.rows_at_a_time, communicator)
    )
    return _sum_of_all(right, communicator) / _count(samples, rows)


def mean_loss(
    network: Sequential,
    samples: Samples,
    rows: Rows | None = None,
    communicator: Communicator | None = None,
) -> float:
    """Return the mean loss on samples in inference mode, weight decay included."""
    total: float = sum(
        float(network.loss(*part)) * count
        for part, count in _parts(samples, rows, min(samples.rows_at_a_time, _ROWS), communicator)
    )
    return _sum_of_all(total, communicator) / _count(samples, rows)


def _sum_of_all(number: float, communicator: Communicator | None) -> float:
    """Return the sum of a number over the ranks, the same to the bit on all of them."""
    return number if communicator is None else sum(communicator.allgather_object(number))


def _count(samples: Samples, rows: Rows | None) -> int:
    if rows is None:
        return int(samples.x.shape[0])
    return rows if isinstance(rows, int) else len(rows)


def _parts(
    samples: Samples, rows: Rows | None, step: int, communicator: Communicator | None = None
) -> Iterator[tuple[tuple[Array, Array], int]]:
    """Yield inputs and targets of at most `step` samples of this rank's share, and their number."""
    first, size = 0, _count(samples, rows)
    if communicator is not None:
        first, size = share_of(size, communicator.rank, communicator.size)
    for start in range(first, first + size, step):
        part = slice(start, min(start + step, first + size))
        chosen = rows[part] if isinstance(rows, np.ndarray) else part
        yield samples.part(chosen), part.stop - start
