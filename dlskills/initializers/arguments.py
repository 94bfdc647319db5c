"""Arguments that stand for an initializer: names, numbers, arrays and functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dlskills.arrays.backend import Array
from dlskills.checks import check_choice, check_number
from dlskills.initializers.functions import (
    checked_values,
    glorot_normal,
    glorot_uniform,
    he,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    orthogonal,
    xavier,
)
from dlskills.initializers.kinds import Initializer, Normal

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
        return checked_values(name, initializer)
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
    module = getattr(initializer, "__module__", None) or ""
    if module.startswith("dlskills.initializers.") and hasattr(initializer, "__name__"):
        made = initializer.__name__
        raise TypeError(f"{name} is {made}, which creates an initializer. Call it: {made}(...)")
    raise TypeError(
        f"{name} must be an initializer, a function of a shape and a numpy.random.Generator, got "
        f"{initializer!r}"
    )
