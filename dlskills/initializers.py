r"""Initial values of parameters.

An initializer is a function of a shape and a random generator that returns a float64 NumPy array.
Values are drawn on the host, so every device starts from the same ones.

The names follow the literature, with one exception. The initializer that the tutorial (like Caffe)
calls *Xavier* uses only the fan-in, with standard deviation :math:`\sqrt{1/n}`, and so equals
LeCun's. The paper by Xavier Glorot uses the average of fan-in and fan-out; here that initializer is
named after his last name.

============================================  ====================================================
`xavier`, `lecun_normal`, `lecun_uniform`     variance 1 / fan_in
`glorot_normal`, `glorot_uniform`             variance 2 / (fan_in + fan_out)
`he`, `he_uniform`                            variance 2 / fan_in
============================================  ====================================================

A weight matrix has shape (fan_in, fan_out), as in an :class:`~dlskills.layers.Affine` layer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dlskills.checks import check_choice, check_number

Initializer: TypeAlias = Callable[[tuple[int, ...], np.random.Generator], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Constant:
    """Initializer that sets every element to `value`."""

    value: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        return np.full(shape, self.value)

    def __repr__(self) -> str:
        return "zeros()" if self.value == 0 else f"constant({self.value:g})"


@dataclass(frozen=True)
class Normal:
    """Initializer that draws from the normal distribution with mean 0 and this `std`."""

    std: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        return self.std * rng.standard_normal(shape)

    def __repr__(self) -> str:
        return f"normal({self.std:g})"


@dataclass(frozen=True)
class VarianceScaling:
    """Initializer with mean 0 and variance ``scale / fan``.

    Attributes
    ----------
    name : str
        Name of the function that creates it.
    scale : float
    fan : str
        ``"fan_in"``, or ``"fan_average"``: (fan_in + fan_out) / 2.
    distribution : str
        ``"normal"`` (not truncated) or ``"uniform"``.
    """

    name: str
    scale: float
    fan: str
    distribution: str

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        fan_in, fan_out = fans(shape)
        std = math.sqrt(self.scale / (fan_in if self.fan == "fan_in" else (fan_in + fan_out) / 2))
        if self.distribution == "normal":
            return std * rng.standard_normal(shape)
        limit = math.sqrt(3) * std  # the uniform distribution on [-a, a] has variance a**2 / 3
        return rng.uniform(-limit, limit, shape)

    def __repr__(self) -> str:
        return f"{self.name}()"


@dataclass(frozen=True)
class Orthogonal:
    """Initializer with orthonormal rows or columns, whichever are fewer, times `gain`."""

    gain: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        if len(shape) != 2:
            raise ValueError(f"an orthogonal initializer needs a 2-D shape, got {shape}")
        tall = (max(shape), min(shape))
        q, r = np.linalg.qr(rng.standard_normal(tall))
        q *= np.sign(np.diagonal(r))  # makes q uniform over orthogonal matrices (Mezzadri, 2007)
        return self.gain * (q if shape == tall else q.T)

    def __repr__(self) -> str:
        return "orthogonal()" if self.gain == 1 else f"orthogonal({self.gain:g})"


def zeros() -> Initializer:
    """Zeros, for biases. Units whose weights all start at 0 stay identical (tutorial, 6.2.1)."""
    return Constant(0.0)


def constant(value: float) -> Initializer:
    """Constant value in every element."""
    return Constant(check_number("value", value))


def normal(std: float = 0.01) -> Initializer:
    """Normal with mean 0 and standard deviation `std`."""
    return Normal(check_number("std", std, at_least=0))


def xavier() -> Initializer:
    """Normal with variance 1 / fan_in: the tutorial's Xavier, for sigmoid and tanh.

    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks", derive 2 / (fan_in + fan_out), which is :func:`glorot_normal`.
    """
    return VarianceScaling("xavier", 1.0, "fan_in", "normal")


def he() -> Initializer:
    """Normal with variance 2 / fan_in, for ReLU.

    He, Zhang, Ren & Sun (2015), "Delving deep into rectifiers", equation 10.
    """
    return VarianceScaling("he", 2.0, "fan_in", "normal")


def he_uniform() -> Initializer:
    """Uniform with variance 2 / fan_in, from the same paper as :func:`he`."""
    return VarianceScaling("he_uniform", 2.0, "fan_in", "uniform")


def glorot_normal() -> Initializer:
    """Normal with variance 2 / (fan_in + fan_out): Glorot & Bengio (2010), equation 12."""
    return VarianceScaling("glorot_normal", 1.0, "fan_average", "normal")


def glorot_uniform() -> Initializer:
    """Uniform with variance 2 / (fan_in + fan_out): Glorot & Bengio (2010), equation 16."""
    return VarianceScaling("glorot_uniform", 1.0, "fan_average", "uniform")


def lecun_normal() -> Initializer:
    """Normal with variance 1 / fan_in: LeCun et al. (1998), "Efficient BackProp", section 4.6."""
    return VarianceScaling("lecun_normal", 1.0, "fan_in", "normal")


def lecun_uniform() -> Initializer:
    """Uniform with variance 1 / fan_in, from the same paper as :func:`lecun_normal`."""
    return VarianceScaling("lecun_uniform", 1.0, "fan_in", "uniform")


def orthogonal(gain: float = 1.0) -> Initializer:
    """Random orthogonal matrix times `gain`.

    Saxe, McClelland & Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks".
    """
    return Orthogonal(check_number("gain", gain))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight's shape.

    Raises
    ------
    ValueError
        `shape` is not 2-D.
    """
    if len(shape) != 2:
        raise ValueError(f"a weight must have shape (fan_in, fan_out), got {shape}")
    return shape


