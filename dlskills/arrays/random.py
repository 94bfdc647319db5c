"""Random numbers from named streams of one seed.

Each purpose has a stream of its own, so adding a Dropout layer, for example, does not change the
initial weights. Numbers are drawn on the host and are therefore the same for every device. No
global random state is read or written.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlskills.arrays import philox, share
from dlskills.arrays.backend import Array, backend_of
from dlskills.checks import check_count


def fresh_seed() -> int:
    """Return a seed below 2**32, drawn from the operating system's entropy."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def resolve_seed(seed: int | None) -> int:
    """Return the seed as an int, or a fresh one if `seed` is None.

    Raises
    ------
    TypeError, ValueError
        `seed` is not a whole number, or is negative.
    """
    return fresh_seed() if seed is None else check_count("seed", seed, at_least=0)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator for one purpose, such as ``stream(seed, "weights", "W1")``.

    Parameters
    ----------
    seed : int
    *names : str or int
        The purpose of the numbers. Different names give independent streams.

    Returns
    -------
    numpy.random.Generator
        A counter-based generator (Philox 4x64-10; Salmon et al., 2011, "Parallel random numbers: as
        easy as 1, 2, 3"), which a GPU can compute in parallel.
    """
    # crc32, because hash() of a string differs between processes
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=words)))


class Mask:
    """A random mask of zeros and ones, drawn lazily.

    Formulas take it as an operand. On CuPy, their kernels compute its values on the fly from the
    key and the block; elsewhere the host draws them once.

    Attributes
    ----------
    shape : tuple of int
    ratio : float
        The probability of 0.
    key : tuple of int
        The two 64-bit words of the stream's key.
    block : int
        Number of blocks of the stream that were used before.
    """

    def __init__(
        self,
        stream: MaskStream,
        block: int,
        like: Array,
        ratio: float,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.shape, self.ratio = tuple(like.shape) if shape is None else shape, ratio
        self.key, self.block = stream.key, block
        self._stream, self._backend, self._dtype = stream, backend_of(like), like.dtype
        self._values: Array = None

    def values(self) -> Array:
        """Return the mask as an array: bool on NumPy, elsewhere of the dtype it was drawn for."""
        if self._values is None:
            here, size = self._backend, math.prod(self.shape)
            if here.name == "cupy":
                self._values = here.empty(self.shape, self._dtype)
                with here.active():
                    philox.fill_mask(self._values, self.key, self.block, self.ratio)
            else:
                kept = self._stream.kept(self.block, size, self.ratio).reshape(self.shape)
                self._values = kept if here.name == "numpy" else here.asarray(kept, self._dtype)
        return self._values


def without_masks(operands: Sequence[Any]) -> Sequence[Any]:
    """Return a formula's operands with each mask replaced by its values."""
    for operand in operands:
        if type(operand) is Mask:
            return [o.values() if type(o) is Mask else o for o in operands]
    return operands


class MaskStream:
    """Random masks of zeros and ones for Dropout, the same on every device.

    An element is 0 where the float32 that NumPy's generator draws for it is below the ratio. On
    CuPy a kernel draws the same bits; elsewhere the host draws the mask and copies it to the
    device. Each mask starts a new block of the stream, so one integer is the stream's state.

    Parameters
    ----------
    seed : int
    *names : str or int
        As for :func:`stream`.

    Attributes
    ----------
    state : int
        Number of blocks used so far. Set it back to an earlier value to draw the same masks again.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        self._generator = stream(seed, *names)
        self._drawn = self.state = 0

    @property
    def position(self) -> dict[str, Any]:
        """Where the stream is, in numbers that JSON can hold: its `key`, and `masks`, the state."""
        return {"masks": self.state, "key": list(self.key)}

    @position.setter
    def position(self, position: Mapping[str, Any]) -> None:
        state = check_count("masks", position["masks"], at_least=0)
        if (key := position.get("key")) is not None:
            if len(key) != 2:
                raise ValueError(f"key must be two numbers, got {len(key)}")
            first, second = (check_count("key", word, at_least=0) for word in key)
            if max(first, second, state) >= 2**64:
                raise ValueError("key and masks must be less than 2**64")
            if (first, second) != self.key:
                self.key = first, second
                self._drawn = -1  # the generator has the other key
        self.state = state

    def draw(self, like: Array, ratio: float) -> Mask | Array:
        """Return a mask with the shape and device of `like`: 0 with probability `ratio`, else 1.

        While a :class:`~dlskills.arrays.share.Share` is computed, these are the share's rows of
        the mask of the whole batch.
        """
        part = share.current()
        if part is not None and part.covers(tuple(like.shape)):
            return self._draw_rows(like, ratio, part)
        block, self.state = self.state, self.state + -(-math.prod(like.shape) // philox.WORDS)
        return Mask(self, block, like, ratio)

    def _draw_rows(self, like: Array, ratio: float, part: share.Share) -> Mask | Array:
        """Return rows of a mask: an array if they do not start at a block."""
        width = math.prod(like.shape[1:])
        first, skipped = divmod(part.start * width, philox.WORDS)
        block = self.state + first
        self.state += -(-part.total * width // philox.WORDS)
        if not skipped:
            return Mask(self, block, like, ratio)
        size = skipped + math.prod(like.shape)
        values = Mask(self, block, like, ratio, (size,)).values()
        return backend_of(like).xp.reshape(values[skipped:size], tuple(like.shape))

    def kept(self, block: int, size: int, ratio: float) -> np.ndarray[Any, Any]:
        """Return where the mask that starts at a block of the stream is 1, as a 1-D bool array."""
        if block != self._drawn:
            bits = self._generator.bit_generator
            counter = np.array([block, 0, 0, 0], np.uint64)
            whole = {"counter": counter, "key": np.array(self.key, np.uint64)}
            bits.state = dict(bits.state) | {"state": whole, "buffer_pos": 4, "has_uint32": 0}
        self._drawn = block + -(-size // philox.WORDS)
        # NumPy's float32 is (bits >> 8) / 2**24. Comparing the integers skips the conversion, which
        # would take longer than drawing the bits.
        draw: Any = self._generator.bit_generator.random_raw  # NumPy's type hints are wrong
        words = draw((self._drawn - block) * philox.WORDS // 2)
        bits = words.astype("<u8", copy=False).view("<u4")[:size]
        return np.asarray(bits >= math.ceil(float(np.float32(ratio)) * 2**24) << 8)

    @functools.cached_property
    def key(self) -> tuple[int, int]:
        """The two 64-bit words of the generator's key."""
        first, second = self._generator.bit_generator.state["state"]["key"]
        return int(first), int(second)
