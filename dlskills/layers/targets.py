"""Checks of targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, is_dtype, namespace


def check_targets(t: Array, scores: Array) -> None:
    """Raise an error unless targets are one label per row of scores, or have the scores' shape."""
    xp = namespace(scores)
    if t.ndim == scores.ndim and tuple(t.shape) == tuple(scores.shape):
        return
    if t.ndim != 1 or t.shape[0] != scores.shape[0] or not is_dtype(xp, t.dtype, "integral"):
        raise ValueError(
            f"labels for scores of shape {tuple(scores.shape)} must be integers of shape "
            f"({scores.shape[0]},) or one-hot of shape {tuple(scores.shape)}, got {t.dtype} of "
            f"shape {tuple(t.shape)}"
        )


def check_class_count(classes: int) -> None:
    """Raise an error if there is only one class, whose softmax and accuracy are always 1.

    Raises
    ------
    ValueError
    """
    if classes == 1:
        raise ValueError(
            "SoftmaxWithLoss and accuracies need scores for at least 2 classes, got 1, whose "
            "softmax is always 1. Give the network 2 outputs, or use BinaryCrossEntropy() for one "
            "score or MeanSquaredError() for regression, which has no accuracy"
        )


def check_target_rows(name: str, t: Array) -> None:
    """Raise an error if target rows hold negative values, NaN, or integers other than 0 and 1.

    Parameters
    ----------
    name : str
        Name of the targets in the error message.
    t : array
        Only NumPy arrays are checked: reading values elsewhere waits for the device.

    Raises
    ------
    ValueError
        A target is negative, NaN, or an integer other than 0 and 1.
    """
    if not isinstance(t, np.ndarray) or t.ndim < 2 or not t.size:
        return
    if t.dtype.kind in "iu" and t.max() > 1:
        raise ValueError(
            f"{name} with integers in 2-D must be one-hot (0 or 1, one column per class), got "
            f"{t.max()}. Pass labels as an array of shape ({t.shape[0]},), other weights as floats"
        )
    if not t.min() >= 0:  # written so that NaN fails, too
        raise ValueError(f"{name} must be at least 0, got {t.min()}")


def check_labels(name: str, labels: np.ndarray[Any, Any], classes: int) -> None:
    """Raise an error if integer labels are out of range.

    Parameters
    ----------
    name : str
        Name of the labels in the error message.
    labels : numpy.ndarray
        On the host: reading values elsewhere waits for the device.
    classes : int
        Number of classes.

    Raises
    ------
    ValueError
        A label is not from 0 to `classes` - 1, or there is only one class.
    """
    check_class_count(classes)
    if labels.ndim == 1 and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"{name} must hold labels from 0 to {classes - 1} (the network has {classes} outputs), "
            f"got labels from {labels.min()} to {labels.max()}"
        )


def check_probabilities(name: str, t: Array) -> None:
    """Raise an error if targets are not from 0 to 1.

    Parameters
    ----------
    name : str
        Name of the targets in the error message.
    t : array
        Only NumPy arrays are checked, as in :func:`check_target_rows`.

    Raises
    ------
    ValueError
    """
    if isinstance(t, np.ndarray) and t.size and not (t.min() >= 0 and t.max() <= 1):
        raise ValueError(
            f"{name} must hold values from 0 to 1, got values from {t.min()} to {t.max()}"
        )
