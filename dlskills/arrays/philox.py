"""NumPy's Philox generator in CUDA C++, bit-identical to the original.

Philox 4x64 with 10 rounds: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy
as 1, 2, 3". Block c of a stream depends only on c and the key, so every GPU thread computes its own
block.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array

WORDS = 8
"""Number of 32-bit words in a block. NumPy turns each into a float32."""

SOURCE = """\
struct Mask { unsigned long long key0, key1, first; float ratio; };
struct Philox {
    unsigned long long words[4];
    __device__ Philox(const Mask& mask, unsigned long long block) {
        unsigned long long c0 = mask.first + block, c1 = 0, c2 = 0, c3 = 0;
        unsigned long long k0 = mask.key0, k1 = mask.key1;
        for (int round = 0; round < 10; ++round) {
            const unsigned long long m0 = 0xD2E7470EE14C6C93ULL, m1 = 0xCA5A826395121157ULL;
            const unsigned long long high0 = __umul64hi(m0, c0), low0 = m0 * c0;
            const unsigned long long high1 = __umul64hi(m1, c2), low1 = m1 * c2;
            c0 = high1 ^ c1 ^ k0;
            c1 = low1;
            c2 = high0 ^ c3 ^ k1;
            c3 = low0;
            k0 += 0x9E3779B97F4A7C15ULL;
            k1 += 0xBB67AE8584CAA73BULL;
        }
        words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
    }
    // whether the float32 that NumPy makes of word j is at least the ratio
    __device__ bool kept(int j, float ratio) const {
        const unsigned int bits = j % 2 ? words[j / 2] >> 32 : words[j / 2];
        return !((bits >> 8) * (1.0f / 16777216.0f) < ratio);
    }
};
"""
"""Definitions for kernels, used as ``Philox(mask, block).kept(j, mask.ratio)``."""

_ARGUMENT = struct.Struct("=QQQf4x")  # the layout of a Mask, with its padding


def kernel_argument(key: tuple[int, int], block: int, ratio: float) -> np.ndarray[Any, Any]:
    """Return a ``Mask`` of :data:`SOURCE`, to be passed to a kernel by value.

    Parameters
    ----------
    key : tuple of int
        The two 64-bit words of the key in a ``numpy.random.Philox`` state.
    block : int
        Number of blocks of the stream that were used before.
    ratio : float
        The probability of 0.
    """
    # NumPy increments the counter before it computes: its first block is number 1
    first = (block + 1) % 2**64
    return np.frombuffer(_ARGUMENT.pack(*key, first, ratio), f"V{_ARGUMENT.size}")


def fill_mask(mask: Array, key: tuple[int, int], block: int, ratio: float) -> None:
    """Fill a contiguous CuPy array with a random mask of zeros and ones, in one kernel launch.

    Parameters
    ----------
    mask : cupy.ndarray
        Of any shape and floating-point dtype.
    key : tuple of int
        The two 64-bit words of the key in a ``numpy.random.Philox`` state.
    block : int
        Number of blocks of the stream that were used before.
    ratio : float
        The probability of 0.
    """
    blocks = -(-mask.size // WORDS)
    if blocks:
        _kernel()(*key, block + 1, ratio, mask.size, mask, size=blocks)


@functools.cache
def _kernel() -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        "uint64 key0, uint64 key1, uint64 first, float32 ratio, int64 size",
        "raw T mask",
        f"""
        const Mask given = {{key0, key1, first, ratio}};
        const Philox bits(given, i);
        #pragma unroll  // words indexed by a variable would be in local memory
        for (int j = 0; j < {WORDS}; ++j)
            if ({WORDS} * i + j < size) mask[{WORDS} * i + j] = bits.kept(j, ratio) ? T(1) : T(0);
        """,
        "dlskills_dropout_mask",
        preamble=SOURCE,
    )
