"""Adamax, RAdam, Yogi and Adan: relatives of Adam."""

from __future__ import annotations

import math
from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.formulas.formula import Update
from dlskills.optimizers.adam import Adam
from dlskills.optimizers.hyperparameters import Number
from dlskills.optimizers.optimizer import Optimizer
from dlskills.optimizers.schedules import LearningRate


class Adamax(Optimizer):
    r"""Adamax: Adam with the infinity norm.

    A decaying maximum of the gradients' sizes replaces the root of the mean of their squares, and
    needs no bias correction. Update number :math:`t`, counted from 1, with the gradient :math:`g`:

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        u &\leftarrow \max(\beta_2 u, |g| + \varepsilon) \\
        W &\leftarrow W - \frac{\eta}{1 - \beta_1^t} \frac{m}{u}

    Parameters
    ----------
    lr : float or schedule, default 0.002
        The learning rate :math:`\eta`.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay rates :math:`\beta_1, \beta_2` of the mean and of the maximum, each in [0, 1).
    epsilon : float, default 1e-8
        :math:`\varepsilon`, at least 0; prevents division by zero. As in PyTorch; the paper has
        none.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    D. P. Kingma and J. Ba (2015), "Adam: a method for stochastic optimization", algorithm 2.
    """

    lr: LearningRate = 0.002
    beta1: Number = Number(0.9)
    beta2: Number = Number(0.999)
    epsilon: Number = Number(1e-8)

    slots = ("m", "u")

    def coefficients(self, step: int) -> tuple[float, ...]:
        lr = self.lr / (1 - self.beta1**step)
        return lr, 1 - self.beta1, self.beta2, self.epsilon

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, u: Array,
            lr: float, rate1: float, beta2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            u = xp.maximum(beta2 * u, xp.abs(grad) + epsilon)
            param -= lr * m / u
            return param, m, u

        return update


class RAdam(Optimizer):
    r"""RAdam: Adam that is rectified in its first updates.

    The first :math:`v` are means of few squares and vary widely. So Adam's step is multiplied by
    :math:`r_t`, which makes up for their variance and grows to 1; in the very first updates,
    where the variance is infinite, the step is the bias-corrected mean of the gradients alone:

    .. math::

        \rho_\infty &= 2 / (1 - \beta_2) - 1,
        \qquad \rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t) \\
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}
                        {(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}} \\
        W &\leftarrow W - \frac{\eta\, m}{1 - \beta_1^t} \cdot
        \begin{cases} r_t \sqrt{1 - \beta_2^t} / (\sqrt v + \varepsilon) & \rho_t > 5 \\
        1 & \text{otherwise} \end{cases}

    With the default :math:`\beta_2`, the rectification begins at the 6th update.

    Parameters
    ----------
    lr : float or schedule, default 0.001
        The learning rate :math:`\eta`.
    beta1, beta2 : float, default 0.9 and 0.999
        As for :class:`Adam`.
    epsilon : float, default 1e-8
        :math:`\varepsilon`, at least 0; added to the root, as in PyTorch.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    L. Liu, H. Jiang, P. He, W. Chen, X. Liu, J. Gao and J. Han (2020), "On the variance of the
    adaptive learning rate and beyond", algorithm 2. The limit 5 is that of the authors' code and of
    PyTorch; the paper has 4.
    """

    lr: LearningRate = 0.001
    beta1: Number = Number(0.9)
    beta2: Number = Number(0.999)
    epsilon: Number = Number(1e-8)

    slots = ("m", "v")

    def coefficients(self, step: int) -> tuple[float, ...]:
        lr = self.lr / (1 - self.beta1**step)
        correction = 1 - self.beta2**step
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * step * self.beta2**step / correction
        plain, adaptive = lr, 0.0
        if length > 5:
            rectified = (length - 4) * (length - 2) * longest
            rectified /= (longest - 4) * (longest - 2) * length
            plain, adaptive = 0.0, lr * math.sqrt(rectified * correction)
        return plain, adaptive, 1 - self.beta1, 1 - self.beta2, self.epsilon

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, v: Array,
            plain: float, adaptive: float, rate1: float, rate2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            v *= 1 - rate2
            v += rate2 * (grad * grad)
            param -= m * (plain + adaptive / (xp.sqrt(v) + epsilon))
            return param, m, v

        return update


