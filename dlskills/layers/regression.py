"""Losses for regression: means over all elements of a function of the error x - t."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import ClassVar

from dlskills.arrays.backend import Array
from dlskills.checks import check_number
from dlskills.formulas import along
from dlskills.formulas.formula import Function
from dlskills.layers.losses import LossWithGradient, broadcastable_weights


class RegressionLoss(LossWithGradient):
    """Base class for means over all elements of a function of the error ``x - t``.

    A subclass defines :meth:`function`, and :meth:`numbers` if that takes any.
    """

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        """Return a function of the error, the number of elements and further numbers.

        It returns the loss of each element, and its derivative divided by the number of elements.
        """
        raise NotImplementedError("a regression loss must define function(xp)")

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that the function takes after the number of elements."""
        return ()

    def forward(self, x: Array, t: Array, weights: Array | None = None) -> Array:
        """Return the mean over all elements.

        Parameters
        ----------
        x, t : array, shape (N, ...)
            Outputs and targets, of the same shape.
        weights : array, shape (N,), optional
            The weight of each sample, at least 0; see :meth:`Loss.forward`. A weight of 0 leaves
            out its sample, even if its targets are NaN.

        Raises
        ------
        ValueError
            The shapes don't match.
        """
        if tuple(x.shape) != tuple(t.shape):
            raise ValueError(
                f"targets must have the shape of the outputs, {tuple(x.shape)}, got "
                f"{tuple(t.shape)}"
            )
        count, axes = math.prod(x.shape), tuple(range(x.ndim))
        numbers = count, *self.numbers()
        if weights is None:
            return self.keep(x, *self._mean(x, t, *numbers, axis=axes))
        if count > x.shape[0]:  # a line per sample, which has one weight
            axes = axes[1:]
        weights = broadcastable_weights(weights, x)
        return self.keep(x, *self._weighted_mean(x, t, weights, *numbers, axis=axes))

    _mean: ClassVar[along]
    _weighted_mean: ClassVar[along]

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls._mean, cls._weighted_mean = along(_mean(cls.function)), along(_weighted(cls.function))
        cls._mean.__name__ = cls.__name__
        cls._weighted_mean.__name__ = f"{cls.__name__}, weighted"


def _mean(function: Function) -> Function:
    def mean(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        of_error = function(xp)

        def loss_and_gradient(
            x: Array, t: Array, *numbers: float, axis: tuple[int, ...]
        ) -> tuple[Array, Array]:
            losses, slopes = of_error(x - xp.astype(t, x.dtype, copy=False), *numbers)
            return xp.mean(losses), slopes

        return loss_and_gradient

    return mean


def _weighted(function: Function) -> Function:
    def weighted_mean(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        of_error = function(xp)

        def loss_and_gradient(
            x: Array, t: Array, weights: Array, *numbers: float, axis: tuple[int, ...]
        ) -> tuple[Array, Array]:
            losses, slopes = of_error(x - xp.astype(t, x.dtype, copy=False), *numbers)
            weights = xp.astype(weights, x.dtype, copy=False)
            # where(), because a loss that is not finite times 0 is NaN
            losses = xp.where(weights != 0, losses, 0.0) * weights
            return xp.mean(losses), xp.where(weights != 0, slopes, 0.0) * weights

        return loss_and_gradient

    return weighted_mean


class MeanSquaredError(RegressionLoss):
    """Mean squared error: the mean of (x - t)**2 over all elements."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        return lambda error, count: (error * error, error * (2 / count))


class MeanAbsoluteError(RegressionLoss):
    """Mean absolute error, or L1 loss: the mean of abs(x - t) over all elements.

    Its gradient has the same size for every error that is not 0, so that outliers count less than
    in the mean squared error. The derivative at an error of 0 is 0.
    """

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        return lambda error, count: (xp.abs(error), xp.sign(error) * (1 / count))


class HuberLoss(RegressionLoss):
    r"""Huber loss: squared for small errors, absolute for large ones.

    The mean over all elements of :math:`\frac{1}{2} e^2` where :math:`|e| \le \delta`, else
    :math:`\delta (|e| - \frac{1}{2} \delta)`, for the error :math:`e = x - t`: Huber (1964),
    "Robust estimation of a location parameter". (The mean squared error has no factor 1/2.)

    Parameters
    ----------
    delta : float, default 1.0
        The absolute error, greater than 0, up to which the loss is quadratic. No element's
        gradient exceeds it.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = check_number("delta", delta, above=0)

    def numbers(self) -> tuple[float, ...]:
        return (self.delta,)

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
        def losses_and_slopes(error: Array, count: int, delta: float) -> tuple[Array, Array]:
            size = xp.abs(error)
            near = xp.minimum(size, delta)
            return near * (size - 0.5 * near), near * xp.sign(error) * (1 / count)

        return losses_and_slopes

    def __repr__(self) -> str:
        return f"HuberLoss(delta={self.delta:g})"
