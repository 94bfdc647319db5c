"""Data parallelism: each rank computes the gradient of its share of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.arrays.share import Share, computing, parts_of, share_of
from dlskills.checks import check_count
from dlskills.distributed.communicator import Communicator
from dlskills.layers import BatchNormalization
from dlskills.networks.sequential import Sequential


class DataParallel:
    """Loss and gradient of a batch that several ranks share.

    Every rank holds the network. Each takes its share of every batch, and one allreduce per step,
    of the flat gradient buffer in place, gives all of them the gradient of the whole batch. Up to
    rounding, this is what one process computes: Dropout masks are those of the whole batch, too.

    Parameters
    ----------
    network : Sequential
        Its parameters and states become those of rank 0.
    communicator : Communicator
        Such as :func:`~dlskills.distributed.mpi`.
    sync : bool, default True
        Whether Batch Normalization takes the statistics of the whole batch. This takes three small
        sums over the ranks per layer and step. Otherwise it takes those of the rank's rows.
    accumulate : int, default 1
        The number of parts in which the gradient of each batch is computed, to save memory. The
        ranks share each part; they sum their gradients once, when all parts are done. Statistics
        and Dropout masks are then those of each part.

    Examples
    --------
    A loop of your own, in a script that ``mpiexec -n N`` starts:

    >>> import numpy as np
    >>> from dlskills import SGD, Batches, MultiLayerNet
    >>> from dlskills.distributed import DataParallel, mpi
    >>> def train(network, optimizer, x, t):
    ...     parallel = DataParallel(network, mpi())
    ...     for rows in Batches(len(x), 100, seed=0):  # the same order on every rank
    ...         loss, grads = parallel.loss_and_gradient(x[rows], t[rows])
    ...         optimizer.update(network.params, grads)

    References
    ----------
    S. Li et al. (2020), "PyTorch Distributed: experiences on accelerating data parallel training".
    """

    def __init__(
        self,
        network: Sequential,
        communicator: Communicator,
        *,
        sync: bool = True,
        accumulate: int = 1,
    ) -> None:
        self.network, self.communicator, self.sync = network, communicator, bool(sync)
        self.accumulate = check_count("accumulate", accumulate)
        self._sum = None if self.accumulate == 1 else network.params.zeros_like()
        self._averaged = [
            layer for layer in network.layers if isinstance(layer, BatchNormalization)
        ]
        broadcast_state(network, communicator)

    def share_of_batch(self, total: int) -> Share:
        """Return this rank's share of a batch of so many rows."""
        start, count = share_of(total, self.communicator.rank, self.communicator.size)
        return Share(start, count, total, self._added if self.sync else None)

    def loss_and_gradient(
        self, x: Array, t: Array, total: int | None = None
    ) -> tuple[Array, Parameters]:
        """Return the mean loss over the whole batch, and its gradient, on every rank.

        Parameters
        ----------
        x, t : array
            The whole batch, or, with `total`, this rank's rows of it: with `accumulate`, its rows
            of each part, one after the other.
        total : int, optional
            The number of rows of the whole batch.

        Returns
        -------
        loss : array, shape ()
        grads : Parameters
            The same object in every call.
        """
        loss, grads = self.loss_and_own_gradient(x, t, total)
        self.communicator.allreduce(grads.flat, mean=False)
        return loss, grads

    def loss_and_own_gradient(
        self, x: Array, t: Array, total: int | None = None
    ) -> tuple[Array, Parameters]:
        """Return the loss over the whole batch, and this rank's terms of its gradient.

        The sum of the terms over the ranks is the gradient: see
        :class:`~dlskills.distributed.Sharded`.

        Parameters
        ----------
        x, t, total
            See :meth:`loss_and_gradient`.
        """
        grads, loss = self._sum, None
        with self.network.backend.active():
            if grads is not None:
                grads.flat[...] = 0
            for share, weight, rows in self._parts(x.shape[0], total):
                with computing(share):
                    part, own = self.network.loss_and_gradient(
                        x[rows, ...], t[rows, ...], share=weight
                    )
                loss = part if loss is None else loss + part
                if grads is not None:
                    grads.flat[...] = grads.flat + own.flat
        return self._of_all(loss), own if grads is None else grads

    def loss(self, x: Array, t: Array, total: int | None = None) -> Array:
        """Return the mean loss over the whole batch at inference, on every rank.

        Parameters
        ----------
        x, t, total
            See :meth:`loss_and_gradient`.
        """
        loss: Array = 0
        with self.network.backend.active():
            for _, weight, rows in self._parts(x.shape[0], total):
                loss = loss + self.network.loss(x[rows, ...], t[rows, ...]) * weight
            return self._of_all(loss)

    def _parts(self, given: int, total: int | None) -> Iterator[tuple[Share, float, slice]]:
        """Yield this rank's share of each part, its weight, and its rows of those given."""
        done = 0
        for start, stop in parts_of(given if total is None else total, self.accumulate):
            share = self.share_of_batch(stop - start)
            rows, first = share.rows, start
            if total is not None:  # the rank's rows of the parts before were given, too
                first = done - rows.start
                done += rows.stop - rows.start
            weight = share.count / (given if total is None else total)
            yield share, weight, slice(first + rows.start, first + rows.stop)

    def average_statistics(self) -> None:
        """Give Batch Normalization's running averages their mean over the ranks.

        With ``sync=True`` they never differ, and nothing is done.
        """
        if self.sync:
            return
        for layer in self._averaged:
            state = layer.get_state()
            for name in ("running_mean", "running_var"):
                with self.network.backend.active():
                    own = namespace(state[name]).asarray(state[name], copy=True)
                    self.communicator.allreduce(own)
                state[name] = own
            layer.set_state(state)

    def _of_all(self, loss: Array) -> Array:
        """Return the sum over the ranks of a 0-d array."""
        with self.network.backend.active():
            xp = self.network.backend.xp
            one = xp.reshape(xp.asarray(loss, copy=True), (1,))
            self.communicator.allreduce(one, mean=False)
            return one[0]

    def _added(self, array: Array) -> Array:
        """Return the sum over the ranks of a new array."""
        self.communicator.allreduce(array, mean=False)
        return array

    def __repr__(self) -> str:
        return f"DataParallel({type(self.network).__name__}, {self.communicator!r})"


def broadcast_state(network: Sequential, communicator: Communicator) -> None:
    """Give a network the parameters of rank 0, its running averages, and its random streams."""
    with network.backend.active():
        communicator.broadcast(network.params.flat)
    states: list[Any] = [
        {name: _plain(value) for name, value in layer.get_state().items()}
        for layer in network.layers
    ]
    states = communicator.broadcast_object(states)
    for layer, state in zip(network.layers, states, strict=True):
        if state:
            layer.set_state(state)


def _plain(value: Any) -> Any:
    return to_host(value) if hasattr(value, "shape") else value
