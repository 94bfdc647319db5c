"""Gradient descent, with and without momentum."""

from __future__ import annotations

from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Update
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class SGD(Optimizer):
    r"""Stochastic gradient descent.

    .. math::

        W \leftarrow W - \eta \frac{\partial L}{\partial W}

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    H. Robbins and S. Monro (1951), "A stochastic approximation method".
    """

    lr: LearningRate = 0.01

    def coefficients(self, step: int) -> tuple[float, ...]:
        return (self.lr,)

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(param: Array, grad: Array, lr: float) -> Array:
            param -= lr * grad
            return param

        return update


class Momentum(Optimizer):
    r"""Gradient descent with momentum (the heavy-ball method).

    The gradient accelerates a velocity :math:`v`, and friction slows it down:

    .. math::

        v &\leftarrow \alpha v - \eta \frac{\partial L}{\partial W} \\
        W &\leftarrow W + v

    As in the tutorial and in Keras, the learning rate is part of the velocity. PyTorch multiplies
    the velocity by it instead, which is equivalent as long as the learning rate is constant.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    momentum : float, default 0.9
        The fraction :math:`\alpha` of the velocity kept from step to step,
        ``0 <= momentum < 1``.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    B. T. Polyak (1964), "Some methods of speeding up the convergence of iteration methods".
    """

    lr: LearningRate = 0.01
    momentum: Number = Number(0.9)

    slots = ("v",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, self.momentum

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, v: Array, lr: float, momentum: float
        ) -> tuple[Array, ...]:
            v *= momentum
            v -= lr * grad
            param += v
            return param, v

        return update


class Nesterov(Momentum):
    r"""Nesterov's accelerated gradient.

    Momentum whose gradient is taken at the look-ahead point:

    .. math::

        v &\leftarrow \alpha v - \eta \frac{\partial L}{\partial W} \\
        W &\leftarrow W + \alpha v - \eta \frac{\partial L}{\partial W}

    The parameter :math:`W` stored between updates is the look-ahead point itself, as in Keras,
    in PyTorch and, since 2021, in the book's code. (Older copies of the book's code apply the two
    lines in another order, which is wrong.)

    Parameters
    ----------
    lr, momentum
        As for :class:`Momentum`.

    References
    ----------
    Y. Nesterov (1983); in the form of I. Sutskever, J. Martens, G. Dahl and G. Hinton (2013), "On
    the importance of initialization and momentum in deep learning".
    """

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, v: Array, lr: float, momentum: float
        ) -> tuple[Array, ...]:
            v *= momentum
            v -= lr * grad
            param += momentum * v - lr * grad
            return param, v

        return update
