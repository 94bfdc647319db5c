"""Activation functions that multiply the input by a gate between 0 and 1: Swish and GELU."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array
from dlskills.checks import check_number
from dlskills.layers.activation import Activation, Formulas, formulas_of
from dlskills.layers.sigmoids import Sigmoid


class Swish(Activation):
    r"""The input times its logistic function, :math:`x\, \sigma(\beta x)`.

    Ramachandran, Zoph & Le (2017), "Searching for activation functions". With beta = 1 it is the
    SiLU of Hendrycks & Gimpel (2016), "Gaussian error linear units", and of Elfwing, Uchibe & Doya
    (2018); ``SiLU`` is another name of this class.

    Parameters
    ----------
    beta : float, default 1.0
        A constant, which is not trained.
    """

    keeps = "input"

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_number("beta", beta)

    def numbers(self) -> tuple[float, ...]:
        return (self.beta,)

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        sigmoid = Sigmoid.function(xp)
        return lambda x, beta: x * sigmoid(beta * x)

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        sigmoid = Sigmoid.function(xp)

        def dx(dout: Array, x: Array, beta: float) -> Array:
            gate = sigmoid(beta * x)
            return dout * (gate + beta * x * gate * (1 - gate))

        return dx

    def __repr__(self) -> str:
        return "Swish()" if self.beta == 1 else f"Swish(beta={self.beta:g})"


SiLU = Swish


class GELU(Activation):
    r"""The Gaussian error linear unit, :math:`x\, \Phi(x)`.

    :math:`\Phi` is the standard normal distribution function: Hendrycks & Gimpel (2016), "Gaussian
    error linear units", section 2.

    Parameters
    ----------
    approximate : bool, default False
        If True, compute the paper's approximation
        :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\, x^3)))`, which differs by less
        than 5e-4 and is faster.

    Notes
    -----
    The Array API standard has no erf, so :math:`\Phi(-z \sqrt 2)` for z >= 0 is computed as
    :math:`e^{-z^2} P(s) / (z + k)` with :math:`s = (z - k) / (z + k)`, k = 3.75 and a polynomial P
    of degree 21, after Shepherd & Laframboise (1981), "Chebyshev approximation of (1 + 2x) exp(x^2)
    erfc x in 0 <= x < inf". Its relative error before rounding is 5e-17, so that the result is
    exact up to rounding in float32 and float64.
    """

    keeps = "input"

    def __init__(self, approximate: bool = False) -> None:
        if not isinstance(approximate, bool):
            raise TypeError(f"approximate must be True or False, got {approximate!r}")
        self.approximate = approximate

    @property
    def _formulas(self) -> Formulas:
        return _APPROXIMATE if self.approximate else self._own_formulas

    @staticmethod
    def function(xp: ModuleType) -> Callable[..., Array]:
        gate_and_bell = _normal_distribution(xp)
        return lambda x: x * gate_and_bell(x)[0]

    @staticmethod
    def derivative(xp: ModuleType) -> Callable[..., Array]:
        gate_and_bell = _normal_distribution(xp)

        def dx(dout: Array, x: Array) -> Array:
            gate, bell = gate_and_bell(x)
            return dout * (gate + (_DENSITY_AT_0 * x) * bell)

        return dx

    def __repr__(self) -> str:
        return f"GELU({'approximate=True' if self.approximate else ''})"


_DENSITY_AT_0 = 1 / math.sqrt(2 * math.pi)
_K = 3.75
# Highest power first: fitted by mpmath.chebyfit, 50 digits, to (z + k) exp(z**2) erfc(z) / 2 as a
# function of s, for z from 0 to 27.5, beyond which erfc is 0 in float64.
_TAIL = (
    -6.086077428648791e-10,
    2.4719297623282094e-09,
    1.5282658962690954e-08,
    -1.6802232046485256e-08,
    -1.2638242864464521e-07,
    1.4449803362162826e-07,
    8.244906208310679e-07,
    -1.648062592209256e-06,
    -4.450575280495212e-06,
    1.8737318260062415e-05,
    5.2966509864793185e-06,
    -0.000174323824716365,
    0.00039741160210727785,
    0.0004931691060349359,
    -0.006267940025279967,
    0.02455938930126498,
    -0.06597770058902479,
    0.13953102451720467,
    -0.2452351456038454,
    0.36815946261086985,
    -0.47937078832645474,
    0.5459614547813946,
)


def _normal_distribution(xp: ModuleType) -> Callable[[Array], tuple[Array, Array]]:
    """The distribution function of the standard normal distribution, and exp(-x**2 / 2)."""

    def gate_and_bell(x: Array) -> tuple[Array, Array]:
        bell = xp.exp(-0.5 * x * x)
        scale = 1 / (math.sqrt(0.5) * xp.abs(x) + _K)
        s = 1 - (2 * _K) * scale
        p = _TAIL[0] * s + _TAIL[1]
        for coefficient in _TAIL[2:]:
            p = p * s + coefficient
        tail = bell * (scale * p)
        positive = xp.astype(x > 0, x.dtype)
        return positive + (1 - 2 * positive) * tail, bell

    return gate_and_bell


_STEEPNESS = math.sqrt(2 / math.pi)


def _approximate(xp: ModuleType) -> Callable[..., Array]:
    return lambda x: 0.5 * x * (1 + xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x)))


def _approximate_derivative(xp: ModuleType) -> Callable[..., Array]:
    def dx(dout: Array, x: Array) -> Array:
        tanh = xp.tanh(_STEEPNESS * (x + 0.044715 * x * x * x))
        # multiplying by tanh', which vanishes for large |x|, before x**2 could overflow
        steep = _STEEPNESS * x * (1 - tanh * tanh)
        return dout * 0.5 * (1 + tanh + steep + 3 * 0.044715 * (steep * x) * x)

    return dx


_APPROXIMATE = formulas_of("GELU(approximate)", _approximate, _approximate_derivative, "input")
