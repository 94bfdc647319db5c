"""Random numbers from named streams of one seed.

Each use draws from a stream of its own, so that adding a Dropout layer, say, leaves the initial
weights as they were. Numbers are drawn on the host, and so are the same for every device. No
global random state is read or written.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from dlskills.backend import Array, backend_of
from dlskills.checks import check_count


def fresh_seed() -> int:
    """A seed from the operating system, short enough to be written down: below 2**32."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def resolve_seed(seed: int | None) -> int:
    """The seed as an int, a fresh one if it is None.

    Raises
    ------
    TypeError, ValueError
        `seed` is not a whole number, or negative.
    """
    return fresh_seed() if seed is None else check_count("seed", seed, at_least=0)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of random numbers for one use, such as ``stream(seed, "weights", "W1")``.

    Parameters
    ----------
    seed : int
    *names : str or int
        What the numbers are for. Different names give independent streams.

    Returns
    -------
    numpy.random.Generator
        A counter-based one (Philox 4x64-10; Salmon et al., 2011, "Parallel random numbers: as
        easy as 1, 2, 3"), which a GPU can compute in parallel.
    """
    # crc32, as hash() of a string differs from one process to the next
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=words)))


class MaskStream:
    """Random masks of zeros and ones, for Dropout.

    Parameters
    ----------
    seed : int
    *names : str or int
        As for :func:`stream`.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        self._generator = stream(seed, *names)

    def draw(self, like: Array, ratio: float) -> Array:
        """A mask with the shape, dtype and device of `like`: 0 with probability `ratio`, else 1."""
        here = backend_of(like)
        # float32 draws take half the time of float64 ones, and are fine enough for a ratio
        kept = self._generator.random(tuple(like.shape), dtype=np.float32) >= ratio
        if here.name == "numpy":
            return kept.astype(like.dtype)
        return here.asarray(kept, dtype=like.dtype)

    @property
    def state(self) -> dict[str, Any]:
        """Where the stream stands: set it again to draw the same masks once more."""
        return dict(self._generator.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._generator.bit_generator.state = state
