"""Random numbers from named streams of one seed.

Each use draws from a stream of its own, so that adding a Dropout layer, say, leaves the initial
weights as they were. Numbers are drawn on the host, and so are the same for every device. No
global random state is read or written.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlskills.arrays import philox
from dlskills.arrays.backend import Array, backend_of
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


class Mask:
    """A random mask of zeros and ones, drawn when its values are asked for.

    Formulas take it as an operand. On CuPy their kernels compute its values where they are
    needed, from the key and the block; elsewhere the host draws them, once.

    Attributes
    ----------
    shape : tuple of int
    ratio : float
        The probability of 0.
    key : tuple of int
        The two 64-bit words of the stream's key.
    block : int
        How many blocks of the stream were used before.
    """

    def __init__(self, stream: MaskStream, block: int, like: Array, ratio: float) -> None:
        self.shape, self.ratio = tuple(like.shape), ratio
        self.key, self.block = stream.key, block
        self._stream, self._backend, self._dtype = stream, backend_of(like), like.dtype
        self._values: Array = None

    def values(self) -> Array:
        """The mask as an array: bool on NumPy, elsewhere of the dtype it was drawn for."""
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
    """The operands of a formula, with the values of masks in their place."""
    for operand in operands:
        if type(operand) is Mask:
            return [o.values() if type(o) is Mask else o for o in operands]
    return operands


class MaskStream:
    """Random masks of zeros and ones, for Dropout: the same on every device.

    An element is 0 where the float32 that NumPy's generator draws for it is below the ratio. On
    CuPy a kernel draws the same bits; elsewhere the host draws, and the mask is moved. Each mask
    starts a new block of the stream, so that a place in it is a whole number.

    Parameters
    ----------
    seed : int
    *names : str or int
        As for :func:`stream`.

    Attributes
    ----------
    state : int
        Blocks used so far: set it again to draw the same masks once more.
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

    def draw(self, like: Array, ratio: float) -> Mask:
        """A mask with the shape and device of `like`: 0 with probability `ratio`, else 1."""
        block, self.state = self.state, self.state + -(-math.prod(like.shape) // philox.WORDS)
        return Mask(self, block, like, ratio)

    def kept(self, block: int, size: int, ratio: float) -> np.ndarray[Any, Any]:
        """Where one mask, from a block of the stream on, is 1."""
        if block != self._drawn:
            bits = self._generator.bit_generator
            counter = np.array([block, 0, 0, 0], np.uint64)
            whole = {"counter": counter, "key": np.array(self.key, np.uint64)}
            bits.state = dict(bits.state) | {"state": whole, "buffer_pos": 4, "has_uint32": 0}
        self._drawn = block + -(-size // philox.WORDS)
        # The float32 that NumPy makes of 32 bits is (bits >> 8) / 2**24: compared as they are, they
        # need not be made into it, which would take longer than drawing them.
        draw: Any = self._generator.bit_generator.random_raw  # NumPy's hints have it wrong
        words = draw((self._drawn - block) * philox.WORDS // 2)
        bits = words.astype("<u8", copy=False).view("<u4")[:size]
        return np.asarray(bits >= math.ceil(float(np.float32(ratio)) * 2**24) << 8)

    @functools.cached_property
    def key(self) -> tuple[int, int]:
        """The two 64-bit words of the generator's key."""
        first, second = self._generator.bit_generator.state["state"]["key"]
        return int(first), int(second)
