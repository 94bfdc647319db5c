"""Sigmoid with binary cross-entropy loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array, namespace
from dlskills.formulas import along
from dlskills.layers.activations import Sigmoid
from dlskills.layers.losses import LossWithGradient, broadcastable_weights, weighted
from dlskills.layers.targets import check_probabilities


class BinaryCrossEntropy(LossWithGradient):
    r"""Sigmoid with binary cross-entropy loss, for a network with one score per sample.

    :math:`L = -\frac{1}{N} \sum_n (t_n \log \sigma(x_n) + (1 - t_n) \log(1 - \sigma(x_n)))`,
    computed directly from the scores so that no score overflows. Its gradient is
    :math:`(\sigma(x) - t) / N`. A score above 0 predicts class 1.
    """

    def forward(self, x: Array, t: Array, weights: Array | None = None) -> Array:
        """Return the mean cross entropy.

        Parameters
        ----------
        x : array, shape (N,) or (N, 1)
            Scores, before the sigmoid.
        t : array, shape (N,) or (N, 1)
            0 or 1 for each sample, or the probability of class 1.
        weights : array, shape (N,), optional
            The weight of each sample, at least 0; see :meth:`Loss.forward`.

        Raises
        ------
        ValueError
            The shapes don't match, or a target (on NumPy) is not from 0 to 1.
        """
        t = _targets_like(x, t)
        check_probabilities("t", t)
        share, axes = 1 / x.shape[0], tuple(range(x.ndim))
        if weights is None:
            return self.keep(x, *_binary_cross_entropy(x, t, share, axis=axes))
        weights = broadcastable_weights(weights, x)
        return self.keep(x, *_weighted_binary_cross_entropy(x, t, weights, share, axis=axes))

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


def _losses_and_slopes(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The cross entropy of each sample and its derivative by the score."""
    sigmoid = Sigmoid.function(xp)

    def losses_and_slopes(x: Array, t: Array) -> tuple[Array, Array]:
        t = xp.astype(t, x.dtype, copy=False)
        small = xp.exp(-xp.abs(x))  # at most 1, where exp(-x) would overflow for large -x
        rest = xp.log1p(small)
        if_one, if_zero = xp.maximum(-x, 0.0) + rest, xp.maximum(x, 0.0) + rest
        # where(), because an infinite loss times 0 is NaN
        losses = t * xp.where(t != 0, if_one, 0.0) + (1 - t) * xp.where(t != 1, if_zero, 0.0)
        return losses, sigmoid(x) - t

    return losses_and_slopes


@along
def _binary_cross_entropy(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean cross entropy and its gradient with respect to the scores."""
    of_samples = _losses_and_slopes(xp)

    def loss_and_gradient(
        x: Array, t: Array, share: float, axis: tuple[int, ...]
    ) -> tuple[Array, Array]:
        losses, slopes = of_samples(x, t)
        return xp.sum(losses) * share, slopes * share

    return loss_and_gradient


@along
def _weighted_binary_cross_entropy(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The mean of weight times cross entropy, and its gradient with respect to the scores."""
    of_samples = _losses_and_slopes(xp)

    def loss_and_gradient(
        x: Array, t: Array, weights: Array, share: float, axis: tuple[int, ...]
    ) -> tuple[Array, Array]:
        losses, slopes = weighted(xp, *of_samples(x, t), weights)
        return xp.sum(losses) * share, slopes * share

    return loss_and_gradient
