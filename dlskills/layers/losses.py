"""Losses: the last step of a network while training, from its output to one number."""

from __future__ import annotations

import math

from dlskills.backend import Array, device_of, namespace
from dlskills.layers.base import saved


class Loss:
    """A mean over samples of how far outputs are from targets.

    A loss of one's own writes `forward` and `backward`.
    """

    def forward(self, x: Array, t: Array) -> Array:
        """The loss, a 0-d array on the device of `x`: reading its value waits for the device."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, t)")

    def backward(self, dout: float = 1.0) -> Array:
        """The gradient by `x` of the last `forward`, times `dout`."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxWithLoss(Loss):
    r"""Softmax and cross entropy in one.

    :math:`L = \frac{1}{N} \sum_n (\log \sum_j e^{x_{nj}} - x_{n t_n})`. Computed from the
    scores, without the detour over probabilities: no score overflows, and no small number is
    added inside a logarithm (the book's 1e-7 caps the loss at 16.1). Its gradient is
    :math:`(\mathrm{softmax}(x) - \text{one-hot}(t)) / N`.
    """

    _y: Array | None = None
    _t: Array | None = None

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
        self._t = one_hot(t, x)
        shifted = x - xp.max(x, axis=1, keepdims=True)
        exps = xp.exp(shifted)
        total = xp.sum(exps, axis=1, keepdims=True)
        self._y = exps / total
        return (xp.sum(xp.log(total)) - xp.sum(shifted * self._t)) / x.shape[0]

    def backward(self, dout: float = 1.0) -> Array:
        y = saved(self, self._y)
        return (y - self._t) * (dout / y.shape[0])


class MeanSquaredError(Loss):
    """The mean of (x - t)**2 over all elements."""

    _difference: Array | None = None

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
        self._difference = x - (t if t.dtype == x.dtype else xp.astype(t, x.dtype))
        return xp.mean(self._difference * self._difference)

    def backward(self, dout: float = 1.0) -> Array:
        difference = saved(self, self._difference)
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
    if t.ndim != 1 or t.shape[0] != like.shape[0] or not xp.isdtype(t.dtype, "integral"):
        raise ValueError(
            f"labels for scores of shape {tuple(like.shape)} must be integers of shape "
            f"({like.shape[0]},) or one-hot of shape {tuple(like.shape)}, got {t.dtype} of shape "
            f"{tuple(t.shape)}"
        )
    # comparison, as the standard has no assignment at pairs of indices
    classes = xp.arange(like.shape[1], dtype=t.dtype, device=device_of(like))
    return xp.astype(t[:, None] == classes, like.dtype)
