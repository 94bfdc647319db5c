"""Data parallelism: each rank computes the gradient of its share of a batch."""

from __future__ import annotations

from typing import Any

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.arrays.share import Share, computing, share_of
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
        self, network: Sequential, communicator: Communicator, *, sync: bool = True
    ) -> None:
        self.network, self.communicator, self.sync = network, communicator, bool(sync)
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
            The whole batch, or, with `total`, this rank's rows of it.
        total : int, optional
            The number of rows of the whole batch.

        Returns
        -------
        loss : array, shape ()
        grads : Parameters
            The network's own.
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
        if total is None:
            share = self.share_of_batch(x.shape[0])
            x, t = x[share.rows, ...], t[share.rows, ...]
        else:
            share = self.share_of_batch(total)
        with computing(share):
            loss, grads = self.network.loss_and_gradient(x, t, share=share.weight)
        return self._of_all(loss), grads

    def loss(self, x: Array, t: Array, total: int | None = None) -> Array:
        """Return the mean loss over the whole batch at inference, on every rank.

        Parameters
        ----------
        x, t, total
            See :meth:`loss_and_gradient`.
        """
        share = self.share_of_batch(x.shape[0] if total is None else total)
        if total is None:
            x, t = x[share.rows, ...], t[share.rows, ...]
        with self.network.backend.active():
            return self._of_all(self.network.loss(x, t) * share.weight)

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
