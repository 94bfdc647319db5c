"""Adam and its successors."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

from dlskills.arrays.backend import Array
from dlskills.checks import check_choice
from dlskills.formulas.formula import Update
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate, Schedule, value_at


class Adam(Optimizer):
    r"""Adam: adaptive moment estimation.

    Each element's step is the running mean of its gradients, divided by the root of the running
    mean of their squares. Update number :math:`t`, counted from 1, with the gradient :math:`g`:

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \eta_t &= \eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t) \\
        W &\leftarrow W - \eta_t\, m / (\sqrt v + \varepsilon)

    Both means, :math:`m` and :math:`v`, start at 0 and so are biased towards 0 in the first
    updates; the factors of :math:`\eta_t` correct this bias.

    Parameters
    ----------
    lr : float or schedule, default 0.001
        The learning rate :math:`\eta`, roughly the size of each element's step.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay rates :math:`\beta_1, \beta_2` of the two means, each in [0, 1).
    epsilon : float, default 1e-7
        :math:`\varepsilon`, at least 0; prevents division by zero.
    epsilon_mode : {"tutorial", "paper"}, default "tutorial"
        Where epsilon is added. ``"tutorial"``: to :math:`\sqrt v`, as above; also the end of
        section 2 of the paper, the book, Keras and Chainer. ``"paper"``: to the bias-corrected
        root :math:`\sqrt{v / (1 - \beta_2^t)}`, as in algorithm 1 of the paper, PyTorch and Optax.
        In the first updates the tutorial's epsilon has up to 32 times the effect. (The former
        name ``"page"`` of the tutorial's mode still works, with a DeprecationWarning.)

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    Notes
    -----
    The tutorial describes Adam as a combination of Momentum and AdaGrad that corrects the bias of
    its hyperparameters. It is the two means that are biased, and :math:`v` forgets old gradients,
    as in RMSprop; AdaGrad's sum does not.

    References
    ----------
    D. P. Kingma and J. Ba (2015), "Adam: a method for stochastic optimization".
    """

    lr: LearningRate = 0.001
    beta1: Number = Number(0.9)
    beta2: Number = Number(0.999)
    epsilon: Number = Number(1e-7)
    epsilon_mode: str = "tutorial"
    _: dataclasses.KW_ONLY
    bias_correction: bool = True

    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "epsilon_mode":
            if value == "page":
                warnings.warn(
                    "epsilon_mode='page' is now called 'tutorial'; the old name will be removed in "
                    "the next release",
                    DeprecationWarning,
                    stacklevel=5,  # the call of the constructor
                )
                value = "tutorial"
            value = check_choice("epsilon_mode", value, ("tutorial", "paper"))
        super().__setattr__(name, value)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        given = state.get("hyperparameters", {})
        if given.get("epsilon_mode") == "page":  # saved before the mode was renamed
            state = {**state, "hyperparameters": {**given, "epsilon_mode": "tutorial"}}
        super().load_state_dict(state)

    def coefficients(self, step: int) -> tuple[float, ...]:
        corrected = self._root_of_correction(step)
        lr = self.lr * corrected / (1 - self.beta1**step if self.bias_correction else 1.0)
        return lr, 1 - self.beta1, 1 - self.beta2, self._scaled_epsilon(corrected)

    def _root_of_correction(self, step: int) -> float:
        """Return what the root of the uncorrected mean of squares is divided by."""
        return math.sqrt(1 - self.beta2**step) if self.bias_correction else 1.0

    def _scaled_epsilon(self, corrected: float) -> float:
        """Return what is added to the root of the uncorrected mean of squares."""
        return self.epsilon * (corrected if self.epsilon_mode == "paper" else 1.0)

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, v: Array,
            lr: float, rate1: float, rate2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            v *= 1 - rate2
            v += rate2 * (grad * grad)
            param -= lr * m / (xp.sqrt(v) + epsilon)
            return param, m, v

        return update


class AdamW(Adam):
    r"""AdamW: Adam with decoupled weight decay.

    Before Adam's step, the parameter shrinks by a fixed fraction:
    :math:`W \leftarrow W - \eta \lambda W`. The decay bypasses the division by
    :math:`\sqrt v`; an L2 penalty in the loss (`weight_decay_lambda` of a network) does not. As in
    PyTorch, the decay is multiplied by the learning rate (the paper multiplies it by the schedule
    only) and applies to every parameter, biases included, unless `decay` selects some.

    Parameters
    ----------
    lr, beta1, beta2
        As for :class:`Adam`.
    epsilon, epsilon_mode : default 1e-8 and "paper"
        As for :class:`Adam`; these defaults are those of the paper and of PyTorch.
    weight_decay : float, default 0.01
        :math:`\lambda`, at least 0.

    References
    ----------
    I. Loshchilov and F. Hutter (2019), "Decoupled weight decay regularization", algorithm 2.
    """

    epsilon: Number = Number(1e-8)
    epsilon_mode: str = "paper"
    _: dataclasses.KW_ONLY
    weight_decay: Number = Number(0.01)


class AMSGrad(Adam):
    r"""AMSGrad: Adam that divides by the root of the largest :math:`v` so far.

    :math:`v_{\max} \leftarrow \max(v_{\max}, v)` replaces :math:`v` in the step of :class:`Adam`,
    so the denominator never shrinks. Adam's bias correction is kept, as in PyTorch.

    Parameters
    ----------
    lr, beta1, beta2
        As for :class:`Adam`.
    epsilon, epsilon_mode : default 1e-8 and "paper"
        As for :class:`Adam`; these defaults are those of PyTorch.

    References
    ----------
    S. J. Reddi, S. Kale and S. Kumar (2018), "On the convergence of Adam and beyond",
    algorithm 2.
    """

    epsilon: Number = Number(1e-8)
    epsilon_mode: str = "paper"

    slots = ("m", "v", "v_max")

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, v: Array, v_max: Array,
            lr: float, rate1: float, rate2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            v *= 1 - rate2
            v += rate2 * (grad * grad)
            v_max = xp.maximum(v_max, v)
            param -= lr * m / (xp.sqrt(v_max) + epsilon)
            return param, m, v, v_max

        return update


class NAdam(Adam):
    r"""NAdam: Adam with Nesterov momentum.

    In Adam's step, the bias-corrected mean :math:`m / (1 - \beta_1^t)` is replaced by

    .. math::

        \frac{\mu_{t+1} m}{1 - \pi_{t+1}} + \frac{(1 - \mu_t) g}{1 - \pi_t},
        \qquad \mu_t = \beta_1 (1 - 0.96^{t \psi} / 2),
        \quad \pi_t = \mu_1 \cdots \mu_t

    as in PyTorch. Keras uses the same formula with :math:`\psi = 1`:
    ``NAdam(momentum_decay=1.0)``.

    Parameters
    ----------
    lr : float or schedule, default 0.002
        The learning rate :math:`\eta`.
    beta1, beta2
        As for :class:`Adam`.
    epsilon, epsilon_mode : default 1e-8 and "paper"
        As for :class:`Adam`; these defaults are those of the paper and of PyTorch.
    momentum_decay : float, default 0.004
        :math:`\psi`, at least 0.

    References
    ----------
    T. Dozat (2016), "Incorporating Nesterov momentum into Adam", algorithm 2.
    """

    lr: LearningRate = 0.002
    epsilon: Number = Number(1e-8)
    epsilon_mode: str = "paper"
    momentum_decay: Number = Number(0.004)

    # Cached as (beta1, momentum_decay), step, mu_1 * ... * mu_step
    _product: ClassVar[tuple[tuple[Any, float], int, float]] = ((0.0, 0.0), 0, 1.0)

    def coefficients(self, step: int) -> tuple[float, ...]:
        corrected = self._root_of_correction(step)
        mu, next_mu = self._mu(step), self._mu(step + 1)
        product = self._product_of_mu(step) if self.bias_correction else 0.0
        return (
            self.lr * corrected * (1 - mu) / (1 - product),
            self.lr * corrected * next_mu / (1 - product * next_mu),
            1 - self.beta1,
            1 - self.beta2,
            self._scaled_epsilon(corrected),
        )

    def _mu(self, step: int) -> float:
        beta1: float | Schedule = self._given("beta1")
        if callable(beta1):
            beta1 = value_at(beta1, step - 1, "beta1")
        return beta1 * (1 - 0.5 * math.pow(0.96, step * self.momentum_decay))

    def _product_of_mu(self, step: int) -> float:
        settings = self._given("beta1"), self.momentum_decay
        known, done, product = self._product
        if known != settings or done > step:
            done, product = 0, 1.0
        for i in range(done + 1, step + 1):
            product *= self._mu(i)
        vars(self)["_product"] = settings, step, product
        return product

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, v: Array,
            lr_grad: float, lr_m: float, rate1: float, rate2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            v *= 1 - rate2
            v += rate2 * (grad * grad)
            param -= (lr_grad * grad + lr_m * m) / (xp.sqrt(v) + epsilon)
            return param, m, v

        return update


class Lion(Optimizer):
    r"""Lion: evolved sign momentum.

    Only the sign of the interpolated momentum is used, so every element moves by the learning
    rate:

    .. math::

        W &\leftarrow W - \eta\,(\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda W) \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g

    Parameters
    ----------
    lr : float or schedule, default 1e-4
        The learning rate :math:`\eta`; typically 3 to 10 times smaller than Adam's.
    beta1, beta2 : float, default 0.9 and 0.99
        Decay rates of the momentum in the step and in the state, each in [0, 1).
    weight_decay : float, default 0.0
        :math:`\lambda`, as for every :class:`Optimizer`.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    X. Chen et al. (2023), "Symbolic discovery of optimization algorithms", program 1.
    """

    lr: LearningRate = 1e-4
    beta1: Number = Number(0.9)
    beta2: Number = Number(0.99)

    slots = ("m",)

    def coefficients(self, step: int) -> tuple[float, ...]:
        return self.lr, 1 - self.beta1, 1 - self.beta2

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, lr: float, rate1: float, rate2: float
        ) -> tuple[Array, ...]:
            param -= lr * xp.sign(m + rate1 * (grad - m))
            m += rate2 * (grad - m)
            return param, m

        return update
