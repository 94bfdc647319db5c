"""The training loop of the tutorial."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.arrays.random import resolve_seed, stream
from dlskills.checks import check_choice, check_count, known_keywords
from dlskills.data.batches import Batches
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer
from dlskills.training.arguments import FOREIGN_KEYWORDS, chosen_optimizer
from dlskills.training.capture import CapturedPasses
from dlskills.training.data_checks import checked_parts
from dlskills.training.divergence import DivergenceCheck
from dlskills.training.epoch_line import epoch_line, on_test_data
from dlskills.training.evaluation import Evaluation
from dlskills.training.history import History
from dlskills.training.memory import memory_explained
from dlskills.training.progress import Progress
from dlskills.training.samples import place_samples

if TYPE_CHECKING:
    from dlskills.diagnostics import Monitor


class Trainer:
    """Trains a network on mini-batches, and records losses and accuracies.

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
    epochs : int, default 20
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
    seed : int, optional
        Of the batches; the network's by default, so that one seed repeats a run.
    sampling : {"replacement", "epoch"}, default "replacement"
        The page draws each batch from all samples, and so leaves out 37 % of them in an epoch.
        ``"epoch"`` shuffles, and takes every sample once.
    remainder : {"keep", "drop", "fold"}, default "keep"
        With ``sampling="epoch"``, what becomes of samples that fill no batch: they make a smaller
        last one, are left out, or join the batch before.
    record_loss : {"after", "before", "both"}, default "after"
        The page computes the loss of a batch once more after the update, in test mode.
        ``"before"`` records the one that the gradient was taken of, in training mode, and saves
        that pass. With ``"both"`` the first is in `eval_loss_list`, the second in
        `train_loss_list`.
    evaluate : {"first", "last"}, default "first"
        The tutorial measures accuracies after the first step of each epoch, so those of the
        first epoch are of a network that has hardly learned; ``"last"`` measures after the last.
    evaluate_samples : {"first", "random"}, default "first"
        Which samples, if not all: the page takes the first ones. ``"random"`` draws them once, by
        the seed, so that data in some order do no harm.
    evaluate_every : int, default 1
        Epochs from one evaluation to the next.
    data_on_device : bool, optional
        Whether the data are moved to a CUDA device as a whole. By default they are if those for
        training and testing together take at most half of its free memory; else what is not there
        yet stays on the host, and each batch is copied while the one before it computes.
    capture : bool, default False
        Whether forward and backward pass are recorded as a CUDA graph and launched as a whole: for
        networks on CuPy without Batch Norm and Dropout. CuPy up to 14 records no products of
        matrices, so that this is refused; it is there for a CuPy that does.
    monitor : dlskills.diagnostics.Monitor, optional
        Of `network`: looks into it while it learns. Any object with ``observe(x, t)`` will do,
        which is called after each update with its batch.

    Attributes
    ----------
    train_loss_list : list of float
        A loss for each step, the penalty of weight decay included. Fetched from the device once
        an epoch, and when read.
    eval_loss_list : list of float
        With ``record_loss="both"``, the loss of each batch after its update, in test mode.
    train_acc_list, test_acc_list : list of float
        Accuracies in inference mode, one per evaluation. NaN where there are no classes: for
        :class:`~dlskills.MeanSquaredError` with targets that are not one-hot, and for a network
        with a single output, unless its loss is :class:`~dlskills.BinaryCrossEntropy`.
        `test_acc_list` is empty without test data.
    test_loss_list : list of float
        Losses on the test data in inference mode, one per evaluation, the penalty of weight decay
        included: for a network with a single output, or with MeanSquaredError; otherwise empty.
    penalty_list : list of float
        What weight decay adds to the loss, at each evaluation.
    test_acc, test_loss : float or None
        On all of the test data, after the last step.
    iter_per_epoch : int
        Batches in an epoch: the number of samples over the batch size, rounded up, or down where
        `remainder` is not kept.

    Raises
    ------
    ValueError, TypeError
        A name is not known, an array has the wrong length or labels out of range.
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
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str | Optimizer = "SGD",
        optimizer_param: Mapping[str, Any] | None = None,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        seed: int | None = None,
        sampling: str = "replacement",
        remainder: str = "keep",
        record_loss: str = "after",
        evaluate: str = "first",
        evaluate_samples: str = "first",
        evaluate_every: int = 1,
        data_on_device: bool | None = None,
        capture: bool = False,
        monitor: Monitor | None = None,
    ) -> None:
        self.network = network
        self.verbose = verbose
        self.epochs = check_count("epochs", epochs)
        self.batch_size = check_count("mini_batch_size", mini_batch_size)
        self.sampling = check_choice("sampling", sampling, ("replacement", "epoch"))
        self.record_loss = check_choice("record_loss", record_loss, ("after", "before", "both"))
        self.evaluate = check_choice("evaluate", evaluate, ("first", "last"))
        self.evaluate_every = check_count("evaluate_every", evaluate_every)
        if evaluate_sample_num_per_epoch is not None:
            evaluate_sample_num_per_epoch = check_count(
                "evaluate_sample_num_per_epoch", evaluate_sample_num_per_epoch
            )
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.evaluate_samples = check_choice(
            "evaluate_samples", evaluate_samples, ("first", "random")
        )
        if getattr(monitor, "network", network) is not network:
            raise ValueError("monitor looks at another network; make one with Monitor(network)")
        self.monitor = monitor
        self.seed = resolve_seed(network.seed if seed is None else seed)
        self.optimizer = chosen_optimizer(optimizer, optimizer_param)
        parts = checked_parts(network, x_train, t_train, x_test, t_test)
        self._batches = Batches(
            x_train.shape[0],
            self.batch_size,
            replacement=self.sampling == "replacement",
            remainder=remainder,
            seed=stream(self.seed, "batches"),
        )
        placed = place_samples(
            network.backend,
            parts,
            network.compute_dtype,
            self._batches.largest,
            data_on_device,
        )
        self._train = placed[0]
        self._test = placed[1] if len(placed) > 1 else None
        self._evaluation = Evaluation(
            network,
            self._train,
            self._test,
            evaluate_sample_num_per_epoch,
            self.evaluate_samples,
            self.seed,
        )
        if isinstance(self.optimizer, Optimizer):  # memory that is short for it is missed now
            with memory_explained(
                network.backend,
                f"the state of {type(self.optimizer).__name__}",
                "free some, or make the network smaller",
            ):
                self.optimizer.prepare(network.params)

        self._passes = CapturedPasses(network) if capture else network
        self.train_size = x_train.shape[0]
        self.iter_per_epoch = len(self._batches)
        self.max_iter = self.epochs * self.iter_per_epoch
        self.current_iter = 0
        self.current_epoch = 0
        # of an epoch that has begun
        self._order: np.ndarray[Any, Any] | None = None
        # what is still to be done of the last step
        self._unrecorded: tuple[Array, Array] | None = None
        self._unobserved: tuple[Array, Array] | None = None
        self._evaluation_due = False

        self._train_losses, self._eval_losses = History(), History()
        self._divergence = DivergenceCheck(network, self.optimizer)
        self.train_acc_list = self._evaluation.train_acc_list
        self.test_acc_list = self._evaluation.test_acc_list
        self.test_loss_list = self._evaluation.test_loss_list
        self.penalty_list = self._evaluation.penalty_list
        self.test_acc: float | None = None
        self.test_loss: float | None = None

    @property
    def x_train(self) -> Array:
        """The inputs to train on, where they live."""
        return self._train.x

    @property
    def t_train(self) -> Array:
        """Their targets."""
        return self._train.t

    @property
    def x_test(self) -> Array | None:
        """The inputs to test on, where they live; None without test data."""
        return None if self._test is None else self._test.x

    @property
    def t_test(self) -> Array | None:
        """Their targets."""
        return None if self._test is None else self._test.t

    def train_step(self) -> None:
        """One batch, one update; at the turn of an epoch, accuracies.

        After an error, as of exhausted memory, call it again (or :meth:`train`): where there was
        no update, the same batch is taken once more, with the same Dropout masks; what an error
        kept the last step from is done first. (An update is one pass over the parameters, all or
        nothing; forced onto the engine ``"plain"`` it is several, and may be left half done.)

        Raises
        ------
        DeviceMemoryError
            The device has no memory left; the message says for what, and where training stands.
        """
        self._finish_step()
        done = self.current_iter
        with memory_explained(
            self.network.backend,
            f"step {done + 1} with mini_batch_size={self.batch_size}",
            f"make mini_batch_size smaller; parameters and history are as after step {done}",
        ):
            self._update()
        self._finish_step()

    def _update(self) -> None:
        position = self.current_iter % self.iter_per_epoch
        if self._order is None:
            self._order = self._batches.epoch()
        if position == 0:
            # an epoch's indices are moved together: a copy a step would make a GPU wait
            self._train.start_epoch(self._order, self._batches.bounds)
        batch = self._train.batch(position)

        layers = self.network.layers
        states = [layer.get_state() for layer in layers]
        try:
            loss, grads = self._passes.loss_and_gradient(*batch)
            self.optimizer.update(self.network.params, grads)
        except BaseException:
            for layer, state in zip(layers, states, strict=True):
                layer.set_state(state)
            raise
        self.current_iter += 1
        if position == self.iter_per_epoch - 1:
            self._order = None
        if self.record_loss != "after":
            self._train_losses.append(loss)
        if self.record_loss != "before":
            self._unrecorded = batch
        self._unobserved = None if self.monitor is None else batch
        last = 0 if self.evaluate == "first" else self.iter_per_epoch - 1
        self._evaluation_due = position == last

    def _finish_step(self) -> None:
        """Do what follows an update, or what is left of it after an error."""
        step = self.current_iter
        if self._unrecorded is not None:
            with self._explained(f"the loss after step {step}"):
                loss = self.network.loss(*self._unrecorded)
            after = self._eval_losses if self.record_loss == "both" else self._train_losses
            after.append(loss)
            self._unrecorded = None
        if self.monitor is not None and self._unobserved is not None:
            # a monitor that raises is not asked twice: it may do so to end the training
            batch, self._unobserved = self._unobserved, None
            with self._explained(f"the monitor's look after step {step}"):
                self.monitor.observe(*batch)
        if self._evaluation_due:
            self._end_epoch()

    def _explained(self, what: str) -> AbstractContextManager[None]:
        remedy = "free some, and train() goes on; parameters are as after that step"
        return memory_explained(self.network.backend, what, remedy)

    def _end_epoch(self) -> None:
        with self._explained(f"the losses until step {self.current_iter}"):
            self._check_losses()
        ended = self.current_epoch + (self.evaluate == "last")
        if ended % self.evaluate_every == 0:
            with self._explained(f"the accuracies after step {self.current_iter}"):
                self._evaluation.record(self.current_iter)
        self.current_epoch += 1
        self._evaluation_due = False

    def train(self) -> None:
        """Train for all epochs that are left.

        Raises
        ------
        DivergedError
            The loss, or a parameter at the end, is not finite. What was recorded stays.
        """
        with Progress(self.max_iter, "training", show=self.verbose) as progress:
            while self.current_iter < self.max_iter:
                self.train_step()
                progress.advance()
                if self.verbose and self.current_iter % self.iter_per_epoch == 0:
                    progress.note(self._line())
            self._finish_step()
            with self._explained(f"the accuracy after step {self.current_iter}"):
                self._check_losses()
                self._divergence.parameters(self.current_iter)
                self.test_acc, self.test_loss = self._evaluation.final()
            if final := on_test_data(self.test_acc, self.test_loss):
                progress.note(f"final {final}")

    def _line(self) -> str:
        """What there is to say at the end of an epoch."""
        with self._explained(f"the losses until step {self.current_iter}"):
            self._check_losses()
        return epoch_line(
            self.current_iter // self.iter_per_epoch,
            self.epochs,
            self.train_loss_list[-self.iter_per_epoch :],
            self._evaluation.latest,
            self.current_iter,
        )

    @property
    def train_loss_list(self) -> list[float]:
        """A loss for each step so far; reading it waits for the device."""
        return self._train_losses.read()

    @property
    def eval_loss_list(self) -> list[float]:
        """A loss for each step so far, after its update and in test mode, if those are recorded.

        Reading it waits for the device.
        """
        return self._eval_losses.read()

    def _check_losses(self) -> None:
        self._divergence.losses(self._train_losses.read())

    def __repr__(self) -> str:
        return (
            f"<Trainer of a {type(self.network).__name__} by {self.optimizer!r}: epoch "
            f"{self.current_epoch} of {self.epochs}, step {self.current_iter} of {self.max_iter}>"
        )
