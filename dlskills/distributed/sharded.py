"""Optimizer state divided among ranks: stage 1 of ZeRO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dlskills.arrays.parameters import STEP, Parameters
from dlskills.distributed.communicator import Communicator, sections
from dlskills.optimizers import Optimizer
from dlskills.optimizers.clipping import global_norm

Pieces = dict[str, tuple[int, int]]


class Sharded:
    """Updates by an optimizer of which each rank keeps and computes a part.

    Each rank updates its section of the flat parameter buffer, and then all ranks exchange their
    sections. The optimizer's state is only allocated for the section: at N ranks it takes 1/N of
    the memory. The same numbers are sent as in an allreduce of the gradients.

    Parameters
    ----------
    optimizer : Optimizer
    network_params : Parameters
        All parameters.
    communicator : Communicator

    Attributes
    ----------
    bounds : list of (int, int)
        The section of each rank.
    pieces : dict of str to (int, int)
        Which elements of each flattened parameter are in this rank's section.

    References
    ----------
    S. Rajbhandari, J. Rasley, O. Ruwase and Y. He (2020), "ZeRO: memory optimizations toward
    training trillion parameter models", section 5.1.
    """

    def __init__(
        self, optimizer: Optimizer, network_params: Parameters, communicator: Communicator
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"sharded=True needs an optimizer of dlskills, whose rule is elementwise, got "
                f"{optimizer!r}"
            )
        self.optimizer, self._communicator = optimizer, communicator
        self._params = network_params
        size = int(network_params.flat.shape[0])
        self.bounds = sections(size, communicator.size, STEP)
        self._own = self.bounds[communicator.rank]
        self.pieces: Pieces = network_params.pieces(*self._own)
        self._section = network_params.section(*self._own)
        self._of_grads: tuple[Parameters, Parameters] | None = None

    def prepare(self) -> None:
        """Allocate the state of this rank's section."""
        self.optimizer.prepare(self._section)

    def update(self, grads: Parameters) -> None:
        """Update all parameters from the ranks' terms of the gradient.

        Parameters
        ----------
        grads : Parameters
            Terms whose sum over the ranks is the gradient. Afterwards only the rank's own section
            is that of the gradient.
        """
        communicator, optimizer = self._communicator, self.optimizer
        with self._params.backend.active():
            communicator.reduce_scatter(grads.flat, self.bounds, mean=False)
            if self._of_grads is None or self._of_grads[0] is not grads:
                self._of_grads = grads, grads.section(*self._own)
            own = vars(optimizer)
            own["_clip_factor"] = self._clip_factor
            try:
                optimizer.update(self._section, self._of_grads[1])
            finally:
                del own["_clip_factor"]
            communicator.allgather(self._params.flat, self.bounds)

    def _clip_factor(self, grads: Mapping[str, Any], max_norm: float, scale: float) -> float:
        """As :func:`~dlskills.clip_factor`, of the gradients on all ranks."""
        norms = self._communicator.allgather_object(global_norm(grads))
        norm = abs(scale) * math.hypot(*norms)
        return scale if norm <= max_norm else scale * max_norm / norm

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, whose arrays are this rank's pieces, flattened."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of this rank's pieces, as :meth:`state_dict` returns it."""
        self.optimizer.load_state_dict(state)

    def piece_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return this rank's pieces of a state of the whole optimizer."""
        return {
            key: value.reshape(-1)[slice(*self.pieces[key.partition("/")[2]])]
            if "/" in key
            else value
            for key, value in state.items()
        }

    def state_bytes(self) -> int:
        """Return how much memory the state takes on this rank."""
        item = int(self._section.backend.xp.finfo(self._section.dtype).bits) // 8
        return len(self.optimizer.slots) * (self._own[1] - self._own[0]) * item
