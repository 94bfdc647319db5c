"""How well a network does on samples, wherever those are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlskills.networks.sequential import Sequential
from dlskills.training.samples import Samples


def accuracy(
    network: Sequential, samples: Samples, rows: int | np.ndarray[Any, Any] | None = None
) -> float:
    """The accuracy on samples, as many of them at a time as the samples ask for.

    Parameters
    ----------
    network : Sequential
    samples : Samples
    rows : int or numpy.ndarray, optional
        How many to take, from the first on, or the numbers of those to take; all by default.

    Returns
    -------
    float
        NaN for a network with a single output, which would always be right.
    """
    if network.output_size == 1:
        return math.nan
    rows = samples.x.shape[0] if rows is None else rows
    size = rows if isinstance(rows, int) else len(rows)
    step, right = samples.rows_at_a_time, 0
    for start in range(0, size, step):
        stop = min(start + step, size)
        part = samples.part(slice(start, stop) if isinstance(rows, int) else rows[start:stop])
        # whole numbers add up to the same whatever the parts
        right += round(network.accuracy(*part) * (stop - start))
    return right / size


def choose_rows(
    size: int, count: int | None, which: str, rng: np.random.Generator
) -> int | np.ndarray[Any, Any]:
    """The samples that accuracies are measured on, as :func:`accuracy` takes them.

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
