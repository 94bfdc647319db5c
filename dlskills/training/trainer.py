"""The trainer of the tutorial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Array
from dlskills.arrays.parameters import Parameters
from dlskills.arrays.random import resolve_seed, stream
from dlskills.arrays.share import parts_of
from dlskills.checks import check_choice, check_count, known_keywords
from dlskills.data.batches import Batches
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer
from dlskills.training.arguments import (
    FOREIGN_KEYWORDS,
    Observer,
    chosen_optimizer,
    monitoring,
)
from dlskills.training.batch_source import SampleBatches
from dlskills.training.best import check_measured
from dlskills.training.budget import Budget
from dlskills.training.callbacks import Batch, Callback, checked_callbacks, may_add_columns
from dlskills.training.capture import CapturedPasses
from dlskills.training.data_checks import checked_parts
from dlskills.training.device_numbers import DeviceNumbers
from dlskills.training.divergence import DivergenceCheck
from dlskills.training.epoch_line import epoch_line, measured
from dlskills.training.evaluation import PARTS, Evaluation
from dlskills.training.loop import Loop
from dlskills.training.memory import memory_explained
from dlskills.training.metrics import Metrics
from dlskills.training.progress import Progress
from dlskills.training.ranks import Ranks, check_options, is_first, on_this_rank
from dlskills.training.samples import Samples, place_samples

if TYPE_CHECKING:
    from dlskills.distributed import Communicator


class Trainer(Loop):
    """Trains a network on mini-batches of a data set, and records losses and accuracies.

    Parameters
    ----------
    network : Sequential
        Any network; trained where it lives.
    x_train, t_train : array
        Inputs (N, ...), and targets as the loss takes them: labels, integers (N,) or one-hot
        (N, C), or numbers in the outputs' shape for :class:`~dlskills.MeanSquaredError`. Moved to
        the network's device once, if they are elsewhere.
    x_test, t_test : array, optional
        The same for testing. Without them nothing is measured on test data.
    epochs : int, optional
        20 by default, unless `steps` is given. May be set later: :meth:`train` then goes on up to
        the new number.
    mini_batch_size : int, default 100
    optimizer : str or Optimizer, default "SGD"
        A name in any case, or an optimizer; any object with ``update(params, grads)`` will do.
    optimizer_param : mapping, optional
        Hyperparameters for the optimizer named; what is left out takes that optimizer's own
        default: a learning rate of 0.01 for SGD, 0.001 for Adam. (The tutorial's default,
        ``{"lr": 0.01}``, applies to every optimizer, and is ten times Adam's own.)
    evaluate_sample_num_per_epoch : int, optional
        Number of samples that each evaluation is based on; all by default.
    verbose : bool, default True
        Whether to show progress: a bar in a terminal, and a line at the end of each epoch with
        the mean of its losses, its accuracies, and the step they were measured at.
    steps : int, optional
        The number of steps to train for, in place of `epochs`. An epoch remains one pass over the
        training data, for evaluations, callbacks and the history. May be set later, too.
    seed : int, optional
        Of the batches; the network's by default, so that one seed repeats a run.
    validation : float or (x, t), optional
        Data to choose hyperparameters by, or when to stop: a fraction of the training data, drawn
        by the seed and left out of training, or arrays of their own.
    metrics : sequence or mapping, optional
        What each evaluation measures on each part of the data: ``"accuracy"``, ``"loss"``, and
        functions ``(outputs, targets) -> number`` of all samples of a part, outputs being scores
        before softmax; a mapping names them. By default accuracies; the loss, too, on validation
        data, and on test data where there may be no accuracy.
    callbacks : iterable of Callback or callable, default ()
        Called between steps: see :class:`~dlskills.training.Callback`, and
        :class:`~dlskills.training.EarlyStopping` and :class:`~dlskills.training.Checkpoint`.
    accumulate : int, default 1
        The number of parts in which the gradient of each batch is computed, to save memory. (In
        Keras, ``gradient_accumulation_steps=n`` with batches of b is ``mini_batch_size=n * b,
        accumulate=n`` here.)
    sample_weights : array, shape (N,), optional
        The weight of each training sample, at least 0. The loss of a batch is then the mean of
        weight times loss over its samples, not divided by the sum of the weights: weights with
        mean 1 keep the size of the steps. Metrics are not weighted. For weights per class, see
        `class_weights` of :class:`~dlskills.SoftmaxWithLoss`.
    sampling : {"replacement", "epoch"}, default "replacement"
        The tutorial draws each batch from all samples, and so leaves out 37 % of them per epoch.
        ``"epoch"`` shuffles, and takes every sample once.
    remainder : {"keep", "drop", "fold"}, default "keep"
        With ``sampling="epoch"``, what becomes of samples that fill no batch: they make a smaller
        last one, are left out, or join the batch before.
    record_loss : {"after", "before", "both"}, default "after"
        The tutorial computes the loss of a batch once more after the update, in inference mode.
        ``"before"`` records the loss whose gradient was taken, in training mode, and saves that
        pass. With ``"both"`` the first is in `eval_loss_list`, the second in `train_loss_list`.
    evaluate : {"first", "last", "never"}, default "first"
        The tutorial measures accuracies after the first step of each epoch, so those of the
        first epoch are of a network that has hardly learned; ``"last"`` measures after the last,
        and so not in an epoch that `steps` leaves incomplete. With ``"never"`` the history stays
        empty; `test_acc` and `test_loss` are still measured at the end.
    evaluate_on : str or sequence of str, optional
        The parts of the data that evaluations measure: of ``"train"``, ``"validation"`` and
        ``"test"``; by default all that there are. The history lacks the columns of the others, and
        their lists stay empty.
    evaluate_samples : {"first", "random"}, default "first"
        Which samples, if not all: the tutorial takes the first ones. ``"random"`` draws them once,
        by the seed, so that sorted data do no harm.
    evaluate_every : int, default 1
        The number of epochs from one evaluation to the next.
    data_on_device : bool, optional
        Whether the data are moved to a CUDA device as a whole. By default they are if those for
        training and testing together take at most half of its free memory; otherwise they stay on
        the host, and each batch is copied while the one before it computes.
    capture : bool, default False
        Whether forward and backward pass are recorded as a CUDA graph and launched as a whole: for
        networks on CuPy without Batch Norm and Dropout. CuPy up to 14 can't record matrix
        products, so there this is refused.
    monitor : dlskills.diagnostics.Monitor, optional
        Of `network`: looks into it while it learns. Any object with ``observe(x, t)`` will do; it
        is called after each update with its batch.
    communicator : Communicator, optional
        The ranks that share each batch, in a script that ``mpiexec -n N`` starts: ``mpi()`` or
        ``nccl()`` of :mod:`dlskills.distributed`. All ranks make the same trainer. N ranks follow
        one process with the same `mini_batch_size` to rounding; rank 0 alone prints and saves.
    sharded : bool, default False
        Whether each rank keeps only its part of the optimizer's state: see
        :class:`~dlskills.distributed.Sharded`.
    sync : bool, default True
        Whether Batch Normalization takes the statistics of the batch on all ranks, or else of the
        rank's rows.

    Attributes
    ----------
    history : History
        A row per evaluation: a mapping of lists such as ``history["test_accuracy"]``, with
        ``to_csv(path)`` and ``plot()``.
    train_loss_list : list of float
        The loss of each step, the penalty of weight decay included. Fetched from the device once
        per epoch, and when read.
    eval_loss_list : list of float
        With ``record_loss="both"``, the loss of each batch after its update, in inference mode.
    train_acc_list, test_acc_list : list of float
        Accuracies in inference mode, one per evaluation; empty where `evaluate_on` leaves out the
        part. NaN where there are no classes: for
        :class:`~dlskills.MeanSquaredError` with targets that are not one-hot, and for a network
        with a single output, unless its loss is :class:`~dlskills.BinaryCrossEntropy`.
        `test_acc_list` is empty without test data.
    test_loss_list : list of float
        Losses on the test data in inference mode, one per evaluation, the penalty of weight decay
        included: for a network with a single output, with MeanSquaredError, or where `metrics`
        asks for it; otherwise empty.
    penalty_list : list of float
        What weight decay adds to the loss, at each evaluation.
    test_acc, test_loss : float or None
        On all of the test data, after the last step.
    iter_per_epoch : int
        The number of batches per epoch: that of the samples over the batch size, rounded up, or
        down where `remainder` is not kept.
    current_iter, current_epoch : int
        The number of steps, and of epochs evaluated, so far.

    Raises
    ------
    ValueError, TypeError
        A name is unknown, an array has the wrong length, or labels are out of range.
    DeviceMemoryError
        The data do not fit.
    """

    @known_keywords(FOREIGN_KEYWORDS)
    def __init__(
        self,
        network: Sequential,
        x_train: Array,
        t_train: Array,
        x_test: Array | None = None,
        t_test: Array | None = None,
        epochs: int | None = None,
        mini_batch_size: int = 100,
        optimizer: str | Optimizer = "SGD",
        optimizer_param: Mapping[str, Any] | None = None,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        steps: int | None = None,
        seed: int | None = None,
        validation: float | tuple[Array, Array] | None = None,
        metrics: Metrics | None = None,
        callbacks: Iterable[Callback | Callable[..., Any]] = (),
        accumulate: int = 1,
        sample_weights: Array | None = None,
        sampling: str = "replacement",
        remainder: str = "keep",
        record_loss: str = "after",
        evaluate: str = "first",
        evaluate_on: str | Sequence[str] | None = None,
        evaluate_samples: str = "first",
        evaluate_every: int = 1,
        data_on_device: bool | None = None,
        capture: bool = False,
        monitor: Observer | None = None,
        communicator: Communicator | None = None,
        sharded: bool = False,
        sync: bool = True,
    ) -> None:
        check_options(communicator, sharded, capture, sample_weights is not None)
        accumulate = check_count("accumulate", accumulate)
        self.communicator = communicator
        self.verbose = verbose and is_first(communicator)
        self._budget = Budget(epochs, steps)
        self.batch_size = check_count("mini_batch_size", mini_batch_size)
        self.sampling = check_choice("sampling", sampling, ("replacement", "epoch"))
        self.record_loss = check_choice("record_loss", record_loss, ("after", "before", "both"))
        self.evaluate = check_choice("evaluate", evaluate, ("first", "last", "never"))
        self.evaluate_every = check_count("evaluate_every", evaluate_every)
        if evaluate_sample_num_per_epoch is not None:
            evaluate_sample_num_per_epoch = check_count(
                "evaluate_sample_num_per_epoch", evaluate_sample_num_per_epoch
            )
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.evaluate_samples = check_choice(
            "evaluate_samples", evaluate_samples, ("first", "random")
        )
        self.monitor = monitor
        self.seed = resolve_seed(network.seed if seed is None else seed)
        # of the validation data or those evaluated, which a checkpoint does not hold
        self._seed_chooses_samples = isinstance(validation, float) or evaluate_samples == "random"
        optimizer = chosen_optimizer(optimizer, optimizer_param)
        self._parts = self._placed(
            network,
            checked_parts(
                network, x_train, t_train, x_test, t_test, validation, self.seed, sample_weights
            ),
            remainder,
            data_on_device,
            accumulate,
        )
        self._evaluation = Evaluation(
            network, self._parts, metrics, evaluate_sample_num_per_epoch, evaluate_samples,
            self.seed, communicator, evaluate_on,
        )  # fmt: skip
        if (
            isinstance(optimizer, Optimizer) and not sharded
        ):  # so that memory that is short for it shows now
            with memory_explained(
                network.backend,
                f"the state of {type(optimizer).__name__}",
                "Free some, or make the network smaller",
            ):
                optimizer.prepare(network.params)
        self._source = SampleBatches(
            self._parts["train"], self._batches, *self._rank_of_ranks(), accumulate
        )
        super().__init__(
            network,
            optimizer,
            self._source,
            on_this_rank(
                [*monitoring(network, monitor), *checked_callbacks(callbacks)], communicator
            ),
            accumulate=accumulate if communicator is None else 1,  # otherwise the ranks do
        )
        if capture:
            if accumulate != 1:
                raise ValueError(
                    f"capture=True records whole batches, got accumulate={accumulate}; leave out "
                    "one of them"
                )
            self._passes = CapturedPasses(network)
        self.iter_per_epoch = len(self._batches)
        self._evaluated_at = 1 % self.iter_per_epoch if evaluate == "first" else 0
        self.train_size = int(self._parts["train"].x.shape[0])
        self.current_epoch = 0
        self._records_losses = record_loss != "after"
        self._after_losses = DeviceNumbers()
        self._mean_from = 0  # the mean loss in the next row of the history starts after this step
        self._divergence = DivergenceCheck(network, optimizer)
        # on a GPU, reading a loss would wait for it: there, evaluations look at all losses
        device_kind = getattr(network.backend.device, "type", "cpu")
        self._reads_freely = network.backend.name != "cupy" and device_kind == "cpu"
        self.test_acc: float | None = None
        self.test_loss: float | None = None
        self._ranks: Ranks | None = None
        if communicator is not None:
            self._ranks = Ranks(self, communicator, sharded, sync, accumulate)

    def _check_callback(self, callback: Callback) -> None:
        """Refuse a callback that acts after evaluations, or by a metric, that are never made."""
        if callback.needs_evaluations and self.evaluate == "never":
            raise ValueError(
                f"{callback!r} acts after evaluations, and evaluate='never' makes none; give "
                "evaluate='first' or 'last', or leave out the callback"
            )
        part = (callback.follows or "").partition("_")[0]
        if part in self._parts and part not in self._evaluation.on:
            raise ValueError(
                f"{callback!r} follows {callback.follows!r}, and evaluations leave out the {part} "
                f"data, got evaluate_on={self._evaluation.on}; add {part!r} to it"
            )
        if callback.follows and part in PARTS and not any(map(may_add_columns, self.callbacks)):
            check_measured(callback.follows, self._evaluation.columns)

    def _rank_of_ranks(self) -> tuple[int, int]:
        """Return the number of this process, and of how many."""
        communicator = self.communicator
        return (0, 1) if communicator is None else (communicator.rank, communicator.size)

    def _placed(
        self,
        network: Sequential,
        parts: Mapping[str, tuple[Array, ...]],
        remainder: str,
        data_on_device: bool | None,
        accumulate: int,
    ) -> dict[str, Samples]:
        """Draw batches of the training data, and put all parts where they are trained on."""
        self._batches = Batches(
            parts["train"][0].shape[0],
            self.batch_size,
            replacement=self.sampling == "replacement",
            remainder=remainder,
            seed=stream(self.seed, "batches"),
        )
        largest, ranks = self._batches.largest, self._rank_of_ranks()[1]
        if ranks > 1:
            cuts = parts_of(largest, accumulate)
            largest = sum(-(-(stop - start) // ranks) for start, stop in cuts)
        placed = place_samples(
            network.backend, parts, network.compute_dtype, largest, data_on_device
        )
        return dict(zip(parts, placed, strict=True))

    @property
    def x_train(self) -> Array:
        """The inputs to train on, where they live."""
        return self._parts["train"].x

    @property
    def t_train(self) -> Array:
        """Their targets."""
        return self._parts["train"].t

    @property
    def x_test(self) -> Array | None:
        """The inputs to test on, where they live; None without test data."""
        return self._parts["test"].x if "test" in self._parts else None

    @property
    def t_test(self) -> Array | None:
        """Their targets."""
        return self._parts["test"].t if "test" in self._parts else None

    @property
    def epochs(self) -> int:
        """The number of epochs that :meth:`train` goes up to; it may be set.

        A training that a callback stopped then goes on. Where a number of steps was given, an epoch
        that they leave incomplete counts.
        """
        return self._budget.in_epochs(self.iter_per_epoch)

    @epochs.setter
    def epochs(self, epochs: int) -> None:
        self._set_budget(Budget(epochs=check_count("epochs", epochs)))

    def _set_budget(self, budget: Budget) -> None:
        self._budget, self.stopped = budget, False

    @property
    def steps(self) -> int:
        """The number of steps that :meth:`train` goes up to; it may be set, as `epochs` may."""
        return self._budget.in_steps(self.iter_per_epoch)

    @steps.setter
    def steps(self, steps: int) -> None:
        self._set_budget(Budget(steps=check_count("steps", steps)))

    @property
    def max_iter(self) -> int:
        """The number of steps in all epochs, or that of `steps`."""
        return self.steps

    @property
    def current_iter(self) -> int:
        """The number of steps so far."""
        return self.step

    def train_step(self) -> None:
        """Train on one batch; in an epoch's first or last step, evaluate.

        After an error, such as exhausted memory, call it again (or :meth:`train`): if there was no
        update, it takes the same batch with the same Dropout masks; otherwise it first does what
        the error kept the last step from. (An update is one pass over the parameters, all or
        nothing; forced onto the engine ``"plain"`` it is several, and may be left half done.)

        Raises
        ------
        DeviceMemoryError
            The device is out of memory; the message says for what, and where training stands.
        DivergedError
            The loss is not finite.
        """
        with self._held():
            self._step()

    def _update(self, batch: Batch | None) -> bool:
        done = self.step
        try:
            return super()._update(batch)
        except Exception as error:
            left = f"Parameters and history are as after step {done}"
            if self._updating:  # it failed after a part of the update
                left = "Parameters are undefined; go on from a checkpoint: trainer.resume(folder)"
            with memory_explained(
                self.network.backend,
                f"step {done + 1} with mini_batch_size={self.batch_size}",
                f"Make mini_batch_size smaller. {left}",
            ):
                raise error

    def _gradient(self, batch: Batch, whole: bool) -> tuple[Array, Parameters]:
        if self._ranks is None:
            return super()._gradient(batch, whole)
        return self._ranks.gradient(batch, None if whole else self._source.total)

    def _update_parameters(self, grads: Parameters) -> None:
        if self._ranks is None:
            super()._update_parameters(grads)
        else:
            self._ranks.update(grads)

    def _step(self, batch: Batch | None = None) -> bool:
        done = super()._step(batch)
        if self._ranks is not None and self.callbacks:  # which may stop one rank alone
            self.stopped = self._ranks.any(self.stopped)
        return done

    def _run(self, stop: int | None, on_step: Callable[[], None] = lambda: None) -> None:
        super()._run(stop, on_step)
        if self.communicator is not None:
            self.communicator.reached(None)

    def _before_update(self, loss: Array, batch: Batch) -> None:
        if self._reads_freely and not math.isfinite(loss):
            self._check_losses(batch)
            self._divergence.loss(float(loss), self.step + 1, self._recorded.read(-1), batch)

    def _schedule(self, batch: Batch, *, evaluated: bool = False) -> None:
        if self.record_loss != "before":
            self._due.append((self._record_loss_after, batch, True))
        if self.step % self.iter_per_epoch == self._evaluated_at:
            ended = self.current_epoch + (self.evaluate == "last")
            evaluated = self.evaluate != "never" and ended % self.evaluate_every == 0
            self._due.append((self._end_epoch, (batch, evaluated), True))
        super()._schedule(batch, evaluated=evaluated)

    def _record_loss_after(self, x: Array, t: Array, weights: Array | None = None) -> None:
        with self._explained(f"the loss after step {self.step}"):
            loss = self.network.loss if self._ranks is None else self._ranks.loss
            weighted = {} if weights is None else {"weights": weights}
            self._after_losses.append(loss(x, t, **weighted))

    def _end_epoch(self, batch: Batch, evaluated: bool) -> None:
        with self._explained(f"the losses until step {self.step}"):
            self._check_losses(batch)
        if evaluated:
            with self._explained(f"the accuracies after step {self.step}"):
                self._record_evaluation()
        self.current_epoch += 1

    def _record_evaluation(self) -> None:
        if self._ranks is not None:
            self._ranks.average_statistics()
        losses = self._recorded.read(self._mean_from)
        row = {
            "step": float(self.step),
            "epoch": self.step / self.iter_per_epoch,
            "loss": math.fsum(losses) / len(losses) if losses else math.nan,
            "lr": float(getattr(self.optimizer, "lr", math.nan)),
            **self._evaluation.measure(),
            "penalty": float(self.network.penalty()),
        }
        self.history.add(row)
        self._mean_from = self.step

    def train(self, epochs: int | None = None, *, steps: int | None = None) -> None:
        """Train up to `self.epochs` or `self.steps`, or for a number of further ones.

        Parameters
        ----------
        epochs : int, optional
            Train for this many more epochs, from here or to the end of the one that has begun;
            `self.epochs` grows if it is passed, and a training that a callback stopped goes on.
        steps : int, optional
            The same in steps, in place of `epochs`.

        Raises
        ------
        ValueError
            Both are given.
        DivergedError
            The loss, or a parameter at the end, is not finite. What was recorded stays.
        """
        stop = self.steps if epochs is steps is None else self._further(Budget(epochs, steps))
        with Progress(stop, "training", done=self.step, show=self.verbose) as progress:
            if 0 < self.step < stop:
                progress.note(f"continues after step {self.step}")

            def on_step() -> None:
                progress.advance()
                ended = self.step % self.iter_per_epoch == 0
                if self.verbose and (ended or self.step == stop):
                    progress.note(self._line())

            self._run(stop, on_step)
            with self._explained(f"the accuracy after step {self.step}"):
                self._check_losses(None)
                self._divergence.parameters(self.step)
                if self._ranks is not None:
                    self._ranks.average_statistics()
                final = self._evaluation.on_test_data()
            self.test_acc, self.test_loss = final.get("accuracy"), final.get("loss")
            if shown := measured({f"test_{name}": number for name, number in final.items()}):
                progress.note(f"final {shown}")

    def _further(self, budget: Budget) -> int:
        """Return the step after a number of further epochs or steps, up to which to train."""
        if budget.steps is None:
            last = self.epoch + budget.epochs
            stop = last * self.iter_per_epoch
            if stop > self.steps:
                self.epochs = last
        else:
            stop = self.step + budget.steps
            if stop > self.steps:
                self.steps = stop
        self.stopped = False
        return stop

    def _line(self) -> str:
        """Return what there is to say at the end of an epoch, or of the steps."""
        with self._explained(f"the losses until step {self.step}"):
            self._check_losses(None)
        by_steps = self._budget.steps is not None
        return epoch_line(
            self.step if by_steps else self.epoch, self.steps if by_steps else self.epochs,
            self._recorded.read(-(self.step % self.iter_per_epoch or self.iter_per_epoch)),
            self.history.latest, self.step, "step" if by_steps else "epoch",
        )  # fmt: skip

    @property
    def losses(self) -> list[float]:
        """The loss of each batch before its update; empty with ``record_loss="after"``."""
        return super().losses

    @property
    def train_loss_list(self) -> list[float]:
        """The loss of each step so far; reading it waits for the device."""
        return self._recorded.read()

    @property
    def _recorded(self) -> DeviceNumbers:
        return self._after_losses if self.record_loss == "after" else self._losses

    @property
    def eval_loss_list(self) -> list[float]:
        """With ``record_loss="both"``, the loss of each batch after its update.

        In inference mode; reading it waits for the device.
        """
        return self._after_losses.read() if self.record_loss == "both" else []

    @property
    def train_acc_list(self) -> list[float]:
        """The accuracies on the training data, one per evaluation."""
        return self.history.get("train_accuracy", [])

    @property
    def test_acc_list(self) -> list[float]:
        """The accuracies on the test data, one per evaluation; empty without test data."""
        return self.history.get("test_accuracy", [])

    @property
    def test_loss_list(self) -> list[float]:
        """The losses on the test data, one per evaluation, where they are measured."""
        return self.history.get("test_loss", [])

    @property
    def penalty_list(self) -> list[float]:
        """What weight decay adds to the loss, at each evaluation."""
        return self.history.get("penalty", [])

    def _check_losses(self, batch: Batch | None) -> None:
        self._divergence.losses(self._recorded, batch)

    @property
    def optimizer_pieces(self) -> Mapping[str, tuple[int, int]] | None:
        if self._ranks is None or self._ranks.sharded is None:
            return None
        return self._ranks.sharded.pieces

    def _state(self) -> dict[str, Any]:
        if self._ranks is not None:
            self._ranks.average_statistics()
        pieces = self.optimizer_pieces
        return (
            super()._state()
            | ({} if pieces is None else {"pieces": pieces})
            | {
                "current_epoch": self.current_epoch,
                "mean_from": self._mean_from,
                "losses_after": self._after_losses.on_host(),
            }
        )

    def _load(self, state: Mapping[str, Any]) -> None:
        pieces = self.optimizer_pieces
        if "pieces" in state:
            given = {name: tuple(piece) for name, piece in state["pieces"].items()}
            if given != pieces:
                raise ValueError(
                    "the state has a part of the optimizer's state, of another rank or number of "
                    "ranks; checkpoints fit any number"
                )
        elif self._ranks is not None:
            state = {**state, "optimizer": self._ranks.piece_of(state["optimizer"])}
        super()._load(state)
        self.current_epoch = check_count("current_epoch", state["current_epoch"], at_least=0)
        self._mean_from = check_count("mean_from", state["mean_from"], at_least=0)
        self._after_losses = DeviceNumbers(map(float, state["losses_after"]))
        self._divergence = DivergenceCheck(self.network, self.optimizer)
        self.test_acc = self.test_loss = None

    def about(self) -> dict[str, Any]:
        settings = (
            "sampling", "record_loss", "evaluate", "evaluate_every", "evaluate_samples",
            "evaluate_sample_num_per_epoch",
        )  # fmt: skip
        drawn = {"seed": self.seed} if self._seed_chooses_samples else {}
        weights = self._parts["train"].digest_of_weights()
        return (
            super().about()
            | drawn
            | ({} if weights is None else {"sample weights": weights})
            | ({} if self._evaluation.on_all else {"evaluate_on": list(self._evaluation.on)})
            | {
                "mini_batch_size": self.batch_size,
                "remainder": self._batches.remainder,
                **{name: getattr(self, name) for name in settings},
                **{f"{part} data": samples.digest() for part, samples in self._parts.items()},
            }
        )

    def __repr__(self) -> str:
        return (
            f"<Trainer of a {type(self.network).__name__} by {self.optimizer!r}: epoch "
            f"{self.current_epoch} of {self.epochs}, step {self.step} of {self.max_iter}>"
        )
