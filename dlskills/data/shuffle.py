"""Shuffling of a data set."""

from __future__ import annotations

import numpy as np

from dlskills.arrays.backend import Array, backend_of, with_all_operations
from dlskills.data.batches import Batches


def shuffle_dataset(
    x: Array, t: Array, *, seed: int | np.random.Generator | None = None
) -> tuple[Array, Array]:
    """Shuffle inputs and targets in the same random order.

    The book does this before it splits off validation data.

    Parameters
    ----------
    x : array, shape (N, ...)
        Inputs, of any library and device.
    t : array, shape (N, ...)
        Targets; may be of another library or device.
    seed : int or numpy.random.Generator, optional
        The same seed gives the same order on every device. By default each call gives a new
        order. (The book draws from NumPy's global state.)

    Returns
    -------
    x, t : array
        Copies, each with its original library, dtype and device.

    Raises
    ------
    TypeError
        `x` or `t` is not an array.
    ValueError
        `x` and `t` differ in their number of samples, or have none.

    Examples
    --------
    >>> x, t = shuffle_dataset(np.arange(8).reshape(4, 2), np.arange(4), seed=0)
    >>> t
    array([2, 0, 1, 3])
    >>> x[:, 0] // 2
    array([2, 0, 1, 3])
    """
    for name, array in (("x", x), ("t", t)):
        if not getattr(array, "shape", ()):
            raise TypeError(
                f"{name} must be an array with one row per sample, got a "
                f"{type(array).__name__}. Convert it with numpy.asarray(...)"
            )
    if x.shape[0] != t.shape[0] or x.shape[0] == 0:
        raise ValueError(
            "x and t must have the same number of samples, at least one, got "
            f"{x.shape[0]} and {t.shape[0]}"
        )
    rows = Batches(x.shape[0], x.shape[0], seed=seed).epoch()
    return _rows_of(x, rows), _rows_of(t, rows)


def _rows_of(array: Array, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Array:
    backend = backend_of(array)
    with backend.active():
        return backend.xp.take(with_all_operations(array), backend.asarray(rows), axis=0)