BY_NAME: dict[str, Callable[[], Initializer]] = {
    "relu": he,
    "he": he,
    "sigmoid": xavier,
    "xavier": xavier,
    "he_uniform": he_uniform,
    "glorot": glorot_normal,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "orthogonal": orthogonal,
}


def weight_initializer(weight_init_std: float | str | Initializer) -> Initializer:
    """Return the initializer for a value of the tutorial's argument `weight_init_std`.

    Parameters
    ----------
    weight_init_std : float, str or Initializer
        A standard deviation; or ``"relu"`` or ``"he"`` for :func:`he`, ``"sigmoid"`` or
        ``"xavier"`` for :func:`xavier`, or the name of another initializer of this module (case is
        ignored); or an initializer.

    Raises
    ------
    ValueError, TypeError
        `weight_init_std` is none of these.
    """
    if isinstance(weight_init_std, str):
        return BY_NAME[check_choice("weight_init_std", weight_init_std, BY_NAME)]()
    if callable(weight_init_std):
        return check_initializer("weight_init_std", weight_init_std)
    return Normal(check_number("weight_init_std", weight_init_std, at_least=0))


def check_initializer(name: str, initializer: Any) -> Initializer:
    """Return the initializer if it can be called with a shape and a generator.

    Parameters
    ----------
    name : str
        Name of the argument in the error message.
    initializer : object

    Raises
    ------
    TypeError
        The object is not an initializer, or is a function of this module that creates one and was
        not called.
    """
    if callable(initializer) and not isinstance(initializer, type):
        checked: Initializer = initializer
        try:
            inspect.signature(initializer).bind((1, 1), None)
        except TypeError:
            pass
        except ValueError:  # a C function without a signature
            return checked
        else:
            return checked
    if getattr(initializer, "__module__", None) == __name__ and hasattr(initializer, "__name__"):
        made = initializer.__name__
        raise TypeError(f"{name} is {made}, which creates an initializer. Call it: {made}(...)")
    raise TypeError(
        f"{name} must be an initializer, a function of a shape and a numpy.random.Generator, got "
        f"{initializer!r}"
    )
