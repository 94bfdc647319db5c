"""The training loop: batch, gradient, update, callbacks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, dtype_name
from dlskills.arrays.parameters import Parameters
from dlskills.checks import check_count
from dlskills.layers import Layer
from dlskills.networks.sequential import Sequential
from dlskills.training.accumulation import Accumulated
from dlskills.training.arguments import chosen_optimizer
from dlskills.training.batch_source import BatchSource, as_source
from dlskills.training.callbacks import Batch, Callback, CallbackList
from dlskills.training.device_numbers import DeviceNumbers
from dlskills.training.history import History
from dlskills.training.interrupts import HeldInterrupts
from dlskills.training.memory import memory_explained
from dlskills.training.state_file import copied_to_host

if TYPE_CHECKING:
    from dlskills.distributed.communicator import Communicator

_STATELESS = Layer.get_state
_NOTHING: AbstractContextManager[None] = nullcontext()


class Loop:
    """Train a network batch by batch.

    Each step takes the current batch, computes loss and gradient, updates the parameters, and
    calls the callbacks. An update, its counters and the position among the batches change
    together: Ctrl-C is held back until the step is complete, and after an error, such as exhausted
    memory, :meth:`run` continues with the same batch and the same Dropout masks, or with the
    callbacks that are still due.

    Parameters
    ----------
    network : Sequential
    optimizer : str or Optimizer
        A name, or any object with ``update(params, grads)``.
    batches : iterable of (x, t) or (x, t, weights), or BatchSource, default ()
        Inputs and targets, and perhaps a weight for each sample, on the network's device. Each pass
        over a list is an epoch. Left out if every batch is given to :meth:`train_on`.
    callbacks : iterable of Callback or callable, default ()
        See :class:`~dlskills.training.Callback`.
    accumulate : int, default 1
        The number of parts in which the gradient of a batch is computed, so that memory for the
        layers' outputs is needed for one part only. The result is the same to rounding, except
        that Batch Normalization takes the statistics of each part.

    Attributes
    ----------
    step : int
        The number of updates so far.
    loss : array, shape (), or None
        The loss of the latest batch before its update, on the device.
    history : History
        What callbacks and evaluations recorded.
    stopped : bool
        Whether a callback ended the training. Set it to False to go on.
    run_id : str or None
        The name of this run in its checkpoints, if there are any.
    communicator : Communicator or None
        The ranks that train together, if several do: see :class:`~dlskills.Trainer`.

    Examples
    --------
    >>> import numpy as np
    >>> from dlskills import SGD, MultiLayerNet
    >>> from dlskills.training import Loop
    >>> batch = np.ones((3, 4), dtype="float32"), np.asarray([0, 1, 1])
    >>> loop = Loop(MultiLayerNet(4, [8], 2, seed=0), SGD(), [batch, batch])
    >>> loop.run(epochs=5)
    >>> loop.step, loop.epoch, len(loop.losses)
    (10, 5, 10)
    """

    communicator: Communicator | None = None

    def __init__(
        self,
        network: Sequential,
        optimizer: str | Any,
        batches: BatchSource | Iterable[Batch] = (),
        callbacks: Iterable[Callback | Callable[..., Any]] = (),
        *,
        accumulate: int = 1,
    ) -> None:
        self.network, self.optimizer = network, chosen_optimizer(optimizer, None)
        self.batches = as_source(batches)
        self._callbacks = CallbackList(callbacks)
        for callback in self._callbacks.all:
            self._check_callback(callback)
        self._passes: Any = network if accumulate == 1 else Accumulated(network, accumulate)
        self.step = 0
        self.loss: Array | None = None
        self.history = History()
        self.stopped = False
        self.run_id: str | None = None
        self._losses, self._records_losses = DeviceNumbers(), True
        self._interrupts = HeldInterrupts()
        self._updating = False
        # what is still to be done of the latest step: a function, its arguments, and whether it is
        # called again after an error
        self._due: deque[tuple[Callable[..., Any], tuple[Any, ...], bool]] = deque()
        self._completing: deque[Callback] = deque()

    def _check_callback(self, callback: Callback) -> None:
        """Refuse a callback that acts after evaluations, which are never made."""
        if callback.needs_evaluations:
            raise ValueError(
                f"{callback!r} acts after evaluations, and a Loop makes none; give it to a "
                "Trainer, or write a callback with after_step or after_epoch"
            )

    @property
    def optimizer_pieces(self) -> Mapping[str, tuple[int, int]] | None:
        """Which elements of each flattened parameter this rank keeps optimizer state for.

        None if it keeps that of all.
        """
        return None

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """The callbacks, in the order in which they are called."""
        return tuple(self._callbacks.all)

    @property
    def epoch(self) -> int:
        """The number of complete epochs; 0 if the steps per epoch are not known."""
        return self.step // self.batches.steps_per_epoch if self.batches.steps_per_epoch else 0

    @property
    def losses(self) -> list[float]:
        """The loss of each batch before its update; reading it waits for the device."""
        return self._losses.read()

    def run(self, epochs: int | None = None, *, steps: int | None = None) -> None:
        """Train for a number of epochs or steps from here.

        Parameters
        ----------
        epochs, steps : int, optional
            At most one of them. An epoch that has begun counts as one. By default an epoch: up to
            the end of the batches, where their number is not known.

        Raises
        ------
        ValueError
            Both are given, or `epochs` where the number of steps in an epoch is not known.
        """
        if epochs is not None and steps is not None:
            raise ValueError(f"give epochs or steps, got epochs={epochs} and steps={steps}")
        per_epoch = self.batches.steps_per_epoch
        if epochs is not None and not per_epoch:
            raise ValueError("these batches have no known number per epoch; give steps=...")
        if per_epoch and steps is None:
            steps = (self.epoch + (1 if epochs is None else epochs)) * per_epoch - self.step
        self._run(None if steps is None else self.step + steps)

    def _run(self, stop: int | None, on_step: Callable[[], None] = lambda: None) -> None:
        """Train up to a step; `on_step` is called after each."""
        with self._interrupts as interrupts:
            try:
                for callback in self.callbacks:
                    callback.before_training(self)
                self._finish()
                while not self.stopped and (stop is None or self.step < stop):
                    interrupts.deliver()
                    # None ends a pass; only where a number of steps is asked for, another begins
                    if not (self._step() or (stop is not None and self._step())):
                        break
                    on_step()
                interrupts.deliver()
                for callback in self.callbacks:
                    callback.after_training(self)
            except KeyboardInterrupt:
                if not (self._due or self._updating):
                    for callback in self.callbacks:
                        callback.interrupted(self)
                raise
            finally:
                with ExitStack() as closing:  # all of them, though one raises
                    for callback in reversed(self.callbacks):
                        closing.callback(callback.close, self)

    def train_on(self, x: Array, t: Array, weights: Array | None = None) -> None:
        """Take one step on a batch of your own, which leaves the position among `batches` alone.

        Parameters
        ----------
        x, t : array
            On the network's device.
        weights : array, shape (N,), optional
            The weight of each sample.
        """
        with self._held():
            self._step((x, t) if weights is None else (x, t, weights))

    def _held(self) -> AbstractContextManager[Any]:
        """Hold back Ctrl-C, unless :meth:`run` does already."""
        return _NOTHING if self._interrupts.active else self._interrupts

    def _step(self, batch: Batch | None = None) -> bool:
        """Take one step, on the current batch if none is given; return whether there was one."""
        if self._due or self._completing:
            self._finish()
        if not self._update(batch):
            return False
        if self._due or self._completing:
            self._finish()
        return True

    def _update(self, batch: Batch | None) -> bool:
        if self._updating:
            raise RuntimeError(
                f"step {self.step + 1} was broken off within its update, so that the parameters "
                "are undefined; go on from a checkpoint: trainer.resume(folder)"
            )
        current = self.batches.current() if batch is None else batch
        if current is None:
            return False
        # most layers have none, and asking them takes time
        layers = [layer for layer in self.network.layers if type(layer).get_state is not _STATELESS]
        states = [layer.get_state() for layer in layers]
        updates = getattr(self.optimizer, "step", None)
        try:
            loss, grads = self._gradient(current, whole=batch is not None)
            self._before_update(loss, current)
            self._updating = True
            self._update_parameters(grads)
        except BaseException as error:
            unchanged = getattr(self.optimizer, "step", None) == updates
            if not self._updating or (isinstance(error, Exception) and unchanged):
                self._updating = False  # an update that fails has changed nothing: it is one pass
                for layer, state in zip(layers, states, strict=True):
                    layer.set_state(state)
            raise
        self.step += 1
        if batch is None:
            self.batches.advance()
        self.loss = loss
        if self._records_losses:
            self._losses.append(loss)
        self._updating = False
        self._schedule(current)
        return True

    def _gradient(self, batch: Batch, whole: bool) -> tuple[Array, Parameters]:
        """Return loss and gradient; a batch of the source may be a rank's part of a whole one."""
        passes: Any = self._passes
        found: tuple[Array, Parameters] = passes.loss_and_gradient(*batch)
        return found

    def _update_parameters(self, grads: Parameters) -> None:
        self.optimizer.update(self.network.params, grads)

    def _before_update(self, loss: Array, batch: Batch) -> None:
        """Look at a loss before the update that follows from it."""

    def _schedule(self, batch: Batch, *, evaluated: bool = False) -> None:
        """Note what is due after an update."""
        callbacks, due = self._callbacks, self._due
        if not callbacks.all:
            return
        if evaluated:
            due.extend((c.after_evaluation, (self,), False) for c in callbacks.after_evaluation)
        due.extend((c.after_step, (self, batch), False) for c in callbacks.after_step)
        per_epoch = self.batches.steps_per_epoch
        if callbacks.after_epoch and per_epoch and self.step % per_epoch == 0:
            due.extend((c.after_epoch, (self,), False) for c in callbacks.after_epoch)
        self._completing.extend(callbacks.step_complete)

    def _finish(self) -> None:
        """Do what is due after an update, or what an error left of it."""
        due = self._due
        while due:
            function, arguments, again = due[0]
            if again:
                function(*arguments)
                due.popleft()
                continue
            due.popleft()  # a callback that raises may do so to end the training
            with self._explained(f"the callbacks after step {self.step}"):
                if function(*arguments):
                    self.stopped = True
        while self._completing:
            self._completing.popleft().step_complete(self)

    def _explained(self, what: str) -> AbstractContextManager[None]:
        remedy = "Free some, and train() continues. Parameters are as after that step"
        return memory_explained(self.network.backend, what, remedy)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the steps to come depend on, as copies on the host.

        Returns
        -------
        dict
            Nested; its leaves are arrays, numbers, text and None.

        Raises
        ------
        RuntimeError
            The latest step is not complete: an error kept it from it.
        """
        if self._due or self._updating:
            raise RuntimeError(
                f"step {self.step} is not complete, an error kept it from that; call train() first"
            )
        return self._state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`, bit for bit.

        Parameters
        ----------
        state : mapping
            Of a loop with the same network, optimizer, batches and callbacks.

        Raises
        ------
        ValueError
            The state belongs to something else; then nothing is changed.
        """
        if len(state["callbacks"]) != len(self.callbacks):
            raise ValueError(
                f"the state has {len(state['callbacks'])} callbacks, this training "
                f"{len(self.callbacks)}; give the same ones in the same order"
            )
        there, here = state.get("kinds of callbacks"), self._kinds(state["callbacks"])
        if there is not None and there != here:
            raise ValueError(
                f"the state is of the callbacks {there!r:.200}, this training has {here!r}; give "
                "the same ones in the same order"
            )
        with self._held():
            before = self._state()
            try:
                self._load(state)
            except BaseException:
                self._load(before)
                raise
            self.loss, self._updating = None, False
            self._due.clear()
            self._completing.clear()

    def _kinds(self, states: Sequence[Any]) -> list[str]:
        """Return the kinds of the callbacks; empty for those without a state."""
        pairs = zip(self.callbacks, states, strict=True)
        return [callback.kind() if state else "" for callback, state in pairs]

    def _state(self) -> dict[str, Any]:
        # copies: a thread may write them while training changes the arrays in place
        callbacks = [copied_to_host(callback.state_dict()) for callback in self.callbacks]
        return {
            "step": self.step,
            "stopped": self.stopped,
            "losses": self._losses.on_host(),
            "history": {name: np.asarray(column) for name, column in self.history.items()},
            "batches": self.batches.state_dict(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "callbacks": callbacks,
            "kinds of callbacks": self._kinds(callbacks),
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        for callback, own in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(own)
            callback.check_loaded(self)
        self.step = check_count("step", state["step"], at_least=0)
        self.stopped = bool(state["stopped"])
        self._losses = DeviceNumbers(map(float, state["losses"]))
        self.history.load_dict(state["history"])

    def resume(self, folder: str | os.PathLike[str]) -> int:
        """Go on from the newest good checkpoint of a folder, bit for bit.

        Call it before training, on a network, optimizer, batches and callbacks that were made as
        those of the run that was stopped. The optimizer's hyperparameters become those of the
        checkpoint, the learning rate too; set ``optimizer.lr`` afterwards to change it.

        Parameters
        ----------
        folder : str or path-like
            Of a :class:`~dlskills.training.Checkpoint`. Where it is empty or missing, nothing is
            done and training starts anew.

        Returns
        -------
        int
            The step of the checkpoint, 0 if there was none.

        Warns
        -----
        UserWarning
            Newer checkpoints were refused, such as damaged ones; the message names them.

        Raises
        ------
        FileFormatError
            There are checkpoints, and none is good, or all belong to another training; the message
            says what differs.
        RuntimeError
            Another process trains with this folder.
        NotADirectoryError
            The path is that of a file.
        """
        from dlskills.training.checkpoint import resume

        return resume(self, folder)

    def about(self) -> dict[str, Any]:
        """Return what identifies the training: a checkpoint of another one is refused.

        Its device and number of epochs or steps are no part of it, nor the hyperparameters of the
        optimizer. Its seed is only where it chooses samples to evaluate or to validate by.
        """
        network = self.network
        return {
            "layers": [repr(layer) for layer in network.layers],
            "loss": repr(network.loss_layer),
            "dtype": dtype_name(network.params.dtype),
            "compute dtype": dtype_name(network.compute_dtype),
            "weight decay": network.weight_decay_lambda,
            "optimizer": type(self.optimizer).__name__,
            "steps per epoch": self.batches.steps_per_epoch,
        }
