"""What a trainer is given: an optimizer by name or itself, and samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dlskills.arrays.backend import Array, is_dtype, namespace, to_host
from dlskills.layers import SoftmaxWithLoss, check_labels
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer, make_optimizer

_RATE = "optimizer_param={'lr': ...}, or optimizer=Adam(lr=...)"
_DECAY = "weight_decay_lambda=... for the network, or optimizer=AdamW(weight_decay=...)"
FOREIGN_KEYWORDS: Mapping[str, str] = {
    "model": "network=...",
    "net": "network=...",
    "X_train": "x_train=...",
    "y_train": "t_train=...",
    "X_test": "x_test=...",
    "y_test": "t_test=...",
    "x_val": "x_test=...",
    "y_val": "t_test=...",
    "t_val": "t_test=...",
    "validation_data": "x_test=..., t_test=...",
    "batch_size": "mini_batch_size=...",
    "batchsize": "mini_batch_size=...",
    "n_epochs": "epochs=...",
    "num_epochs": "epochs=...",
    "max_epochs": "epochs=...",
    "nb_epoch": "epochs=...",
    "learning_rate": _RATE,
    "lr": _RATE,
    "optimizer_params": "optimizer_param=...",
    "optimizer_kwargs": "optimizer_param=...",
    "weight_decay": _DECAY,
    "shuffle": 'sampling="epoch" for each sample once per epoch',
    "drop_last": 'sampling="epoch", remainder="drop"',
    "loss": "loss=... for the network",
    "criterion": "loss=... for the network",
    "device": "device=... for the network",
    "random_state": "seed=...",
    "callbacks": "monitor=..., an object with observe(x, t)",
}
"""Keywords of other libraries' trainers, and what to write here."""


def chosen_optimizer(optimizer: str | Optimizer, param: Mapping[str, Any] | None) -> Optimizer:
    """Return the optimizer of a name with these hyperparameters, or the one that is given."""
    if isinstance(optimizer, str):
        return make_optimizer(optimizer, **({} if param is None else param))
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if param is not None:
        raise ValueError(
            "optimizer_param is for the name of an optimizer, got "
            f"{optimizer!r} and {dict(param)}. Give the hyperparameters to the optimizer itself"
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
            stacklevel=4,  # the caller of Trainer, whose __init__ is decorated
        )
