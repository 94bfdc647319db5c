"""Optimizers that adapt the learning rate of each element to the squares of its gradients."""

from __future__ import annotations

import dataclasses
from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Update
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class AdaGrad(Optimizer):
    r"""AdaGrad: adaptive gradient descent.

    The larger an element's past gradients, the smaller its steps:

    .. math::

        h &\leftarrow h + \left(\frac{\partial L}{\partial W}\right)^2 \\
        W &\leftarrow W - \frac{\eta}{\sqrt h + \varepsilon} \frac{\partial L}{\partial W}

    As in the tutorial, :math:`h` starts at 0 and epsilon is added to the root. (Keras and Optax
    start :math:`h` at 0.1, ``initial_accumulator=0.1``, and add epsilon under the root.)

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    epsilon : float, default 1e-7
        :math:`\varepsilon`, at least 0; prevents division by zero.
    initial_accumulator : float, default 0.0
        The first :math:`h`, at least 0. A positive one makes the first steps smaller. (The saved
        slot ``h`` is the sum without it.)

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer (2011), "Adaptive subgradient methods for online learning and
    stochastic optimization".
    """

    lr: LearningRate = 0.01
    epsilon: Number = Number(1e-7)
    _: dataclasses.KW_ONLY
    initial_accumulator: Number = Number(0.0)

    slots = ("h",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, self.epsilon, self.initial_accumulator

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, h: Array, lr: float, epsilon: float, initial: float
        ) -> tuple[Array, ...]:
            h += grad * grad
            param -= lr * grad / (xp.sqrt(h + initial) + epsilon)
            return param, h

        return update


class AdaDelta(Optimizer):
    r"""AdaDelta: steps scaled by the size of previous steps.

    :math:`h` and :math:`d` are moving averages of the squared gradients and of the squared steps:

    .. math::

        h &\leftarrow \rho h + (1 - \rho) \left(\frac{\partial L}{\partial W}\right)^2 \\
        \Delta &= \frac{\sqrt{d + \varepsilon}}{\sqrt{h + \varepsilon}}
                  \frac{\partial L}{\partial W} \\
        d &\leftarrow \rho d + (1 - \rho) \Delta^2 \\
        W &\leftarrow W - \eta \Delta

    Parameters
    ----------
    lr : float or schedule, default 1.0
        The factor :math:`\eta` of the step; the paper has none.
    rho : float, default 0.95
        The decay rate :math:`\rho` of both averages, ``0 <= rho < 1``.
    epsilon : float, default 1e-6
        :math:`\varepsilon`, at least 0, under both roots; it determines the size of the first
        steps.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    M. D. Zeiler (2012), "ADADELTA: an adaptive learning rate method", algorithm 1.
    """

    lr: LearningRate = 1.0
    rho: Number = Number(0.95)
    epsilon: Number = Number(1e-6)

    slots = ("h", "d")

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, 1 - self.rho, self.epsilon

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, h: Array, d: Array, lr: float, rate: float, epsilon: float
        ) -> tuple[Array, ...]:
            h *= 1 - rate
            h += rate * (grad * grad)
            delta = xp.sqrt((d + epsilon) / (h + epsilon)) * grad
            d *= 1 - rate
            d += rate * (delta * delta)
            param -= lr * delta
            return param, h, d

        return update
