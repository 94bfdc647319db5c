"""Initializers as values that compare equal and print as the call that makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

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
