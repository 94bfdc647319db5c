"""Mini-batches: which samples each training step sees, drawn on the host from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlskills.arrays.random import fresh_seed
from dlskills.checks import check_choice, check_count


@dataclass(frozen=True)
class Bounds(Sequence[tuple[int, int]]):
    """Where each of so many batches begins and ends: `step` apart, but the last one at `stop`."""

    step: int
    length: int
    stop: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, batch: Any) -> Any:
        place = range(self.length)[batch]
        if isinstance(place, range):
            return [self[i] for i in place]
        start = place * self.step
        return start, self.stop if place == self.length - 1 else start + self.step


class Batches:
    """Seeded mini-batches of sample indices, epoch after epoch.

    Without replacement, an epoch is a fresh permutation: every sample exactly once, the last
    batch holding what is left over, unless `remainder` says otherwise. With replacement, each
    batch is `batch_size` independent draws, as ``np.random.choice(size, batch_size)`` draws them
    in the tutorial: an epoch then has as many batches, but leaves out about 37 % of the samples
    and repeats others.

    Iterating gives one epoch; iterating again gives the next one of the same stream.

    Parameters
    ----------
    size : int
        The number of samples, at least 1.
    batch_size : int
        Samples a batch, at least 1. Without replacement a batch cannot exceed the data: where
        `batch_size` does, each epoch is one batch of all samples.
    replacement : bool, default False
        Whether to draw with replacement.
    remainder : {"keep", "drop", "fold"}, default "keep"
        Without replacement, what becomes of the samples that are left over: they make a smaller
        last batch, are left out (of each epoch others), or join the batch before. Where there are
        no more samples than `batch_size`, they make one batch in any case.
    seed : int or numpy.random.Generator, optional
        A whole number from 0, or a generator to draw from. The same seed gives the same batches
        on every machine. By default a fresh seed is drawn, and recorded.

    Attributes
    ----------
    bounds : sequence of tuple of int
        Where, among an epoch's indices, each batch begins and ends.
    largest : int
        The number of samples in the largest batch.
    seed : int or None
        The seed given or drawn; None where a generator was given.
    generator : numpy.random.Generator
        What the indices are drawn from (PCG64, unless another was given). Its
        ``bit_generator.state`` is all that a checkpoint needs to go on from an epoch's end.

    Raises
    ------
    TypeError
        If `size` or `batch_size` is not an integer, `replacement` is not a bool, or `seed` is
        neither an integer nor a generator. A bool is no integer here.
    ValueError
        If `size` or `batch_size` is below 1, or `seed` below 0; if `remainder` is not known, or
        given with replacement, where nothing is left over.

    Examples
    --------
    >>> batches = Batches(5, 2, seed=1)
    >>> len(batches)
    3
    >>> [len(batch) for batch in batches]
    [2, 2, 1]
    >>> [len(batch) for batch in Batches(5, 2, remainder="fold", seed=1)]
    [2, 3]
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        replacement: bool = False,
        remainder: str = "keep",
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.size = check_count("size", size, remedy="give the number of samples: len(x_train)")
        self.batch_size = check_count(
            "batch_size", batch_size, remedy="give the number of samples a batch, such as 100"
        )
        if not isinstance(replacement, bool | np.bool_):
            raise TypeError(
                f"replacement must be True or False; got {replacement!r}. "
                "Leave it out to see every sample once an epoch."
            )
        self.replacement = bool(replacement)
        self.remainder = check_choice("remainder", remainder, ("keep", "drop", "fold"))
        if self.replacement and self.remainder != "keep":
            raise ValueError(
                f"remainder={remainder!r} is for batches without replacement; with it, all are "
                "full and nothing is left over"
            )
        self.bounds = self._bounds()
        self.largest = max(stop - start for start, stop in (self.bounds[0], self.bounds[-1]))
        self.seed: int | None = None
        if isinstance(seed, np.random.Generator):
            self.generator = seed
        else:
            self.seed = check_count(
                "seed",
                fresh_seed() if seed is None else seed,
                at_least=0,
                remedy="give that, a numpy.random.Generator, or nothing for a fresh seed",
            )
            # PCG64 by name: what default_rng() means may change between versions of NumPy.
            self.generator = np.random.Generator(np.random.PCG64(self.seed))

    def __len__(self) -> int:
        """Give the number of batches an epoch, a last partial one included if it is kept."""
        return len(self.bounds)

    def _bounds(self) -> Bounds:
        whole, left_over = divmod(self.size, self.batch_size)
        if self.replacement:
            count = whole + (left_over > 0)
            return Bounds(self.batch_size, count, count * self.batch_size)
        if self.remainder == "drop" and whole:
            return Bounds(self.batch_size, whole, whole * self.batch_size)
        kept = left_over > 0 and self.remainder == "keep"
        return Bounds(self.batch_size, max(whole + kept, 1), self.size)

    def epoch(self) -> NDArray[np.int64]:
        """Draw the next epoch's indices, all at once, to be moved to a device in one go.

        Returns
        -------
        numpy.ndarray
            int64. Batch `i` is ``indices[slice(*batches.bounds[i])]``.
        """
        count = self.bounds.stop
        if self.replacement:
            return self.generator.integers(self.size, size=count)
        return self.generator.permutation(np.arange(self.size, dtype=np.int64))[:count]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Draw the next epoch and give its batches one by one."""
        indices = self.epoch()
        for start, stop in self.bounds:
            yield indices[start:stop]

    def __repr__(self) -> str:
        """Say how the batches are drawn."""
        source = self.generator if self.seed is None else self.seed
        rest = "" if self.remainder == "keep" else f"remainder={self.remainder!r}, "
        return (
            f"Batches({self.size}, {self.batch_size}, "
            f"replacement={self.replacement}, {rest}seed={source})"
        )
