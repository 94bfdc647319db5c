"""The functions that make initializers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlskills.arrays.backend import to_host
from dlskills.checks import check_choice, check_number
from dlskills.initializers.kinds import (
    Constant,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Values,
    VarianceScaling,
)


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
    return checked_values("array", array)


def checked_values(name: str, array: Any) -> Values:
    """Return the initializer for given values; errors call them `name`."""
    if not hasattr(array, "shape"):
        raise TypeError(f"{name} must be an array, got {array!r}")
    host = np.asarray(to_host(array))
    if host.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got {host.dtype}")
    host = host.astype(np.float64)
    if not np.isfinite(host).all():
        raise ValueError(f"{name} must hold finite numbers, got NaN or infinity")
    return Values(host)
