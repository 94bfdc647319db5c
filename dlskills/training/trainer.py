"""The training loop of the tutorial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dlskills.backend import Array, to_host
from dlskills.checks import check_choice, check_count
from dlskills.data.batches import Batches
from dlskills.layers import SoftmaxWithLoss, check_labels
from dlskills.optimizers import Optimizer, make_optimizer
from dlskills.random import resolve_seed, stream
from dlskills.sequential import Sequential
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from dlskills.diagnostics import Monitor

_SGD_PARAM: Mapping[str, Any] = MappingProxyType({"lr": 0.01})


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number."""


class Trainer:
    """Trains a network on mini-batches, and records losses and accuracies.

    Parameters
    ----------
    network : Sequential
        Any network; trained where it lives.
    x_train, t_train, x_test, t_test : array
        Inputs (N, ...) and labels, integers (N,) or one-hot (N, C). Moved to the network's device
        once, if they are elsewhere.
    epochs : int, default 20
    mini_batch_size : int, default 100
    optimizer : str or Optimizer, default "SGD"
        A name in any case, or an optimizer; any object with ``update(params, grads)`` will do.
    optimizer_param : mapping, default {"lr": 0.01}
        Hyperparameters for the optimizer named. Mind that the page's default is meant for SGD:
        for ``"adam"`` give ``{"lr": 0.001}``.
    evaluate_sample_num_per_epoch : int, optional
        Accuracies are of the first so many samples; of all by default.
    verbose : bool, default True
        Whether to show progress: a bar in a terminal, else a line an epoch.
    seed : int, optional
        Of the batches; the network's by default, so that one seed repeats a run.
    sampling : {"replacement", "epoch"}, default "replacement"
        The page draws each batch from all samples, and so leaves out 37 % of them in an epoch.
        ``"epoch"`` shuffles, and takes every sample once; the last batch may be smaller.
    record_loss : {"after", "before"}, default "after"
        The page computes the loss of a batch once more after the update, in test mode.
        ``"before"`` records the one that the gradient was taken of, and saves that pass.
    evaluate : {"first", "last"}, default "first"
        The page measures accuracies after the first step of each epoch; ``"last"`` after its
        last.
    monitor : dlskills.diagnostics.Monitor, optional
        Of `network`: looks into it while it learns. Any object with ``observe(x, t)`` will do,
        which is called after each update with its batch.

    Attributes
    ----------
    train_loss_list : list of float
        A loss for each step. Fetched from the device once an epoch, and when read.
    train_acc_list, test_acc_list : list of float
        Accuracies in test mode, one an epoch; NaN for a network with a single output.
    test_acc : float or None
        On all of the test data, at the end.
    iter_per_epoch : int
        The number of samples over the batch size, rounded up.

    Raises
    ------
    ValueError, TypeError
        A name is not known, an array has the wrong length or labels out of range.
    """

    def __init__(
        self,
        network: Sequential,
        x_train: Array,
        t_train: Array,
        x_test: Array,
        t_test: Array,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str | Optimizer = "SGD",
        optimizer_param: Mapping[str, Any] = _SGD_PARAM,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        seed: int | None = None,
        sampling: str = "replacement",
        record_loss: str = "after",
        evaluate: str = "first",
        monitor: Monitor | None = None,
    ) -> None:
        self.network = network
        self.verbose = verbose
        self.epochs = check_count("epochs", epochs)
        self.batch_size = check_count("mini_batch_size", mini_batch_size)
        self.sampling = check_choice("sampling", sampling, ("replacement", "epoch"))
        self.record_loss = check_choice("record_loss", record_loss, ("after", "before"))
        self.evaluate = check_choice("evaluate", evaluate, ("first", "last"))
        if getattr(monitor, "network", network) is not network:
            raise ValueError("monitor looks at another network; make one with Monitor(network)")
        self.monitor = monitor
        self.seed = resolve_seed(network.seed if seed is None else seed)
        self.optimizer = _optimizer(optimizer, optimizer_param)
        self.x_train, self.t_train = _on_device(network, "train", x_train, t_train)
        self.x_test, self.t_test = _on_device(network, "test", x_test, t_test)
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        if evaluate_sample_num_per_epoch is not None:
            check_count("evaluate_sample_num_per_epoch", evaluate_sample_num_per_epoch)

        self.train_size = self.x_train.shape[0]
        self._batches = Batches(
            self.train_size,
            self.batch_size,
            replacement=self.sampling == "replacement",
            seed=stream(self.seed, "batches"),
        )
        self.iter_per_epoch = len(self._batches)
        self.max_iter = self.epochs * self.iter_per_epoch
        self.current_iter = 0
        self.current_epoch = 0

        self._losses: list[float] = []
        self._unread: list[Array] = []
        self._checked = 0
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []
        self.test_acc: float | None = None

    def train_step(self) -> None:
        """One batch, one update; at the turn of an epoch, accuracies."""
        position = self.current_iter % self.iter_per_epoch
        if position == 0:
            # an epoch's indices are moved together: a copy a step would make a GPU wait
            self._order = self.network.backend.asarray(self._batches.epoch())
        start = position * self.batch_size
        batch = self._order[start : min(start + self.batch_size, self._order.shape[0])]
        xp = self.network.backend.xp
        with self.network.backend.active():
            x = xp.take(self.x_train, batch, axis=0)
            t = xp.take(self.t_train, batch, axis=0)

        loss, grads = self.network.loss_and_gradient(x, t)
        self.optimizer.update(self.network.params, grads)
        if self.record_loss == "after":
            loss = self.network.loss(x, t)
        self._unread.append(loss)
        self.current_iter += 1
        if self.monitor is not None:
            self.monitor.observe(x, t)

        if position == (0 if self.evaluate == "first" else self.iter_per_epoch - 1):
            self._end_epoch()

    def _end_epoch(self) -> None:
        self._check_losses()
        self.current_epoch += 1
        count = self.evaluate_sample_num_per_epoch
        for acc_list, x, t in (
            (self.train_acc_list, self.x_train, self.t_train),
            (self.test_acc_list, self.x_test, self.t_test),
        ):
            stop = x.shape[0] if count is None else min(count, x.shape[0])
            acc_list.append(self._accuracy(x[:stop, ...], t[:stop, ...]))

    def _accuracy(self, x: Array, t: Array) -> float:
        # of a single output, always the highest, every sample would count as right
        return math.nan if self.network.output_size == 1 else self.network.accuracy(x, t)

    def train(self) -> None:
        """Train for all epochs that are left.

        Raises
        ------
        DivergedError
            The loss is not finite. What was recorded stays.
        """
        with Progress(self.max_iter, "training", show=self.verbose) as progress:
            while self.current_iter < self.max_iter:
                epoch = self.current_epoch
                self.train_step()
                progress.advance()
                if self.current_epoch > epoch:
                    note = f"epoch {self.current_epoch}/{self.epochs}, loss {self._losses[-1]:.4f}"
                    if not math.isnan(self.test_acc_list[-1]):
                        note += f", train accuracy {self.train_acc_list[-1]:.4f}"
                        note += f", test accuracy {self.test_acc_list[-1]:.4f}"
                    progress.note(note)
            self._check_losses()
            self.test_acc = self._accuracy(self.x_test, self.t_test)
            if not math.isnan(self.test_acc):
                progress.note(f"final test accuracy {self.test_acc:.4f}")

    @property
    def train_loss_list(self) -> list[float]:
        """A loss for each step so far; reading it waits for the device."""
        self._fetch_losses()
        return self._losses

    def _fetch_losses(self) -> None:
        """Read the losses of the steps since the last time, all in one transfer."""
        if not self._unread:
            return
        self._losses.extend(to_host(self._unread).tolist())
        self._unread = []

    def _check_losses(self) -> None:
        """Stop where the loss is no longer a number to learn from."""
        self._fetch_losses()
        for step in range(self._checked, len(self._losses)):
            if not math.isfinite(self._losses[step]):
                before = self._losses[step - 1] if step else None
                raise DivergedError(
                    f"the loss is {self._losses[step]} at step {step + 1} (before it: {before}), "
                    f"with {self.optimizer!r}; try a smaller learning rate, or initial values that "
                    "suit the activation ('he' for ReLU, 'xavier' for sigmoid and tanh)"
                )
        self._checked = len(self._losses)


def _optimizer(optimizer: str | Optimizer, param: Mapping[str, Any]) -> Optimizer:
    if isinstance(optimizer, str):
        return make_optimizer(optimizer, **param)
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if param is not _SGD_PARAM:
        raise ValueError(
            "optimizer_param goes with the name of an optimizer; give its hyperparameters to the "
            f"optimizer itself, got {optimizer!r} and {dict(param)}"
        )
    return optimizer


def _on_device(network: Sequential, part: str, x: Array, t: Array) -> tuple[Array, Array]:
    """Inputs and labels, checked once on the host, where the network lives."""
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
    if isinstance(network.loss_layer, SoftmaxWithLoss) and network.output_size is not None:
        check_labels(f"t_{part}", to_host(t), network.output_size)
    return network.backend.asarray(x, network.params.dtype), network.backend.asarray(t)
