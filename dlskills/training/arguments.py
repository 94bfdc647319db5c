"""The optimizer that a trainer is given, by name or itself, and keywords of other trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
