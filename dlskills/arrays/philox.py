"""NumPy's Philox generator as a kernel of CuPy: the same bits, computed where they are needed.

Philox 4x64 with 10 rounds: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy
as 1, 2, 3". Block c of a stream is a function of c and the key alone, so that every thread of a
GPU computes its own.
"""

from __future__ import annotations

import functools
from typing import Any

from dlskills.arrays.backend import Array

WORDS = 8
"""32-bit words in a block: NumPy makes a float32 of each."""

_ROUNDS = """
unsigned long long c0 = first + i, c1 = 0, c2 = 0, c3 = 0, k0 = key0, k1 = key1;
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
const unsigned long long words[4] = {c0, c1, c2, c3};
"""

_MASK = (
    _ROUNDS
    + """
#pragma unroll  // else `words`, indexed by a variable, would lie in memory
for (int j = 0; j < 8; ++j) if (8 * i + j < size) {
    const unsigned int bits = j % 2 ? words[j / 2] >> 32 : words[j / 2];
    const float uniform = (bits >> 8) * (1.0f / 16777216.0f);
    mask[8 * i + j] = uniform < ratio ? T(0) : T(1);
}
"""
)


def fill_mask(mask: Array, key: tuple[int, int], block: int, ratio: float) -> None:
    """Write zeros, with probability `ratio`, and ones into a contiguous CuPy array, in one launch.

    Parameters
    ----------
    mask : cupy.ndarray
        Of any shape and floating-point dtype.
    key : tuple of int
        The two 64-bit words of a ``numpy.random.Philox`` state's key.
    block : int
        How many blocks of the stream were used before.
    ratio : float
    """
    blocks = -(-mask.size // WORDS)
    if blocks:
        # NumPy counts up before it computes: its first block is number 1
        _kernel()(*key, block + 1, ratio, mask.size, mask, size=blocks)


@functools.cache
def _kernel() -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        "uint64 key0, uint64 key1, uint64 first, float32 ratio, int64 size",
        "raw T mask",
        _MASK,
        "dlskills_dropout_mask",
    )
