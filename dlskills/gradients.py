"""Gradients by differences, to check those by backpropagation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, backend_of, namespace, to_host
from dlskills.arrays.parameters import Parameters


def numerical_gradient(
    f: Callable[[], Any], params: Mapping[str, Array], h: float = 1e-5
) -> dict[str, Array]:
    r"""The gradient of a number by each element of each parameter, by central differences.

    :math:`\partial f / \partial w \approx (f(w + h) - f(w - h)) / 2h`: two calls of `f` for each
    element. Rounding limits it to float64 parameters; in float32 expect no more than two digits.

    Parameters
    ----------
    f : callable
        Takes nothing, reads `params`, returns a number or 0-d array.
    params : mapping of str to array
        Written element by element during the call, and left as it was found.
    h : float, default 1e-5
        The step. 1e-5 balances the error of the formula (h**2) and of rounding (1e-16 / h).

    Returns
    -------
    dict of str to array
        Shapes, dtype and device of `params`.
    """
    return {name: _by_each_element(f, param, h) for name, param in params.items()}


def _by_each_element(f: Callable[[], Any], param: Array, h: float) -> Array:
    with backend_of(param).active():
        gradient = namespace(param).zeros_like(param)
        for index in np.ndindex(*param.shape):
            value = float(param[index])
            try:
                param[index] = value + h
                above = float(f())
                param[index] = value - h
                below = float(f())
            finally:
                param[index] = value
            gradient[index] = (above - below) / (2 * h)
    return gradient


def relative_error(a: Array, b: Array) -> float:
    """How far two gradients are apart: ``norm(a - b) / max(norm(a), norm(b))``, 0 for two zeros.

    Parameters
    ----------
    a, b : array or Parameters
        Of one shape, on any device; compared on the host in float64.
    """
    first, second = (
        np.asarray(to_host(g.flat if isinstance(g, Parameters) else g), dtype=np.float64)
        for g in (a, b)
    )
    scale = max(float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    return float(np.linalg.norm(first - second)) / scale if scale else 0.0


def __getattr__(name: str) -> Any:
    if name == "clip_factor":  # which has moved up to the optimizers
        return importlib.import_module("dlskills.optimizers.clipping").clip_factor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
