"""What a trainer does on several ranks that one process does alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, dtype_name
from dlskills.arrays.parameters import Parameters
from dlskills.training.callbacks import Batch, OnRank0, as_callback

if TYPE_CHECKING:
    from dlskills.distributed import Communicator
    from dlskills.training.trainer import Trainer


class Ranks:
    """Gradients, updates and states of a training that several ranks share.

    Parameters
    ----------
    trainer : Trainer
        Its network gets the state of rank 0.
    communicator : Communicator
    sharded : bool
        Whether each rank keeps a part of the optimizer's state.
    sync : bool
    accumulate : int
        See :class:`~dlskills.distributed.DataParallel`.

    Raises
    ------
    ValueError
        The ranks differ in version, data, seed or settings; the message says in what.
    """

    def __init__(
        self,
        trainer: Trainer,
        communicator: Communicator,
        sharded: bool,
        sync: bool,
        accumulate: int,
    ) -> None:
        from dlskills.distributed import DataParallel, Sharded
        from dlskills.distributed.communicator import check_alike

        self._communicator, self._trainer = communicator, trainer
        facts = {"sharded": sharded, "sync": sync, "accumulate": accumulate}
        check_alike(communicator, _facts(trainer) | facts)
        self._passes = DataParallel(trainer.network, communicator, sync=sync, accumulate=accumulate)
        self.sharded: Sharded | None = None
        if sharded:
            self.sharded = Sharded(trainer.optimizer, trainer.network.params, communicator)
            self.sharded.prepare()
        self._total: int | None = None  # rows of the latest batch, if a part of it was given

    def gradient(self, batch: Batch, total: int | None) -> tuple[Array, Parameters]:
        """Return the loss of the whole batch, and its gradient or this rank's terms of it.

        Parameters
        ----------
        batch : tuple of array
            The whole batch, or with `total` this rank's rows of each part.
        total : int or None
            The number of rows of the whole batch.
        """
        self._communicator.reached(self._trainer.step + 1)
        self._total = total
        if len(batch) > 2:
            raise ValueError("several ranks take no weights of samples yet; leave them out")
        x, t = batch
        if self.sharded is None:
            return self._passes.loss_and_gradient(x, t, total)
        return self._passes.loss_and_own_gradient(x, t, total)

    def update(self, grads: Parameters) -> None:
        """Update the parameters on all ranks."""
        trainer = self._trainer
        if self.sharded is None:
            trainer.optimizer.update(trainer.network.params, grads)
        else:
            self.sharded.update(grads)

    def loss(self, x: Array, t: Array) -> Array:
        """Return the loss of the whole batch at inference, for the batch of :meth:`gradient`."""
        return self._passes.loss(x, t, self._total)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        flags = np.array([float(flag)])
        self._communicator.allreduce(flags, mean=False)
        return bool(flags[0])

    def average_statistics(self) -> None:
        """Give the running averages of Batch Normalization one value on all ranks."""
        self._passes.average_statistics()

    def piece_of(self, optimizer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what this rank keeps of the state of a whole optimizer."""
        return optimizer if self.sharded is None else self.sharded.piece_of(optimizer)


def check_options(communicator: Any, sharded: bool, capture: bool, weighted: bool = False) -> None:
    """Refuse arguments of a trainer that do not go with its communicator.

    Raises
    ------
    ValueError, TypeError
    """
    if not isinstance(sharded, bool | np.bool_):
        raise TypeError(f"sharded must be True or False, got {sharded!r}")
    if communicator is None:
        if sharded:
            raise ValueError(
                "sharded=True divides the optimizer's state among ranks; give "
                "communicator=mpi(), of dlskills.distributed"
            )
        return
    if not hasattr(communicator, "allreduce"):
        raise TypeError(
            f"communicator must be one of dlskills.distributed, such as mpi(), got {communicator!r}"
        )
    for name, given in {"capture": capture, "sample_weights": weighted}.items():
        if given:
            raise ValueError(f"{name} does not go with a communicator; leave one of them out")


def is_first(communicator: Communicator | None) -> bool:
    """Return whether this is rank 0, which prints, plots and saves, or the only process."""
    return communicator is None or communicator.rank == 0


def on_this_rank(callbacks: Iterable[Any], communicator: Communicator | None) -> Iterable[Any]:
    """Return the callbacks of a trainer, those of rank 0 alone silenced on other ranks."""
    if is_first(communicator) or isinstance(callbacks, str) or not isinstance(callbacks, Iterable):
        return callbacks
    made = map(as_callback, callbacks)
    return [OnRank0(callback) if callback.rank_0_only else callback for callback in made]


def _facts(trainer: Trainer) -> dict[str, Any]:
    """Return what must be the same on all ranks."""
    import dlskills

    network = trainer.network
    return {
        "the version of dlskills": dlskills.__version__,
        "the seed of the network": network.seed,
        "the seed of the batches": trainer.seed,
        "the library of arrays": network.backend.xp.__name__,
        "the dtype": dtype_name(network.params.dtype),
        "the parameters": network.params.shapes,
        **{f"the setting {name!r}": value for name, value in trainer.about().items()},
        "epochs": trainer.epochs,
        "steps": trainer.steps,
        "the number of callbacks": len(trainer.callbacks),
    }
