"""Callbacks: what happens between the steps of a training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from dlskills.arrays.backend import Array

if TYPE_CHECKING:
    from dlskills.training.loop import Loop

Batch: TypeAlias = "tuple[Array, ...]"
"""Inputs and targets, and perhaps the weight of each sample."""


_KERAS = {
    "on_train_begin": "before_training(self, trainer)",
    "on_train_end": "after_training(self, trainer)",
    "on_epoch_end": "after_epoch(self, trainer)",
    "on_batch_end": "after_step(self, trainer, batch)",
    "on_train_batch_end": "after_step(self, trainer, batch)",
}
"""Methods of Keras's and Lightning's callbacks, and the equivalents here."""


class Callback:
    """An object that is called between the steps of a training.

    A callback of your own derives from this class and overrides the methods it needs. The first
    argument of each is the :class:`~dlskills.Trainer`, or the
    :class:`~dlskills.training.Loop`: its ``network``, ``optimizer``, ``step``, ``epoch``, ``loss``
    and ``history`` may be read, and the optimizer's hyperparameters set. Where several methods are
    due after one step, they are called in the order in which they are listed here.

    A plain function is a callback, too: of two arguments, ``(trainer, batch)``, for
    :meth:`after_step`; of one, ``(trainer)``, for :meth:`after_epoch`.

    Examples
    --------
    Stop at a training loss of 0.1:

    >>> from dlskills.training import Callback
    >>> class UntilLoss(Callback):
    ...     def after_step(self, trainer, batch):
    ...         return float(trainer.loss) < 0.1
    """

    runs_last = False
    """Whether it is called after all others, whatever its position in the list."""

    needs_evaluations = False
    """Whether it acts after evaluations only; a loop that makes none refuses it."""

    follows: str | None = None
    """The column of the history that it follows, if it does; a loop that never measures that part
    of the data refuses it."""

    rank_0_only = False
    """Whether only rank 0 calls it, where several ranks train together: it prints, plots or saves.

    All ranks call the others, and have the same history.
    """

    def before_training(self, trainer: Loop) -> None:
        """Called when ``train()`` begins, and when it goes on."""

    def after_evaluation(self, trainer: Loop) -> bool | None:
        """Called after an evaluation has added a row to ``trainer.history``."""

    def after_step(self, trainer: Loop, batch: Batch) -> bool | None:
        """Called after each update, with the batch it was made with.

        Returns
        -------
        bool or None
            True stops the training, here and in the other methods that may return it.
        """

    def after_epoch(self, trainer: Loop) -> bool | None:
        """Called after the last update of each epoch."""

    def step_complete(self, trainer: Loop) -> None:
        """Called last of all: what is to be saved of this step is complete."""

    def after_training(self, trainer: Loop) -> None:
        """Called when ``train()`` ends as planned, or because a callback stopped it."""

    def interrupted(self, trainer: Loop) -> None:
        """Called when Ctrl-C ends ``train()``, after a complete step."""

    def close(self, trainer: Loop) -> None:
        """Called at the end of ``train()``, also after an error."""

    def kind(self) -> str:
        """Return what tells a callback with a state apart: that of another kind is refused."""
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this callback: arrays, numbers, text, None."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state of :meth:`state_dict`."""

    def check_loaded(self, trainer: Loop) -> None:
        """Raise an error if the state just loaded does not fit the trainer."""


class OnRank0(Callback):
    """A callback that another rank calls: nothing is left of it here but its state."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        # so that all ranks refuse it, or none
        self.needs_evaluations, self.follows = callback.needs_evaluations, callback.follows

    def kind(self) -> str:
        return self.callback.kind()

    def state_dict(self) -> dict[str, Any]:
        return self.callback.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.callback.load_state_dict(state)

    def check_loaded(self, trainer: Loop) -> None:
        self.callback.check_loaded(trainer)

    def __repr__(self) -> str:
        return repr(self.callback)


class _OfFunction(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


class _AfterStep(_OfFunction):
    def after_step(self, trainer: Loop, batch: Batch) -> bool | None:
        return bool(self.function(trainer, batch))


class _AfterEpoch(_OfFunction):
    def after_epoch(self, trainer: Loop) -> bool | None:
        return bool(self.function(trainer))


def as_callback(given: Any) -> Callback:
    """Return a callback, made of a plain function if that is what was given.

    Raises
    ------
    TypeError
        It is neither, or has methods of another library's callbacks.
    """
    if isinstance(given, Callback):
        for name, here in _KERAS.items():
            if hasattr(given, name):
                raise TypeError(
                    f"{given!r} has a method {name}, which is never called; write {here} instead"
                )
        return given
    if isinstance(given, type) or not callable(given):
        hint = f"; make one: {given.__name__}(...)" if isinstance(given, type) else ""
        raise TypeError(
            "a callback must be a dlskills.training.Callback or a function of (trainer) or "
            f"(trainer, batch), got {given!r}{hint}"
        )
    try:
        parameters = inspect.signature(given).parameters.values()
    except ValueError:  # of some functions written in C
        return _AfterEpoch(given)
    required = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    if len(required) not in (1, 2):
        raise TypeError(
            "a function as a callback takes (trainer), after each epoch, or (trainer, batch), "
            f"after each step; {given!r} has {len(required)} required arguments"
        )
    return (_AfterStep if len(required) == 2 else _AfterEpoch)(given)


def may_add_columns(callback: Callback) -> bool:
    """Return whether a callback may add columns to the history: one of the user's own."""
    own = not type(callback).__module__.startswith("dlskills.")
    return own or isinstance(callback, _OfFunction)


def checked_callbacks(callbacks: Any) -> Iterable[Any]:
    """Return what was given for a list of callbacks.

    Raises
    ------
    TypeError
        It is not iterable.
    """
    if isinstance(callbacks, str) or not isinstance(callbacks, Iterable):
        raise TypeError(
            f"callbacks must be a list of callbacks, got {callbacks!r}; write [{callbacks!r}]"
        )
    return callbacks


class CallbackList:
    """Callbacks by the methods that they override, so that a step calls no empty ones."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self.all = sorted(
            map(as_callback, checked_callbacks(callbacks)), key=lambda callback: callback.runs_last
        )
        self.after_step = self._overriding("after_step")
        self.after_evaluation = self._overriding("after_evaluation")
        self.after_epoch = self._overriding("after_epoch")
        self.step_complete = self._overriding("step_complete")

    def _overriding(self, method: str) -> list[Callback]:
        return [
            callback
            for callback in self.all
            if getattr(type(callback), method) is not getattr(Callback, method)
        ]
