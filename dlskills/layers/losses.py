"""Loss functions, which reduce a network's output and its targets to one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, device_of, is_dtype, namespace
from dlskills.checks import check_number
from dlskills.formulas import along
from dlskills.layers.activations import Sigmoid
from dlskills.layers.base import saved, settings_of


class Loss:
    """Base class for losses, which are means over samples.

    A subclass implements :meth:`forward` and :meth:`backward`.
    """

    _saved: Any = None

    def forward(self, x: Array, t: Array) -> Array:
        """Return the loss, a 0-d array on the device of `x`.

        Reading its value on the host waits for the device.

        Parameters
        ----------
        x : array, shape (N, ...)
            Outputs of the network.
        t : array
            Targets.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, t)")

    def backward(self, dout: float = 1.0) -> Array:
        """Return `dout` times the gradient with respect to the `x` of the last `forward`."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def correct(self, y: Array, t: Array) -> Array:
        """Return which samples are classified correctly, by the class with the highest score.

        Parameters
        ----------
        y : array, shape (N, C)
            Scores. A sample with a NaN among its scores counts as wrong.
        t : array, shape (N,) of integers, or one-hot (N, C)

        Returns
        -------
        array of bool, shape (N,)
        """
        xp = namespace(y)
        check_targets(t, y)
        if t.ndim > 1:
            if is_dtype(xp, t.dtype, "bool"):  # argmax is not defined for bool
                t = xp.astype(t, xp.int8)
            t = xp.argmax(t, axis=1)
        best, highest = xp.argmax(y, axis=1), xp.max(y, axis=1)
        # argmax returns the position of a NaN, which is not a prediction
        return (best == xp.astype(t, best.dtype)) & ~xp.isnan(highest)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments that make such a loss; see :meth:`Layer.settings`."""
        return settings_of(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value for key, value in vars(self).items() if key not in ("_saved", "_classes")
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _WithGradient(Loss):
    """A loss whose forward pass also computes its gradient."""

    def _keep(self, x: Array, loss: Array, gradient: Array) -> Array:
        """Save the gradient and return the loss in the dtype of `x`.

        For an `x` in half precision, the loss is computed in single precision.
        """
        self._saved = gradient
        if loss.dtype == x.dtype:
            return loss
        xp = namespace(x)
        return xp.astype(xp.asarray(loss), x.dtype)

    def backward(self, dout: float = 1.0) -> Array:
        dx = saved(self)
        return dx if dout == 1 else dx * dout


class SoftmaxWithLoss(_WithGradient):
    r"""Softmax with cross-entropy loss.

    :math:`L = \frac{1}{N} \sum_n (\log \sum_j e^{x_{nj}} - x_{n t_n})`, computed directly from the
    scores so that no score overflows. Its gradient is
    :math:`(\mathrm{softmax}(x) - \text{one-hot}(t)) / N`. For target rows :math:`t` with any sum,
    :math:`L = \frac{1}{N} \sum_{nj} t_{nj} (\log \sum_k e^{x_{nk}} - x_{nj})`: a row of zeros
    excludes its sample, and a row multiplied by a weight gives its sample that weight.

    Parameters
    ----------
    epsilon : float, default 0.0
        Added to the probabilities inside the logarithm. The book adds 1e-7, which limits the loss
        to 16.1, but uses the gradient of the loss without it. Here the gradient is that of the loss
        itself, which vanishes where a probability is not much larger than epsilon.
    """

    epsilon = 0.0
    _classes: Any = None

    def __init__(self, epsilon: float = 0.0) -> None:
        self.epsilon = check_number("epsilon", epsilon, at_least=0)

    def forward(self, x: Array, t: Array) -> Array:
        """Return the mean cross entropy.

        Parameters
        ----------
        x : array, shape (N, C)
            Scores, before softmax.
        t : array, shape (N,) of integers, or (N, C)
            Labels from 0 to C - 1; or one-hot rows, probabilities, or any nonnegative targets.

        Returns
        -------
        array, shape ()
            NaN if a label is not from 0 to C - 1. (A network on NumPy raises an error instead; on
            other backends such a check would wait for the device.)

        Raises
        ------
        ValueError
            The shapes don't match; there is only one class; or targets (on NumPy) are negative,
            NaN, or integers other than 0 and 1.
        """
        check_targets(t, x)
        check_target_rows("t", t)
        if x.shape[1] == 1:
            raise ValueError(
                "SoftmaxWithLoss needs scores for at least 2 classes, got 1, whose softmax is "
                "always 1. Give the network 2 outputs, or use BinaryCrossEntropy() for one score "
                "or MeanSquaredError() for regression"
            )
        share = 1 / x.shape[0]
        numbers = (share, self.epsilon) if self.epsilon else (share,)
        if t.ndim == x.ndim:
            formula = _capped if self.epsilon else _cross_entropy
            results = formula(x, t, *numbers, axis=1)
        else:
            xp = namespace(x)
            labels = xp.astype(t, xp.int64, copy=False)[:, None]
            formula = _capped_of_labels if self.epsilon else _cross_entropy_of_labels
            classes = self._classes_of(x)
            results = formula(x, labels, classes, x.shape[1], *numbers, axis=1)
        return self._keep(x, *results)

    def __repr__(self) -> str:
        return f"SoftmaxWithLoss({f'epsilon={self.epsilon:g}' if self.epsilon else ''})"

    def _classes_of(self, x: Array) -> Array:
        """Return the class indices 0 to C - 1, cached for the next batch."""
        here, known = device_of(x), self._classes
        if known is None or known[0] != here or known[1].shape[0] != x.shape[1]:
            xp = namespace(x)
            self._classes = known = here, xp.arange(x.shape[1], dtype=xp.int64, device=here)
        return known[1]


@along
def _cross_entropy(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy and its gradient with respect to the scores."""

    def loss_and_gradient(x: Array, t: Array, share: float, axis: int) -> tuple[Array, Array]:
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=axis, keepdims=True)
        t = xp.astype(t, x.dtype, copy=False)
        # where(), because a score of -inf times a target of 0 is NaN
        loss = xp.sum(xp.where(t != 0, xp.log(total) - shifted, 0.0) * t) * share
        weight = xp.sum(t, axis=axis, keepdims=True)
        return loss, e * (weight * share / total) - t * share

    return loss_and_gradient


@along
def _capped(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy of probabilities p + epsilon, and its gradient."""

    def loss_and_gradient(
        x: Array, t: Array, share: float, epsilon: float, axis: int
    ) -> tuple[Array, Array]:
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        p = e / xp.sum(e, axis=axis, keepdims=True)
        t = xp.astype(t, x.dtype, copy=False) * share
        slope = t * p / (p + epsilon)  # minus the derivative of the loss by p, times p
        return (
            -xp.sum(t * xp.log(p + epsilon)),
            p * xp.sum(slope, axis=axis, keepdims=True) - slope,
        )

    return loss_and_gradient


def _of_labels(formula: along) -> along:
    """Return the formula for integer labels, given the one for rows of targets."""

    def of_labels(xp: ModuleType) -> Callable[..., Any]:
        of_targets = formula.function(xp)

        def results(
            x: Array, labels: Array, classes: Array, end: int, *numbers: float, axis: int
        ) -> Any:
            # a label out of range matches no class and would otherwise add nothing to the loss
            t = xp.astype(labels == classes, x.dtype)
            t = xp.where((labels >= 0) & (labels < end), t, math.nan)
            return of_targets(x, t, *numbers, axis=axis)

        return results

    of_labels.__name__ = f"{formula.__name__}_of_labels"
    return along(of_labels)


_cross_entropy_of_labels = _of_labels(_cross_entropy)
_capped_of_labels = _of_labels(_capped)


class BinaryCrossEntropy(_WithGradient):
    r"""Sigmoid with binary cross-entropy loss, for a network with one score per sample.

    :math:`L = -\frac{1}{N} \sum_n (t_n \log \sigma(x_n) + (1 - t_n) \log(1 - \sigma(x_n)))`,
    computed directly from the scores so that no score overflows. Its gradient is
    :math:`(\sigma(x) - t) / N`. A score above 0 predicts class 1.
    """

    def forward(self, x: Array, t: Array) -> Array:
        """Return the mean cross entropy.

        Parameters
        ----------
        x : array, shape (N,) or (N, 1)
            Scores, before the sigmoid.
        t : array, shape (N,) or (N, 1)
            0 or 1 for each sample, or the probability of class 1.

        Raises
        ------
        ValueError
            The shapes don't match, or a target (on NumPy) is not from 0 to 1.
        """
        t = _targets_like(x, t)
        if isinstance(t, np.ndarray) and t.size and not (t.min() >= 0 and t.max() <= 1):
            raise ValueError(
                f"t must hold values from 0 to 1, got values from {t.min()} to {t.max()}"
            )
        share = 1 / x.shape[0]
        return self._keep(x, *_binary_cross_entropy(x, t, share, axis=tuple(range(x.ndim))))

    def correct(self, y: Array, t: Array) -> Array:
        """Return which samples are classified correctly; a score above 0 predicts class 1."""
        xp = namespace(y)
        t = xp.reshape(_targets_like(y, t), (-1,))
        y = xp.reshape(y, (-1,))
        return ((y > 0) == (xp.astype(t, y.dtype) > 0.5)) & ~xp.isnan(y)


def _targets_like(x: Array, t: Array) -> Array:
    """Return the targets, one per sample, in the shape of the scores."""
    if x.ndim > 2 or (x.ndim == 2 and x.shape[1] != 1):
        raise ValueError(
            f"BinaryCrossEntropy takes one score per sample, got scores of shape "
            f"{tuple(x.shape)}. Use SoftmaxWithLoss() for one score per class"
        )
    if t.shape[0] != x.shape[0] or math.prod(t.shape) != x.shape[0]:
        raise ValueError(
            f"targets for scores of shape {tuple(x.shape)} must have shape ({x.shape[0]},), got "
            f"{tuple(t.shape)}"
        )
    return t if t.ndim == x.ndim else namespace(t).reshape(t, tuple(x.shape))


@along
def _binary_cross_entropy(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy and its gradient with respect to the scores."""
    sigmoid = Sigmoid.function(xp)

    def loss_and_gradient(
        x: Array, t: Array, share: float, axis: tuple[int, ...]
    ) -> tuple[Array, Array]:
        t = xp.astype(t, x.dtype, copy=False)
        small = xp.exp(-xp.abs(x))  # at most 1, where exp(-x) would overflow for large -x
        rest = xp.log1p(small)
        if_one, if_zero = xp.maximum(-x, 0.0) + rest, xp.maximum(x, 0.0) + rest
        # where(), because an infinite loss times 0 is NaN
        losses = t * xp.where(t != 0, if_one, 0.0) + (1 - t) * xp.where(t != 1, if_zero, 0.0)
        return xp.sum(losses) * share, (sigmoid(x) - t) * share

    return loss_and_gradient


class MeanSquaredError(_WithGradient):
    """Mean squared error: the mean of (x - t)**2 over all elements."""

    def forward(self, x: Array, t: Array) -> Array:
        """Return the mean squared error.

        Parameters
        ----------
        x, t : array
            Outputs and targets, of the same shape.

        Raises
        ------
        ValueError
            The shapes differ.
        """
        if tuple(x.shape) != tuple(t.shape):
            raise ValueError(
                f"targets must have the shape of the outputs, {tuple(x.shape)}, got "
                f"{tuple(t.shape)}"
            )
        count, axes = math.prod(x.shape), tuple(range(x.ndim))
        return self._keep(x, *_squared_error(x, t, count, axis=axes))


@along
def _squared_error(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean squared error and its gradient with respect to the outputs."""

    def loss_and_gradient(
        x: Array, t: Array, count: int, axis: tuple[int, ...]
    ) -> tuple[Array, Array]:
        difference = x - xp.astype(t, x.dtype, copy=False)
        return xp.mean(difference * difference), difference * (2 / count)

    return loss_and_gradient


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
        A label is not from 0 to `classes` - 1.
    """
    if labels.ndim == 1 and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"{name} must hold labels from 0 to {classes - 1} (the network has {classes} outputs), "
            f"got labels from {labels.min()} to {labels.max()}"
        )
