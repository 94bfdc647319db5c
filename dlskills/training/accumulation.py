"""The gradient of a batch, computed in parts."""

from __future__ import annotations

from dlskills.arrays.backend import Array
from dlskills.arrays.parameters import Parameters
from dlskills.arrays.share import parts_of
from dlskills.checks import check_count
from dlskills.networks.sequential import Sequential


class Accumulated:
    """Loss and gradient of a batch in equal parts, one after the other.

    Parameters
    ----------
    network : Sequential
    parts : int
        At most; a batch of fewer samples has one part per sample.
    """

    def __init__(self, network: Sequential, parts: int) -> None:
        self.network, self.parts = network, check_count("accumulate", parts)
        self._sum = network.params.zeros_like()

    def loss_and_gradient(self, *batch: Array) -> tuple[Array, Parameters]:
        """Return the mean loss and gradient over all samples; see :class:`Sequential`.

        Parameters
        ----------
        *batch : array
            Inputs and targets, and perhaps the weight of each sample.
        """
        size = batch[0].shape[0]
        total = self._sum
        loss: Array = 0
        with self.network.backend.active():
            total.flat[...] = 0
            for start, stop in parts_of(size, self.parts):
                share = (stop - start) / size
                own, grads = self.network.loss_and_gradient(*(a[start:stop, ...] for a in batch))
                loss = loss + own * share
                total.flat[...] = total.flat + grads.flat * share
        return loss, total