class Yogi(Adam):
    r"""Yogi: Adam whose mean of squares grows no faster than it can.

    :math:`v` moves towards :math:`g^2` by a step of the size of :math:`g^2`, whatever its distance:

    .. math::

        v \leftarrow v - (1 - \beta_2)\, \mathrm{sign}(v - g^2)\, g^2

    All else is as in :class:`Adam`. So :math:`v` forgets large gradients slowly, and the effective
    learning rate does not rise quickly where gradients are rare.

    Parameters
    ----------
    lr : float or schedule, default 0.01
        The learning rate :math:`\eta`.
    beta1, beta2
        As for :class:`Adam`.
    epsilon, epsilon_mode : default 1e-3 and "paper"
        As for :class:`Adam`; these defaults are those of the paper and of Optax.
    bias_correction : bool, default True
        As for :class:`Adam`. The paper omits it for simplicity, Optax has it.

    References
    ----------
    M. Zaheer, S. Reddi, D. Sachan, S. Kale and S. Kumar (2018), "Adaptive methods for nonconvex
    optimization", algorithm 2. As in it, :math:`v` starts at 0; Optax's starts at 1e-6.
    """

    lr: LearningRate = 0.01
    epsilon: Number = Number(1e-3)
    epsilon_mode: str = "paper"

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, v: Array,
            lr: float, rate1: float, rate2: float, epsilon: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            m *= 1 - rate1
            m += rate1 * grad
            squares = grad * grad
            # by comparisons, since the difference of two infinite numbers is NaN
            step = rate2 * squares
            v = xp.where(v > squares, v - step, xp.where(v < squares, v + step, v))
            param -= lr * m / (xp.sqrt(v) + epsilon)
            return param, m, v

        return update


class Adan(Optimizer):
    r"""Adan: adaptive Nesterov momentum.

    The change of the gradient, :math:`g_t - g_{t-1}`, predicts the gradient at the look-ahead
    point. Means of the gradient, of its change, and of the square of their sum give the step:

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g_t \\
        d &\leftarrow \beta_2 d + (1 - \beta_2) (g_t - g_{t-1}) \\
        n &\leftarrow \beta_3 n + (1 - \beta_3) (g_t + \beta_2 (g_t - g_{t-1}))^2 \\
        W &\leftarrow W - \eta\, \frac{m / (1 - \beta_1^t) + \beta_2 d / (1 - \beta_2^t)}
        {\sqrt{n / (1 - \beta_3^t)} + \varepsilon}

    In the first update, the change is 0. The decay rates are 1 minus those of the paper, as in the
    authors' code, from which the bias correction is, too.

    Parameters
    ----------
    lr : float or schedule, default 0.001
        The learning rate :math:`\eta`.
    beta1, beta2, beta3 : float, default 0.98, 0.92 and 0.99
        Decay rates of the three means, each in [0, 1).
    epsilon : float, default 1e-8
        :math:`\varepsilon`, at least 0; prevents division by zero.

    See Also
    --------
    Optimizer : The keyword arguments that every optimizer takes.

    References
    ----------
    X. Xie, P. Zhou, H. Li, Z. Lin and S. Yan (2022), "Adan: adaptive Nesterov momentum algorithm
    for faster optimizing deep models", algorithm 1.
    """

    lr: LearningRate = 0.001
    beta1: Number = Number(0.98)
    beta2: Number = Number(0.92)
    beta3: Number = Number(0.99)
    epsilon: Number = Number(1e-8)

    slots = ("m", "d", "n", "previous")

    def coefficients(self, step: int) -> tuple[float, ...]:
        root = math.sqrt(1 - self.beta3**step)
        return (
            self.lr * root / (1 - self.beta1**step),
            self.lr * root * self.beta2 / (1 - self.beta2**step),
            1 - self.beta1,
            1 - self.beta2,
            1 - self.beta3,
            self.epsilon * root,
            0.0 if step == 1 else 1.0,
        )

    @staticmethod
    def rule(xp: ModuleType) -> Update:
        def update(
            param: Array, grad: Array, m: Array, d: Array, n: Array, previous: Array,
            lr_m: float, lr_d: float, rate1: float, rate2: float, rate3: float, epsilon: float,
            is_later: float,
        ) -> tuple[Array, ...]:  # fmt: skip
            change = is_later * (grad - previous)
            ahead = grad + (1 - rate2) * change
            m *= 1 - rate1
            m += rate1 * grad
            d *= 1 - rate2
            d += rate2 * change
            n *= 1 - rate3
            n += rate3 * (ahead * ahead)
            param -= (lr_m * m + lr_d * d) / (xp.sqrt(n) + epsilon)
            previous = 1.0 * grad
            return param, m, d, n, previous

        return update
