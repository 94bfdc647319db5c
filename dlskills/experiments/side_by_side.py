"""Networks trained side by side: each batch goes to all of them before the next one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from dlskills.arrays.backend import Array, get_backend, to_host
from dlskills.arrays.random import stream
from dlskills.data import load_mnist
from dlskills.experiments.settings import Numbers, Settings
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer
from dlskills.training.loop import Loop
from dlskills.training.progress import Progress


class SideBySide:
    """Networks that see the same batches, each with an optimizer of its own.

    Parameters
    ----------
    networks : mapping of str to Sequential
        All on one device.
    optimizers : mapping of str to Optimizer
        Of the same names.
    x, t : array
        Training data, on the networks' device.
    batch_size, steps : int
    seed : int
        Of the batches. All batches are drawn beforehand, with replacement as in the tutorial, and
        moved to the device.

    Attributes
    ----------
    networks : dict of str to Sequential
        Those that still learn: a network that is removed gets no more batches.
    loops : dict of str to Loop
        The training of each network. Their ``losses`` are those of each batch before its update.
    """

    def __init__(
        self,
        networks: Mapping[str, Sequential],
        optimizers: Mapping[str, Optimizer],
        x: Array,
        t: Array,
        *,
        batch_size: int,
        steps: int,
        seed: int,
    ) -> None:
        self.networks = dict(networks)
        self.loops = {name: Loop(networks[name], optimizers[name]) for name in networks}
        self._x, self._t = x, t
        self._backend = next(iter(networks.values())).backend
        rows = stream(seed, "batches").integers(x.shape[0], size=(steps, batch_size))
        self._order = self._backend.asarray(rows)

    def batch(self, step: int) -> tuple[Array, Array]:
        """Return the inputs and labels of a step, counted from 0."""
        xp = self._backend.xp
        with self._backend.active():
            rows = self._order[step, :]
            return xp.take(self._x, rows, axis=0), xp.take(self._t, rows, axis=0)

    def step(self, step: int) -> None:
        """Update each network once."""
        x, t = self.batch(step)
        with self._backend.active():
            for name in self.networks:
                self.loops[name].train_on(x, t)

    def accuracies(
        self, at: Collection[int], x: Array, t: Array, *, what: str, show: bool
    ) -> dict[str, list[float]]:
        """Train to the end; return each network's accuracy on other samples along the way.

        Parameters
        ----------
        at : collection of int
            Numbers of updates after which to measure.
        x, t : array
            The other samples.
        what : str
            Name of the progress bar.
        show : bool
            Whether to show it.
        """
        steps = self._order.shape[0]
        found: dict[str, list[float]] = {name: [] for name in self.networks}
        with Progress(steps, what, show=show) as progress:
            for step in range(1, steps + 1):
                self.step(step - 1)
                progress.advance()
                if step in at:
                    for name, network in self.networks.items():
                        found[name].append(network.accuracy(x, t))
        return found

    def fetched(self) -> dict[str, list[float]]:
        """Return the losses so far as plain numbers; waits for the device."""
        return {name: loop.losses for name, loop in self.loops.items()}


def digits_on(settings: Settings) -> tuple[Array, Array, Array, Array]:
    """Return MNIST on the settings' device: x_train, t_train, x_test, t_test."""
    (x_train, t_train), (x_test, t_test) = load_mnist(subset=settings.subset)
    here = get_backend(settings.device).asarray
    return here(x_train), here(t_train), here(x_test), here(t_test)


def train_on_mnist(
    networks: Mapping[str, Sequential],
    optimizers: Mapping[str, Optimizer],
    settings: Settings,
    *,
    batch_size: int,
    steps: int,
    what: str,
) -> Numbers:
    """Train networks side by side on all digits.

    Parameters
    ----------
    networks, optimizers : mapping
        See :class:`SideBySide`.
    settings : Settings
    batch_size, steps : int
    what : str
        Name of the progress bar.

    Returns
    -------
    dict
        ``train_loss``: for each network the loss of each batch, before its update;
        ``test_accuracy``: at the end; ``lr``: its learning rate; ``digits``: the number of
        training images.
    """
    x_train, t_train, x_test, t_test = digits_on(settings)
    training = SideBySide(
        networks, optimizers, x_train, t_train,
        batch_size=batch_size, steps=steps, seed=settings.seed,
    )  # fmt: skip
    with Progress(steps, what, show=settings.verbose) as progress:
        for i in range(steps):
            training.step(i)
            progress.advance()
            if settings.verbose and i % 100 == 0:
                last = (
                    f"{name} {float(to_host(loop.loss)):.3f}"
                    for name, loop in training.loops.items()
                )
                progress.note(f"iteration {i}, loss: {'; '.join(last)}")
    return {
        "train_loss": training.fetched(),
        "test_accuracy": {n: network.accuracy(x_test, t_test) for n, network in networks.items()},
        "lr": {name: getattr(rule, "lr", None) for name, rule in optimizers.items()},
        "digits": x_train.shape[0],
    }


def late_loss(numbers: Numbers, name: str, least: int = 100) -> float:
    """Return the mean loss of a network's last 100 batches; NaN if it had fewer than `least`."""
    losses = numbers["train_loss"].get(name, [])[-100:]
    return float(np.mean(losses)) if len(losses) >= least else np.nan
