"""RMSprop, and its variants: centered, and with momentum."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType
from typing import Any, ClassVar

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Function, Update
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class RMSprop(Optimizer):
    r"""RMSprop: AdaGrad with a moving average.

    Old gradients are forgotten exponentially, so steps do not shrink to 0 as they do in
    :class:`AdaGrad`:

    .. math::

        h &\leftarrow \rho h + (1 - \rho) \left(\frac{\partial L}{\partial W}\right)^2 \\
        W &\leftarrow W - \frac{\eta}{\sqrt h + \varepsilon} \frac{\partial L}{\partial W}

    Epsilon is added to the root, as in the book and in PyTorch.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    decay_rate : float, default 0.99
        The decay rate :math:`\rho` of the average, ``0 <= decay_rate < 1``.
    epsilon : float, default 1e-7
        :math:`\varepsilon`, at least 0; prevents division by zero.
    centered : bool, default False
        Whether the mean of the gradients :math:`\bar g` is subtracted, so that the root is an
        estimate of their standard deviation: :math:`\sqrt{h - \bar g^2}` replaces
        :math:`\sqrt h`. Takes one more slot, ``mean``.
    momentum : float, default 0.0
        The fraction of the last step that is added to the next, ``0 <= momentum < 1``. As in
        :class:`Momentum` and Keras, the learning rate is part of the velocity. (PyTorch multiplies
        the velocity by it, which is equivalent as long as it is constant.) Unless it is 0, it
        takes one more slot, ``v``.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    T. Tieleman and G. Hinton (2012), "Neural networks for machine learning", lecture 6.5; centered
    and with momentum: A. Graves (2013), "Generating sequences with recurrent neural networks",
    equations 38 to 41.
    """

    lr: LearningRate = 0.01
    decay_rate: Number = Number(0.99)
    epsilon: Number = Number(1e-7)
    _: dataclasses.KW_ONLY
    centered: bool = False
    momentum: Number = Number(0.0)

    slots: ClassVar[tuple[str, ...]] = ("h",)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("centered", "momentum"):
            chosen = ("h", "mean") if self.centered else ("h",)
            if self._given("momentum") != 0:
                chosen = (*chosen, "v")
            if chosen != self.slots:
                vars(self).update(slots=chosen, _plan=None)

    def coefficients(self, step: int) -> tuple[float, ...]:
        given = self.lr, 1 - self.decay_rate, self.epsilon
        return (*given, self.momentum) if "v" in self.slots else given

    def _formula(self) -> Function:
        if "v" in self.slots:
            return _centered_with_momentum if self.centered else _with_momentum
        return _centered if self.centered else type(self).rule

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, h: Array, lr: float, rate: float, epsilon: float
        ) -> tuple[Array, ...]:
            h *= 1 - rate
            h += rate * (grad * grad)
            param -= lr * grad / (xp.sqrt(h) + epsilon)
            return param, h

        return update


def _variance(xp: ModuleType, h: Array, mean: Array) -> Array:
    """Return h - mean**2, which rounding may make negative; infinite where h is."""
    # where(), because both are infinite after a gradient whose square overflows
    return xp.where(h < math.inf, xp.maximum(h - mean * mean, 0.0), h)


def _with_momentum(xp: ModuleType) -> Update:
    def update(
        param: Array, grad: Array, h: Array, v: Array,
        lr: float, rate: float, epsilon: float, momentum: float,
    ) -> tuple[Array, ...]:  # fmt: skip
        h *= 1 - rate
        h += rate * (grad * grad)
        v *= momentum
        v -= lr * grad / (xp.sqrt(h) + epsilon)
        param += v
        return param, h, v

    return update


def _centered(xp: ModuleType) -> Update:
    def update(
        param: Array, grad: Array, h: Array, mean: Array, lr: float, rate: float, epsilon: float
    ) -> tuple[Array, ...]:
        h *= 1 - rate
        h += rate * (grad * grad)
        mean *= 1 - rate
        mean += rate * grad
        variance = _variance(xp, h, mean)
        param -= lr * grad / (xp.sqrt(variance) + epsilon)
        return param, h, mean

    return update


def _centered_with_momentum(xp: ModuleType) -> Update:
    def update(
        param: Array, grad: Array, h: Array, mean: Array, v: Array,
        lr: float, rate: float, epsilon: float, momentum: float,
    ) -> tuple[Array, ...]:  # fmt: skip
        h *= 1 - rate
        h += rate * (grad * grad)
        mean *= 1 - rate
        mean += rate * grad
        variance = _variance(xp, h, mean)
        v *= momentum
        v -= lr * grad / (xp.sqrt(variance) + epsilon)
        param += v
        return param, h, mean, v

    return update
