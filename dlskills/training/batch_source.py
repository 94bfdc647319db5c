"""Batches with a position that can be saved: of a data set, or of any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dlskills.arrays.share import rows_of
from dlskills.checks import check_count
from dlskills.data.batches import Batches
from dlskills.training.callbacks import Batch
from dlskills.training.samples import Bounds, Samples


class BatchSource(Protocol):
    """What a :class:`~dlskills.training.Loop` takes its batches from.

    Attributes
    ----------
    steps_per_epoch : int or None
        None if it is not known.
    """

    steps_per_epoch: int | None

    def current(self) -> Batch | None:
        """Return the current batch, the same until :meth:`advance`.

        None if there are no more, and once at the end of a pass if the number of batches is not
        known.
        """
        ...

    def advance(self) -> None:
        """Move on to the next batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position: a mapping of numbers, text, arrays, and mappings of them."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a position."""
        ...


class SampleBatches:
    """Seeded batches of a data set, epoch after epoch.

    Parameters
    ----------
    samples : Samples
        The data, on the device or staged.
    batches : Batches
        Draws the indices of each epoch.
    rank, ranks : int
        Which part of each batch to take, of how many; see :func:`~dlskills.arrays.share.rows_of`.
        By default all of it.
    parts : int, default 1
        The number of parts of each batch that the ranks share one after the other.
    """

    def __init__(
        self, samples: Samples, batches: Batches, rank: int = 0, ranks: int = 1, parts: int = 1
    ) -> None:
        self._samples, self._batches = samples, batches
        self._bounds: Bounds = batches.bounds
        self._rows: np.ndarray[Any, Any] | None = None  # of an epoch, if a rank's are not in order
        if ranks > 1 and parts == 1:
            self._bounds = _Shares(batches.bounds, rank, ranks)
        elif ranks > 1:
            self._rows, self._bounds = _in_parts(batches.bounds, rank, ranks, parts)
        self.steps_per_epoch: int | None = len(batches)
        self._last = len(batches) - 1
        self._position = 0  # within the epoch
        self._before: dict[str, Any] | None = None  # the generator's state before this epoch
        self._begun = False

    def current(self) -> Batch:
        if not self._begun:
            self._begin_epoch()
        return self._samples.batch(self._position)

    def _begin_epoch(self) -> None:
        """Draw the epoch's order; after an error the same one again."""
        bits = self._batches.generator.bit_generator
        if self._before is None:
            self._before = dict(bits.state)
        else:
            bits.state = self._before
        # the indices are moved as a whole: a copy per step would make a GPU wait
        order = self._batches.epoch()
        if self._rows is not None:
            order = order[self._rows]
        self._samples.start_epoch(order, self._bounds)
        self._begun = True

    @property
    def total(self) -> int:
        """The number of samples in the current batch on all ranks together."""
        start, stop = self._batches.bounds[self._position]
        return int(stop - start)

    def advance(self) -> None:
        if self._position < self._last:
            self._position += 1
        else:
            self._position, self._before, self._begun = 0, None, False

    def state_dict(self) -> dict[str, Any]:
        bits = self._batches.generator.bit_generator.state if self._before is None else self._before
        return {"position": self._position, "generator": bits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        position, bits = state["position"], state["generator"]
        if not 0 <= position < len(self._batches):
            raise ValueError(
                f"the state is at batch {position} of an epoch, which has {len(self._batches)} "
                "batches here. Continue with the same data and batch size"
            )
        self._batches.generator.bit_generator.state = bits
        self._position, self._before, self._begun = position, None, False


class _Shares(Sequence[tuple[int, int]]):
    """The bounds of a rank's rows in each batch."""

    def __init__(self, bounds: Bounds, rank: int, ranks: int) -> None:
        self._whole, self._rank, self._ranks = bounds, rank, ranks

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, batch: Any) -> Any:
        start, stop = self._whole[batch]
        (rows,) = rows_of(stop - start, self._rank, self._ranks)
        return start + rows.start, start + rows.stop


def _in_parts(
    bounds: Bounds, rank: int, ranks: int, parts: int
) -> tuple[np.ndarray[Any, Any], Bounds]:
    """Return a rank's rows of all batches, one after the other, and the bounds of each batch's."""
    rows, own, stop = [], [], 0
    for first, end in bounds:
        begin = stop
        for part in rows_of(end - first, rank, ranks, parts):
            rows.append(np.arange(first + part.start, first + part.stop))
            stop += part.stop - part.start
        own.append((begin, stop))
    return np.concatenate(rows), own


class IterableBatches:
    """Batches from any iterable of inputs and targets, such as a list or a generator.

    Each pass over an iterable such as a list is an epoch.

    Parameters
    ----------
    batches : iterable of (x, t) or (x, t, weights)
        Arrays on the network's device; a weight for each sample.

    Raises
    ------
    TypeError
        When it is due: a batch is something else.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        size = getattr(batches, "__len__", lambda: None)()
        self.steps_per_epoch: int | None = size
        self._iterator: Iterator[Batch] | None = None
        self._batch: Batch | None = None
        self._position = 0
        self._target: int | None = None  # the position of a loaded state, if it is another

    def current(self) -> Batch | None:
        if self._target is not None:
            self._go_to(self._target)
        if self._batch is None:
            if self._iterator is None:
                self._iterator = iter(self._batches)
            batch: Any = next(self._iterator, None)
            if batch is not None and (
                not isinstance(batch, tuple | list) or len(batch) not in (2, 3)
            ):
                raise TypeError(
                    "each batch must be (x, t), or (x, t, weights), got " + _described(batch)
                )
            self._batch = None if batch is None else tuple(batch)
            if batch is None and self._iterator is not self._batches:
                self._position, self._iterator = 0, None  # the next call begins another pass
        return self._batch

    def advance(self) -> None:
        self._batch = None
        self._position += 1
        if self._position == self.steps_per_epoch:
            self._position, self._iterator = 0, None

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position if self._target is None else self._target}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position when the next batch is due; until then, no batch is taken.

        Raises
        ------
        ValueError
            The batches come from a generator, which can't go back.
        """
        position = check_count("position", state["position"], at_least=0)
        if position < self._position and self._once:
            raise ValueError(
                f"the state is at batch {position}, and these batches, of a generator, are at "
                f"{self._position}; give a new generator, or a list"
            )
        self._target = None if position == self._position else position

    @property
    def _once(self) -> bool:
        """Whether the batches can be iterated over only once, as those of a generator."""
        return hasattr(self._batches, "__next__")

    def _go_to(self, position: int) -> None:
        """Go through the batches up to a position, by a new iteration where one is possible."""
        self._target = None
        if not self._once:
            self._iterator, self._batch, self._position = None, None, 0
        while self._position < position:
            if self.current() is None:
                raise ValueError(
                    f"the state is at batch {position}, and there are only {self._position} "
                    "batches here"
                )
            self.advance()


def _described(batch: Any) -> str:
    """Return what was given for a batch, for an error."""
    if isinstance(batch, tuple | list):
        return f"{len(batch)} items"
    name = type(batch).__name__
    if not getattr(batch, "shape", ()):
        return f"a {name}"
    return f"a {name} of shape {tuple(batch.shape)}. Give targets, too: [(x, t), ...]"


def as_source(batches: Any) -> BatchSource:
    """Return a source of batches, made of an iterable if that is what was given.

    Raises
    ------
    TypeError
        It is neither.
    """
    if hasattr(batches, "advance"):
        source: BatchSource = batches
        return source
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches must be an iterable of (x, t), such as a list, got {batches!r}")
    return IterableBatches(batches)
