"""Losses: the last step of a network while training, from its output to one number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlskills.backend import Array, device_of, is_dtype, namespace
from dlskills.layers.base import saved


class Loss:
    """A mean over samples of how far outputs are from targets.

    A loss of one's own writes `forward` and `backward`.
    """

    _saved: Any = None

    def forward(self, x: Array, t: Array) -> Array:
        """The loss, a 0-d array on the device of `x`: reading its value waits for the device."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, t)")

    def backward(self, dout: float = 1.0) -> Array:
        """The gradient by `x` of the last `forward`, times `dout`."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_saved"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxWithLoss(Loss):
    r"""Softmax and cross entropy in one.

    :math:`L = \frac{1}{N} \sum_n (\log \sum_j e^{x_{nj}} - x_{n t_n})`. Computed from the
    scores, without the detour over probabilities: no score overflows, and no small number is
    added inside a logarithm (the book's 1e-7 caps the loss at 16.1). Its gradient is
    :math:`(\mathrm{softmax}(x) - \text{one-hot}(t)) / N`.
    """

    def forward(self, x: Array, t: Array) -> Array:
        """The mean cross entropy.

        Parameters
        ----------
        x : array, shape (N, C)
            Scores, before softmax.
        t : array, shape (N,) of integers, or (N, C)
            Labels below C, or one-hot (or any probabilities).

        Raises
        ------
        ValueError
            The shapes don't fit.
        """
        xp = namespace(x)
        t = one_hot(t, x)
        shifted = x - xp.max(x, axis=1, keepdims=True)
        y = xp.exp(shifted)
        total = xp.sum(y, axis=1, keepdims=True)
        y /= total
        self._saved = y, t
        log_y = shifted
        log_y -= xp.log(total)
        log_y *= t
        return xp.sum(log_y) / -x.shape[0]

    def backward(self, dout: float = 1.0) -> Array:
        y, t = saved(self)
        dx = y - t
        dx *= dout / y.shape[0]
        return dx


class MeanSquaredError(Loss):
    """The mean of (x - t)**2 over all elements."""

    def forward(self, x: Array, t: Array) -> Array:
        """The mean squared error.

        Parameters
        ----------
        x, t : array, of one shape
            Outputs and targets.

        Raises
        ------
        ValueError
            The shapes differ.
        """
        if tuple(x.shape) != tuple(t.shape):
            raise ValueError(
                f"targets must have the outputs' shape {tuple(x.shape)}, got {tuple(t.shape)}"
            )
        xp = namespace(x)
        self._saved = x - (t if t.dtype == x.dtype else xp.astype(t, x.dtype))
        return xp.mean(self._saved * self._saved)

    def backward(self, dout: float = 1.0) -> Array:
        difference = saved(self)
        return difference * (2.0 * dout / math.prod(difference.shape))


def one_hot(t: Array, like: Array) -> Array:
    """Labels as rows of zeros and a one, in the shape and dtype of the scores `like`.

    Parameters
    ----------
    t : array, shape (N,) of integers, or already (N, C)
    like : array, shape (N, C)

    Raises
    ------
    ValueError
        The shapes don't fit.
    """
    xp = namespace(like)
    if t.ndim == like.ndim and tuple(t.shape) == tuple(like.shape):
        return t if t.dtype == like.dtype else xp.astype(t, like.dtype)
    if t.ndim != 1 or t.shape[0] != like.shape[0] or not is_dtype(xp, t.dtype, "integral"):
        raise ValueError(
            f"labels for scores of shape {tuple(like.shape)} must be integers of shape "
            f"({like.shape[0]},) or one-hot of shape {tuple(like.shape)}, got {t.dtype} of shape "
            f"{tuple(t.shape)}"
        )
    # comparison, as the standard has no assignment at pairs of indices
    labels = t if t.dtype == xp.int64 else xp.astype(t, xp.int64)
    classes = xp.arange(like.shape[1], dtype=xp.int64, device=device_of(like))
    return xp.astype(labels[:, None] == classes, like.dtype)


def check_labels(name: str, labels: np.ndarray[Any, Any], classes: int) -> None:
    """Refuse integer labels out of range, which would count as no class.

    Parameters
    ----------
    name : str
        What the error calls them.
    labels : numpy.ndarray
        On the host: a look at values elsewhere waits for the device.
    classes : int

    Raises
    ------
    ValueError
        A label is not from 0 to `classes` - 1.
    """
    if labels.ndim == 1 and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"{name} must hold labels from 0 to {classes - 1}, as the network has {classes} "
            f"outputs, got labels from {labels.min()} to {labels.max()}"
        )
