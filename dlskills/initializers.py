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

from dlskills.arrays.backend import Array, to_host
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
class TruncatedNormal:
    """Initializer that draws from a normal distribution without values beyond 2 `std`."""

    std: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        values = rng.standard_normal(math.prod(shape))
        far = np.flatnonzero(np.abs(values) > 2)
        while far.size:
            values[far] = rng.standard_normal(far.size)
            far = far[np.abs(values[far]) > 2]
        return self.std * values.reshape(shape)

    def __repr__(self) -> str:
        return f"truncated_normal({self.std:g})"


@dataclass(frozen=True)
class Uniform:
    """Initializer that draws from the uniform distribution from -`limit` to `limit`."""

    limit: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        return rng.uniform(-self.limit, self.limit, shape)

    def __repr__(self) -> str:
        return f"uniform({self.limit:g})"


@dataclass(frozen=True)
class Identity:
    """Initializer with `gain` on the main diagonal and 0 elsewhere."""

    gain: float

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        if len(shape) != 2:
            raise ValueError(f"an identity initializer needs a 2-D shape, got {shape}")
        return self.gain * np.eye(*shape)

    def __repr__(self) -> str:
        return "identity()" if self.gain == 1 else f"identity({self.gain:g})"


class Values:
    """Initializer that returns a copy of given values, for a parameter of their shape."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        if self.values.shape != tuple(shape):
            raise ValueError(
                f"the initial values have shape {self.values.shape}, the parameter {tuple(shape)}"
            )
        return self.values.copy()

    def __repr__(self) -> str:
        return f"values of shape {self.values.shape}"


@dataclass(frozen=True)
class VarianceScaling:
    """Initializer with mean 0 and variance ``scale / fan``.

    Attributes
    ----------
    name : str
        Name of the function that creates it.
    scale : float
    fan : str
        ``"fan_in"``, ``"fan_out"``, or ``"fan_average"``: (fan_in + fan_out) / 2.
    distribution : str
        ``"normal"`` (not truncated) or ``"uniform"``.
    """

    name: str
    scale: float
    fan: str
    distribution: str

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        fan_in, fan_out = fans(shape)
        average = (fan_in + fan_out) / 2
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_average": average}[self.fan]
        std = math.sqrt(self.scale / fan)
        if self.distribution == "normal":
            return std * rng.standard_normal(shape)
        limit = math.sqrt(3) * std  # the uniform distribution on [-a, a] has variance a**2 / 3
        return rng.uniform(-limit, limit, shape)

    def settings(self) -> dict[str, str]:
        """Return the arguments of the function that creates it, without defaults."""
        return {"mode": self.fan} if self.fan == "fan_out" else {}

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.settings().items())})"


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


def truncated_normal(std: float = 0.01) -> Initializer:
    """Normal with mean 0, where values further than 2 `std` from 0 are drawn again.

    `std` is the standard deviation before truncation, as in Keras; that of the values is 0.88 times
    as large.
    """
    return TruncatedNormal(check_number("std", std, at_least=0))


def uniform(limit: float) -> Initializer:
    """Uniform from -`limit` to `limit`; the standard deviation is `limit` / sqrt(3)."""
    return Uniform(check_number("limit", limit, at_least=0))


def identity(gain: float = 1.0) -> Initializer:
    """Identity matrix times `gain`; for other than square shapes, `gain` on the main diagonal.

    Le, Jaitly & Hinton (2015), "A simple way to initialize recurrent networks of rectified linear
    units".
    """
    return Identity(check_number("gain", gain))


def values(array: Any) -> Initializer:
    """Given values, such as those of another network.

    The array itself may also be given wherever an initializer is expected.

    Parameters
    ----------
    array : array
        Real numbers in the shape of the parameter, of any library and device. They are copied.

    Raises
    ------
    TypeError
        It is not an array of real numbers.
    ValueError
        A value is not finite.
    """
    return _values("array", array)


def _values(name: str, array: Any) -> Values:
    if not hasattr(array, "shape"):
        raise TypeError(f"{name} must be an array, got {array!r}")
    host = np.asarray(to_host(array))
    if host.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got {host.dtype}")
    host = host.astype(np.float64)
    if not np.isfinite(host).all():
        raise ValueError(f"{name} must hold finite numbers, got NaN or infinity")
    return Values(host)


_MODES = ("fan_in", "fan_out")


def xavier(mode: str = "fan_in") -> Initializer:
    """Normal with variance 1 / fan_in: the tutorial's Xavier, for sigmoid and tanh.

    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks", derive 2 / (fan_in + fan_out), which is :func:`glorot_normal`.

    Parameters
    ----------
    mode : {"fan_in", "fan_out"}, default "fan_in"
        With ``"fan_out"``, the variance is 1 / fan_out, which keeps the variance of gradients, not
        of activations, from layer to layer.
    """
    return VarianceScaling("xavier", 1.0, check_choice("mode", mode, _MODES), "normal")


def he(mode: str = "fan_in") -> Initializer:
    """Normal with variance 2 / fan_in, for ReLU.

    He, Zhang, Ren & Sun (2015), "Delving deep into rectifiers", equation 10. For tanh and sigmoid,
    whose slope is not halved by inactive units, use :func:`xavier`.

    Parameters
    ----------
    mode : {"fan_in", "fan_out"}, default "fan_in"
        With ``"fan_out"``, the variance is 2 / fan_out, which keeps the variance of gradients, not
        of activations, from layer to layer (equation 14).
    """
    return VarianceScaling("he", 2.0, check_choice("mode", mode, _MODES), "normal")


def he_uniform(mode: str = "fan_in") -> Initializer:
    """Uniform with variance 2 / fan_in, or 2 / fan_out, from the same paper as :func:`he`."""
    return VarianceScaling("he_uniform", 2.0, check_choice("mode", mode, _MODES), "uniform")


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
    # of an activation, the initializer that fits it
    "relu": he,
    "leakyrelu": he,
    "elu": he,
    "softplus": he,
    "gelu": he,
    "swish": he,
    "silu": he,
    "sigmoid": xavier,
    "tanh": xavier,
    "selu": lecun_normal,
    # of an initializer
    "he": he,
    "he_uniform": he_uniform,
    "xavier": xavier,
    "glorot": glorot_normal,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "orthogonal": orthogonal,
    "identity": identity,
}


def weight_initializer(weight_init_std: float | str | Array | Initializer) -> Initializer:
    """Return the initializer for a value of the tutorial's argument `weight_init_std`.

    Parameters
    ----------
    weight_init_std : float, str, array or Initializer
        A standard deviation; or ``"relu"`` or ``"he"`` for :func:`he`, ``"sigmoid"`` or
        ``"xavier"`` for :func:`xavier`, the name of another activation for the initializer that
        fits it, or the name of another initializer of this module (case is ignored); or the values
        themselves, an array in the weight's shape; or an initializer.

    Raises
    ------
    ValueError, TypeError
        `weight_init_std` is none of these.
    """
    if isinstance(weight_init_std, str):
        return BY_NAME[check_choice("weight_init_std", weight_init_std, BY_NAME)]()
    is_array = hasattr(weight_init_std, "shape") and weight_init_std.shape != ()
    if callable(weight_init_std) or is_array:
        return check_initializer("weight_init_std", weight_init_std)
    return Normal(check_number("weight_init_std", weight_init_std, at_least=0))


def check_initializer(name: str, initializer: Any) -> Initializer:
    """Return the initializer if it can be called with a shape and a generator.

    An array becomes the initializer that returns its values.

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
    if hasattr(initializer, "shape") and not callable(initializer):
        return _values(name, initializer)
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
