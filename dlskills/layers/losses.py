"""The base classes of losses, which reduce a network's output and its targets to one number."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, is_dtype, namespace
from dlskills.layers.base import saved, settings_of
from dlskills.layers.targets import check_class_count, check_targets


class Loss:
    """Base class for losses, which are means over samples.

    A subclass implements :meth:`forward` and :meth:`backward`. Its `forward` may leave out the
    argument `weights`.
    """

    _saved: Any = None

    def forward(self, x: Array, t: Array, weights: Array | None = None) -> Array:
        """Return the loss, a 0-d array on the device of `x`.

        Reading its value on the host waits for the device.

        Parameters
        ----------
        x : array, shape (N, ...)
            Outputs of the network.
        t : array
            Targets.
        weights : array, shape (N,), optional
            The weight of each sample, at least 0. The loss is then the mean of weight times loss
            over all N samples, not divided by the sum of the weights.
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

        Raises
        ------
        ValueError
            There is only one score per sample, or the shapes don't match.
        """
        xp = namespace(y)
        check_class_count(y.shape[1])
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
        return {key: value for key, value in vars(self).items() if key not in _NOT_PICKLED}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


_NOT_PICKLED = ("_saved", "_classes", "_weights")


class LossWithGradient(Loss):
    """Base class for losses whose forward pass also computes the gradient."""

    def keep(self, x: Array, loss: Array, gradient: Array) -> Array:
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


def weighted(xp: ModuleType, losses: Array, slopes: Array, weights: Array) -> tuple[Array, Array]:
    """Return losses and slopes times the weights of their samples, within a formula.

    A weight of 0 leaves out its sample, even if its loss is not finite.
    """
    weights = xp.astype(weights, losses.dtype, copy=False)
    # where(), because a value that is not finite times 0 is NaN
    losses, slopes = (xp.where(weights != 0, values, 0.0) * weights for values in (losses, slopes))
    return losses, slopes


def broadcastable_weights(weights: Array, x: Array) -> Array:
    """Return the samples' weights in a shape that broadcasts against the outputs.

    Raises
    ------
    TypeError
        `weights` is not an array of real numbers.
    ValueError
        The shape is not (N,), or a weight (on NumPy) is negative or NaN.
    """
    if not hasattr(weights, "shape"):
        raise TypeError(f"weights must be an array, got a {type(weights).__name__}")
    xp = namespace(weights)
    if not any(is_dtype(xp, weights.dtype, kind) for kind in ("real floating", "integral", "bool")):
        raise TypeError(f"weights must hold real numbers, got {weights.dtype}")
    if tuple(weights.shape) != (x.shape[0],):
        raise ValueError(
            f"weights must hold one number per sample, shape ({x.shape[0]},), got "
            f"{tuple(weights.shape)}"
        )
    if isinstance(weights, np.ndarray) and weights.size and not weights.min() >= 0:
        raise ValueError(f"weights must be at least 0, got {weights.min()}")
    return weights if x.ndim == 1 else xp.reshape(weights, (-1,) + (1,) * (x.ndim - 1))


def check_takes_weights(loss: Loss) -> None:
    """Raise an error unless the loss's `forward` takes the samples' weights.

    Raises
    ------
    TypeError
    """
    if not _takes_weights(getattr(loss.forward, "__func__", loss.forward)):
        raise TypeError(
            f"weights were given, but {type(loss).__name__}.forward takes only (x, t). Define it "
            "as forward(self, x, t, weights=None)"
        )


@functools.cache
def _takes_weights(forward: Callable[..., Array]) -> bool:
    parameters = inspect.signature(forward).parameters.values()
    return any(p.name == "weights" or p.kind is p.VAR_KEYWORD for p in parameters)
