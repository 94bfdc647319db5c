"""Callbacks that react when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_count, check_number
from dlskills.training.best import Plateau
from dlskills.training.callbacks import Callback

if TYPE_CHECKING:
    from dlskills.training.loop import Loop


class EarlyStopping(Callback):
    """Stop when a metric has not improved for some evaluations.

    Prechelt (1998), "Early stopping, but when?". Whether to stop is decided after each evaluation,
    by default one per epoch; with ``Trainer(evaluate="last")`` it follows the last step of the
    epoch.

    Parameters
    ----------
    metric : str, default "validation_loss"
        A column of ``trainer.history``.
    patience : int, default 5
        The number of evaluations without improvement after which to stop.
    restore_best : bool, default True
        Whether the network ends with the state that it had at the best evaluation (parameters,
        and the running averages of Batch Normalization), also where training ends as planned.
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better; known for losses and accuracies.
    min_delta : float, default 0
        The least improvement that counts.

    Attributes
    ----------
    best : float
        The best value so far.
    best_step : int
        The step at which it was measured.

    Examples
    --------
    >>> from dlskills.training import EarlyStopping
    >>> stopping = EarlyStopping("validation_accuracy", patience=3)
    >>> stopping.mode
    'max'
    """

    needs_evaluations = True

    def __init__(
        self,
        metric: str = "validation_loss",
        patience: int = 5,
        *,
        restore_best: bool = True,
        mode: str | None = None,
        min_delta: float = 0,
    ) -> None:
        self._plateau = Plateau(metric, mode, min_delta)
        self.follows = metric
        self.patience = check_count("patience", patience)
        self.restore_best = restore_best
        self.best_step = 0
        self._network: dict[str, Any] | None = None  # its state at the best evaluation

    @property
    def metric(self) -> str:
        """The column of the history."""
        return self._plateau.metric

    @property
    def mode(self) -> str:
        """Whether smaller or larger values are better."""
        return self._plateau.mode

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._plateau.value

    def after_evaluation(self, trainer: Loop) -> bool:
        if self._plateau.improved(trainer):
            self.best_step = trainer.step
            if self.restore_best:
                self._network = trainer.network.state_dict(on_host=False)
        # if train(epochs=n) goes on, it is as patient again
        return self._plateau.reached(self.patience)

    def after_training(self, trainer: Loop) -> None:
        if self._network is not None and self.best_step != trainer.step:
            trainer.network.load_state_dict(self._network)

    def kind(self) -> str:
        return f"{super().kind()} by {self._plateau}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self._plateau.value,
            "best_step": self.best_step,
            "waited": self._plateau.waited,
            "network": self._network,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        network = state["network"]
        if network is not None and not isinstance(network, Mapping):
            raise TypeError(f"network must be a state or None, got a {type(network).__name__}")
        self.best_step = check_count("best_step", state["best_step"], at_least=0)
        self._plateau.load(state)
        self._network = None if network is None else dict(network)

    def check_loaded(self, trainer: Loop) -> None:
        if self._network is not None:  # better now than at the end of the training
            own = trainer.network.state_dict(on_host=False)
            trainer.network.load_state_dict(self._network)
            trainer.network.load_state_dict(own)

    def __repr__(self) -> str:
        return f"EarlyStopping({self.metric!r}, patience={self.patience})"


class ReduceOnPlateau(Callback):
    """Multiply the learning rate by a factor when a metric has not improved for some evaluations.

    Parameters
    ----------
    metric : str, default "validation_loss"
        A column of ``trainer.history``.
    factor : float, default 0.1
        Between 0 and 1.
    patience : int, default 5
        The number of evaluations without improvement before each reduction.
    min_lr : float, default 0
        The rate is not reduced below it.
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better; known for losses and accuracies.
    min_delta : float, default 0
        The least improvement that counts.

    Raises
    ------
    TypeError
        When training begins, if the optimizer's learning rate is a schedule.
    """

    needs_evaluations = True

    def __init__(
        self,
        metric: str = "validation_loss",
        factor: float = 0.1,
        patience: int = 5,
        *,
        min_lr: float = 0,
        mode: str | None = None,
        min_delta: float = 0,
    ) -> None:
        self._plateau = Plateau(metric, mode, min_delta)
        self.follows = metric
        self.factor = check_number("factor", factor, above=0, below=1)
        self.patience = check_count("patience", patience)
        self.min_lr = check_number("min_lr", min_lr, at_least=0)

    def before_training(self, trainer: Loop) -> None:
        if callable(vars(trainer.optimizer).get("_lr")):
            raise TypeError(
                f"ReduceOnPlateau sets the learning rate, and {trainer.optimizer!r} has a "
                "schedule, which would set it again; give the optimizer a number as lr"
            )

    def after_evaluation(self, trainer: Loop) -> None:
        self._plateau.improved(trainer)
        if self._plateau.reached(self.patience):
            lr = trainer.optimizer.lr
            trainer.optimizer.lr = min(lr, max(lr * self.factor, self.min_lr))

    def kind(self) -> str:
        return f"{super().kind()} by {self._plateau}"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._plateau.value, "waited": self._plateau.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._plateau.load(state)

    def __repr__(self) -> str:
        return (
            f"ReduceOnPlateau({self._plateau.metric!r}, factor={self.factor:g}, "
            f"patience={self.patience})"
        )
