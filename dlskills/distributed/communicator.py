"""What ranks say to each other: a protocol that MPI and NCCL implement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from dlskills.arrays.backend import Array

_Result = TypeVar("_Result")

Bounds = Sequence[tuple[int, int]]
"""For each rank, the start and stop of its part of a 1-D array; the parts do not overlap."""


@runtime_checkable
class Communicator(Protocol):
    """A group of ranks. All must call the same methods in the same order.

    Arrays are contiguous, have the same shape and dtype on all ranks, and are changed in place.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        The number of processes.
    """

    rank: int
    size: int

    def broadcast(self, array: Array) -> None:
        """Copy the array of rank 0 into those of all ranks."""

    def allreduce(self, array: Array, *, mean: bool = True) -> None:
        """Replace the array on all ranks by its mean over the ranks, or its sum."""

    def reduce_scatter(self, array: Array, bounds: Bounds, *, mean: bool = True) -> None:
        """Replace each rank's part of the array by its mean over the ranks, or its sum.

        The other parts stay as they are.
        """

    def allgather(self, array: Array, bounds: Bounds) -> None:
        """Copy each rank's part of the array to all ranks."""

    def barrier(self) -> None:
        """Wait until all ranks have called this."""

    def allgather_object(self, value: Any) -> list[Any]:
        """Return the picklable objects of all ranks, in the order of the ranks."""
        ...

    def broadcast_object(self, value: Any) -> Any:
        """Return the picklable object of rank 0."""
        ...

    def reached(self, step: int | None) -> None:
        """Note the step that training has reached, for messages; None where none is running."""


def on_rank_0(communicator: Communicator | None, function: Callable[[], _Result]) -> _Result:
    """Run a function on rank 0, and return its result or raise its error on all ranks.

    Parameters
    ----------
    communicator : Communicator, optional
        Without one, the function is simply called.
    function : callable
        Without arguments; its result can be pickled.
    """
    if communicator is None:
        return function()
    result: Any = None
    error: Exception | None = None
    if communicator.rank == 0:
        try:
            result = function()
        except Exception as raised:
            error = raised
    result, error = communicator.broadcast_object((result, error))
    if error is not None:
        raise error
    found: _Result = result
    return found


def restored_on_ranks(
    communicator: Communicator,
    restore: Callable[[Callable[..., None]], _Result],
    load: Callable[..., None],
) -> _Result:
    """Let rank 0 choose what all ranks load.

    Parameters
    ----------
    communicator : Communicator
    restore : callable
        Called on rank 0 with a function that loads its arguments on all ranks, and raises the error
        of any of them. It may try several.
    load : callable
        Loads its arguments on one rank; they can be pickled.

    Returns
    -------
    object
        What `restore` returned, on all ranks; its error is raised on all of them.
    """

    def load_here(given: Any) -> None:
        error: Exception | None = None
        try:
            load(*given)
        except Exception as raised:
            error = raised
        for other in communicator.allgather_object(error):
            if other is not None:
                raise other

    def everywhere(*given: Any) -> None:
        communicator.broadcast_object((given, None, None))
        load_here(given)

    result: Any = None
    error: Exception | None = None
    if communicator.rank == 0:
        try:
            result = restore(everywhere)
        except Exception as raised:
            error = raised
        communicator.broadcast_object((None, result, error))
    else:
        while True:
            given, result, error = communicator.broadcast_object(None)
            if given is None:
                break
            with contextlib.suppress(Exception):  # rank 0 decides what follows
                load_here(given)
    if error is not None:
        raise error
    found: _Result = result
    return found


def check_alike(communicator: Communicator, facts: dict[str, Any]) -> None:
    """Refuse ranks that differ.

    Parameters
    ----------
    communicator : Communicator
    facts : dict
        What must be the same on all ranks, by the name that an error calls it.

    Raises
    ------
    ValueError
        On all ranks; the message names the ranks and what they differ in.
    """
    everywhere = communicator.allgather_object({name: repr(value) for name, value in facts.items()})
    first = everywhere[0]
    faults = [
        f"{name} is {own.get(name)} on rank {rank} and {first.get(name)} on rank 0"
        for rank, own in enumerate(everywhere)
        for name in first
        if own.get(name) != first.get(name)
    ]
    if faults:
        shown = "; ".join(faults[:4]) + (f"; and {len(faults) - 4} more" if faults[4:] else "")
        raise ValueError(
            f"all ranks must run the same training, but {shown}. Start the same script and version "
            "with the same data everywhere, and give the network a seed"
        )


def sections(size: int, ranks: int, step: int) -> list[tuple[int, int]]:
    """Return bounds that divide a 1-D array among ranks.

    Parameters
    ----------
    size : int
        Of the array.
    ranks : int
    step : int
        Each part starts at a multiple of it.

    Returns
    -------
    list of (int, int)
        Parts of equal length, except that the last ones may be shorter; (0, 0) if empty.
    """
    length = -(-size // (ranks * step)) * step
    starts = [rank * length for rank in range(ranks)]
    return [(start, min(start + length, size)) if start < size else (0, 0) for start in starts]
