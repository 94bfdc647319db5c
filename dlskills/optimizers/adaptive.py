"""Updates with a learning rate for each element, from the squares of its gradients."""

from __future__ import annotations

from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Update
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class AdaGrad(Optimizer):
    r"""AdaGrad: the more an element has been moved, the smaller its steps.

    :math:`h \leftarrow h + (\partial L/\partial W)^2`,
    :math:`W \leftarrow W - \eta\, (\partial L/\partial W) / (\sqrt h + \varepsilon)`: Duchi,
    Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization". `h` starts at 0, and epsilon is added to the root, as on the page; Keras and
    Optax start at 0.1 and add it under the root.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    epsilon : float, default 1e-7
        Keeps the division finite.
    """

    lr: LearningRate = 0.01
    epsilon: float = 1e-7

    slots = ("h",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, self.epsilon

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, h: Array, lr: float, epsilon: float
        ) -> tuple[Array, ...]:
            h += grad * grad
            param -= lr * grad / (xp.sqrt(h) + epsilon)
            return param, h

        return update


class RMSprop(Optimizer):
    r"""RMSprop: AdaGrad that forgets.

    :math:`h \leftarrow \rho h + (1 - \rho) (\partial L/\partial W)^2`,
    :math:`W \leftarrow W - \eta\, (\partial L/\partial W) / (\sqrt h + \varepsilon)`: Tieleman &
    Hinton (2012), "Neural networks for machine learning", lecture 6.5. Epsilon is added to the
    root, as in the book and in PyTorch.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    decay_rate : float, default 0.99
        The share :math:`\rho` of the average that is left after a step, ``0 <= decay_rate < 1``.
    epsilon : float, default 1e-7
        Keeps the division finite.
    """

    lr: LearningRate = 0.01
    decay_rate: float = 0.99
    epsilon: float = 1e-7

    slots = ("h",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, 1 - self.decay_rate, self.epsilon

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


class AdaDelta(Optimizer):
    r"""AdaDelta: steps in the units of the parameter, from the steps before.

    :math:`\Delta = \sqrt{d + \varepsilon} / \sqrt{h + \varepsilon} \cdot \partial L/\partial W`,
    with running averages `h` of the squared gradients and `d` of the squared steps: Zeiler
    (2012), "ADADELTA: an adaptive learning rate method", algorithm 1.

    Parameters
    ----------
    lr : float or schedule, default 1.0
        A factor for the step; the paper has none.
    rho : float, default 0.95
        The share of the averages that is left after a step, ``0 <= rho < 1``.
    epsilon : float, default 1e-6
        Under both roots; it sets the size of the first steps.
    """

    lr: LearningRate = 1.0
    rho: float = 0.95
    epsilon: float = 1e-6

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
