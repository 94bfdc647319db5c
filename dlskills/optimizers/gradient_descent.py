"""Updates along the gradient, and along a velocity that the gradient accelerates."""

from __future__ import annotations

from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Update
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class SGD(Optimizer):
    r"""Stochastic gradient descent.

    :math:`W \leftarrow W - \eta\, \partial L/\partial W`: Robbins & Monro (1951), "A stochastic
    approximation method".

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
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
    r"""Momentum: a ball that rolls, and that friction slows.

    :math:`v \leftarrow \alpha v - \eta\, \partial L/\partial W`, :math:`W \leftarrow W + v`:
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods". The
    learning rate is inside the velocity, as on the page and in Keras; PyTorch multiplies by it
    afterwards, which is the same while the rate stays the same.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    momentum : float, default 0.9
        The share :math:`\alpha` of the velocity that is left after a step, ``0 <= momentum < 1``.
    """

    lr: LearningRate = 0.01
    momentum: float = 0.9

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
    r"""Nesterov's accelerated gradient: Momentum that looks ahead.

    :math:`v \leftarrow \alpha v - \eta\, \partial L/\partial W`,
    :math:`W \leftarrow W + \alpha v - \eta\, \partial L/\partial W`: Nesterov (1983), in the form
    of Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum
    in deep learning", with `W` standing for the point looked ahead to, as in Keras and PyTorch
    (and in the book's code since 2021; older copies have another order, which is wrong).

    Parameters
    ----------
    lr, momentum
        As for :class:`Momentum`.
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
