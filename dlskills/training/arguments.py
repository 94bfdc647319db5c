"""What a trainer is given: an optimizer by name or itself, and samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dlskills.arrays.backend import Array, is_dtype, namespace, to_host
from dlskills.layers import SoftmaxWithLoss, check_labels
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer, make_optimizer

SGD_PARAM: Mapping[str, Any] = MappingProxyType({"lr": 0.01})


def chosen_optimizer(optimizer: str | Optimizer, param: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a name with these hyperparameters, or the one that is given."""
    if isinstance(optimizer, str):
        return make_optimizer(optimizer, **param)
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if param is not SGD_PARAM:
        raise ValueError(
            "optimizer_param goes with the name of an optimizer; give its hyperparameters to the "
            f"optimizer itself, got {optimizer!r} and {dict(param)}"
        )
    return optimizer


def check_samples(network: Sequential, part: str, x: Array, t: Array) -> None:
    """Refuse inputs and labels that can't be trained on, once, on the host."""
    for name, array in ((f"x_{part}", x), (f"t_{part}", t)):
        if not getattr(array, "shape", ()):
            raise TypeError(
                f"{name} must be an array with a row for each sample, got a {type(array).__name__}"
            )
    if x.shape[0] != t.shape[0] or x.shape[0] == 0:
        raise ValueError(
            f"x_{part} and t_{part} must have the same number of samples, at least one, got "
            f"{x.shape[0]} and {t.shape[0]}"
        )
    network.check_input(f"x_{part}", x)
    xp = namespace(t)
    if not any(is_dtype(xp, t.dtype, kind) for kind in ("numeric", "bool")):
        raise TypeError(f"t_{part} must hold numbers, such as labels from 0 on, got {t.dtype}")
    if isinstance(network.loss_layer, SoftmaxWithLoss) and network.output_size is not None:
        check_labels(f"t_{part}", to_host(t), network.output_size)
    if part == "train" and is_dtype(namespace(x), x.dtype, "unsigned integer"):
        warnings.warn(
            f"x_train holds whole numbers, of dtype {x.dtype}, as images do in files; networks "
            "learn from numbers of about 1: divide pixels by 255",
            stacklevel=3,
        )
