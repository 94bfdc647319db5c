"""Rectifiers: ReLU and activation functions that approach it for large inputs."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.checks import check_number
from dlskills.layers.activation import Activation
from dlskills.layers.sigmoids import Sigmoid

# Formulas multiply by a cast comparison, since NumPy's where() takes seven times as long.


class ReLU(Activation):
    """The rectified linear unit, max(x, 0), with derivative 0 at x = 0."""

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: xp.maximum(x, 0.0)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        # NaN where `dout` is not finite, also at inactive units, so faults upstream stay visible
        return lambda dout, y: dout * xp.astype(y > 0, dout.dtype)


class LeakyReLU(Activation):
    """The leaky rectified linear unit: x where x > 0, else `slope` times x.

    Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models".

    Parameters
    ----------
    slope : float, default 0.01
    """

    keeps = "input"

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = check_number("slope", slope)

    def numbers(self) -> tuple[float, ...]:
        return (self.slope,)

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x, slope: x * (xp.astype(x > 0, x.dtype) * (1 - slope) + slope)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        return lambda dout, x, slope: dout * (xp.astype(x > 0, x.dtype) * (1 - slope) + slope)

    def __repr__(self) -> str:
        return f"LeakyReLU(slope={self.slope:g})"


class ELU(Activation):
    r"""The exponential linear unit: x where x > 0, else :math:`\alpha (e^x - 1)`.

    Clevert, Unterthiner & Hochreiter (2016), "Fast and accurate deep network learning by
    exponential linear units (ELUs)".

    Parameters
    ----------
    alpha : float, default 1.0
        At least 0. Outputs are greater than -alpha.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_number("alpha", alpha, at_least=0)

    def numbers(self) -> tuple[float, ...]:
        return (self.alpha,)

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        # expm1, because exp(x) - 1 loses digits near 0
        return lambda x, alpha: xp.maximum(x, 0.0) + alpha * xp.expm1(xp.minimum(x, 0.0))

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        def dx(dout: Array, y: Array, alpha: float) -> Array:
            # alpha * exp(x) is y + alpha
            active = xp.astype(y > 0, y.dtype)
            return dout * (active + (1 - active) * (xp.minimum(y, 0.0) + alpha))

        return dx

    def __repr__(self) -> str:
        return f"ELU(alpha={self.alpha:g})"


# the fixed point of mean 0 and variance 1: Klambauer et al. (2017), equation 14
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


class SELU(Activation):
    r"""The scaled exponential linear unit: :class:`ELU` with fixed alpha, times a fixed scale.

    With :math:`\alpha = 1.6733` and scale 1.0507, outputs of layers with LeCun's initial values
    (``weight_init_std="selu"``) tend to mean 0 and variance 1: Klambauer, Unterthiner, Mayr &
    Hochreiter (2017), "Self-normalizing neural networks".
    """

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        elu = ELU.function(xp)
        return lambda x: _SELU_SCALE * elu(x, _SELU_ALPHA)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        def dx(dout: Array, y: Array) -> Array:
            active = xp.astype(y > 0, y.dtype)
            slope = xp.minimum(y, 0.0) + _SELU_SCALE * _SELU_ALPHA
            return dout * (active * _SELU_SCALE + (1 - active) * slope)

        return dx


class Softplus(Activation):
    """The smooth rectifier log(1 + exp(x)), computed without overflow for any x.

    Dugas, Bengio, Belisle, Nadeau & Garcia (2001), "Incorporating second-order functional
    knowledge for better option pricing". Its derivative is the logistic function.
    """

    keeps = "input"

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        return lambda x: xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        sigmoid = Sigmoid.function(xp)
        return lambda dout, x: dout * sigmoid(x)
