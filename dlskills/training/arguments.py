"""Arguments of a trainer: its optimizer and monitor, and keywords of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dlskills.arrays.backend import Array
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer, make_optimizer
from dlskills.training.callbacks import Batch, Callback

_RATE = "optimizer_param={'lr': ...}, or optimizer=Adam(lr=...)"
_DECAY = "weight_decay_lambda=... for the network, or optimizer=AdamW(weight_decay=...)"
FOREIGN_KEYWORDS: Mapping[str, str] = {
    "model": "network=...",
    "net": "network=...",
    "X_train": "x_train=...",
    "y_train": "t_train=...",
    "X_test": "x_test=...",
    "y_test": "t_test=...",
    "x_val": "validation=(x, t)",
    "y_val": "validation=(x, t)",
    "t_val": "validation=(x, t)",
    "validation_data": "validation=(x, t)",
    "validation_split": "validation=0.2",
    "batch_size": "mini_batch_size=...",
    "batchsize": "mini_batch_size=...",
    "n_epochs": "epochs=...",
    "num_epochs": "epochs=...",
    "max_epochs": "epochs=...",
    "nb_epoch": "epochs=...",
    "max_steps": "steps=...",
    "n_steps": "steps=...",
    "num_steps": "steps=...",
    "iterations": "steps=...",
    "max_iter": "steps=...",
    "learning_rate": _RATE,
    "lr": _RATE,
    "optimizer_params": "optimizer_param=...",
    "optimizer_kwargs": "optimizer_param=...",
    "weight_decay": _DECAY,
    "betas": "optimizer_param={'beta1': ..., 'beta2': ...}",
    "beta1": "optimizer_param={'beta1': ...}",
    "beta2": "optimizer_param={'beta2': ...}",
    "eps": "optimizer_param={'epsilon': ...}",
    "epsilon": "optimizer_param={'epsilon': ...}",
    "momentum": "optimizer_param={'momentum': ...}, with optimizer='momentum'",
    "clip_norm": "optimizer_param={'clip_norm': ...}",
    "max_grad_norm": "optimizer_param={'clip_norm': ...}",
    "gradient_clip_val": "optimizer_param={'clip_norm': ...}",
    "lr_scheduler": "optimizer_param={'lr': schedules.CosineDecay(...)}",
    "scheduler": "optimizer_param={'lr': schedules.CosineDecay(...)}",
    "patience": "callbacks=[EarlyStopping(..., patience=...)]",
    "early_stopping": "callbacks=[EarlyStopping(...)]",
    "shuffle": 'sampling="epoch" for each sample once per epoch',
    "drop_last": 'sampling="epoch", remainder="drop"',
    "loss": "loss=... for the network",
    "criterion": "loss=... for the network",
    "device": "device=... for the network",
    "random_state": "seed=...",
    "callback": "callbacks=[...]",
    "sample_weight": "sample_weights=...",
    "class_weight": "loss=SoftmaxWithLoss(class_weights=...) for the network",
    "class_weights": "loss=SoftmaxWithLoss(class_weights=...) for the network",
    "gradient_accumulation_steps": "accumulate=..., with mini_batch_size for the whole batch",
    "accumulate_grad_batches": "accumulate=..., with mini_batch_size for the whole batch",
}
"""Keywords of other libraries' trainers, and the equivalents here."""


class Observer(Protocol):
    """What a trainer takes as its `monitor`, such as :class:`~dlskills.diagnostics.Monitor`."""

    def observe(self, x: Array, t: Array) -> object:
        """Look at the network after an update with this batch."""


class _Observing(Callback):
    """Gives each batch to an object with ``observe(x, t)``."""

    rank_0_only = True

    def __init__(self, monitor: Observer) -> None:
        self.monitor = monitor

    def after_step(self, trainer: Any, batch: Batch) -> None:
        self.monitor.observe(*batch[:2])


def monitoring(network: Sequential, monitor: Any) -> list[Callback]:
    """Return the callbacks of a trainer's argument `monitor`.

    Raises
    ------
    ValueError
        It looks at another network.
    TypeError
        It can't observe.
    """
    if monitor is None:
        return []
    if getattr(monitor, "network", network) is not network:
        raise ValueError("monitor looks at another network; make one with Monitor(network)")
    if not callable(getattr(monitor, "observe", None)):
        raise TypeError(f"monitor must have a method observe(x, t), got {monitor!r}")
    return [monitor if isinstance(monitor, Callback) else _Observing(monitor)]


def chosen_optimizer(optimizer: str | Optimizer, param: Mapping[str, Any] | None) -> Optimizer:
    """Return an optimizer made by name with these hyperparameters, or the given one.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(optimizer, str):
        if param is not None and not isinstance(param, Mapping):
            raise TypeError(f"optimizer_param must be a dict such as {{'lr': 0.01}}, got {param!r}")
        return make_optimizer(optimizer, **({} if param is None else param))
    if isinstance(optimizer, type):
        raise TypeError(
            f"optimizer must be a name or an Optimizer, got the class {optimizer.__name__}. Create "
            f"one: {optimizer.__name__}(...)"
        )
    # a dict has an update(), too
    if isinstance(optimizer, Mapping) or not callable(getattr(optimizer, "update", None)):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if param is not None:
        raise ValueError(
            "optimizer_param is for the name of an optimizer, got "
            f"{optimizer!r} and {dict(param)}. Give the hyperparameters to the optimizer itself"
        )
    return optimizer
