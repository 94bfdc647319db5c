"""Mini-batches of sample indices, drawn on the host from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlskills.arrays.random import fresh_seed
from dlskills.checks import check_choice, check_count


@dataclass(frozen=True)
class Bounds(Sequence[tuple[int, int]]):
    """The (start, stop) bounds of `length` batches of `step` samples; the last ends at `stop`."""

    step: int
    length: int
    stop: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, batch: Any) -> Any:
        index = range(self.length)[batch]
        if isinstance(index, range):
            return [self[i] for i in index]
        start = index * self.step
        return start, self.stop if index == self.length - 1 else start + self.step


class Batches:
    """Seeded mini-batches of sample indices.

    Without replacement, each epoch is a new permutation: every sample occurs exactly once, and
    `remainder` decides about an incomplete last batch. With replacement, each batch consists of
    `batch_size` independent draws, like ``np.random.choice(size, batch_size)`` in the tutorial. An
    epoch then has as many batches, but misses about 37 % of the samples and repeats others.

    Each iteration over the object yields one epoch; the next iteration continues the same stream.

    Parameters
    ----------
    size : int
        Number of samples, at least 1.
    batch_size : int
        Samples per batch, at least 1. Without replacement, if it exceeds `size`, each epoch is a
        single batch of all samples.
    replacement : bool, default False
        Whether to draw with replacement.
    remainder : {"keep", "drop", "fold"}, default "keep"
        How to treat the samples left over after the last full batch, without replacement: keep
        them as a smaller batch, drop them (different ones in each epoch), or fold them into the
        batch before. If `size` is at most `batch_size`, there is one batch of all samples in any
        case.
    seed : int or numpy.random.Generator, optional
        A non-negative integer, or a generator to draw from. The same seed gives the same batches
        on every machine. By default a fresh seed is drawn and recorded.

    Attributes
    ----------
    bounds : sequence of tuple of int
        The (start, stop) positions of each batch in the indices of an epoch.
    largest : int
        Number of samples in the largest batch.
    seed : int or None
        The seed, given or drawn; None if a generator was given.
    generator : numpy.random.Generator
        The source of the indices (PCG64 unless another was given). A checkpoint at the end of an
        epoch only needs its ``bit_generator.state`` to continue.

    Raises
    ------
    TypeError
        `size` or `batch_size` is not an integer, `replacement` is not a bool, or `seed` is
        neither an integer nor a generator. A bool does not count as an integer.
    ValueError
        `size` or `batch_size` is less than 1, or `seed` less than 0; or `remainder` is unknown, or
        given together with replacement.

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
        self.size = check_count("size", size, remedy="pass the number of samples: len(x_train)")
        self.batch_size = check_count(
            "batch_size", batch_size, remedy="pass the number of samples per batch, such as 100"
        )
        if not isinstance(replacement, bool | np.bool_):
            raise TypeError(
                f"replacement must be True or False, got {replacement!r}. Omit it to use every "
                "sample once per epoch"
            )
        self.replacement = bool(replacement)
        self.remainder = check_choice("remainder", remainder, ("keep", "drop", "fold"))
        if self.replacement and self.remainder != "keep":
            raise ValueError(
                f"remainder must be 'keep' for batches with replacement, got {remainder!r}. With "
                "replacement, all batches are full and no samples are left over"
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
                remedy="pass an integer or a numpy.random.Generator, or omit it for a fresh seed",
            )
            # PCG64 explicitly: default_rng() may change between NumPy versions.
            self.generator = np.random.Generator(np.random.PCG64(self.seed))

    def __len__(self) -> int:
        """Return the number of batches per epoch, including an incomplete last one."""
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
        """Draw all indices of the next epoch at once, so that one transfer moves them to a device.

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
        """Draw the next epoch and yield its batches."""
        indices = self.epoch()
        for start, stop in self.bounds:
            yield indices[start:stop]

    def __repr__(self) -> str:
        source = self.generator if self.seed is None else self.seed
        rest = "" if self.remainder == "keep" else f"remainder={self.remainder!r}, "
        return (
            f"Batches({self.size}, {self.batch_size}, "
            f"replacement={self.replacement}, {rest}seed={source})"
        )
