"""Threads that share out the work of one update.

Numba's own parallel loops are not used: its OpenMP threads spin beside those of NumPy's BLAS and
end the process after a fork, and its own layer dies of two launches at once. A kernel runs without
Python's global lock, so plain threads do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def share_out(work: Callable[[], None]) -> None:
    """Run the same function in as many threads as Numba is told to use, this one among them.

    That is ``numba.get_num_threads()``: NUMBA_NUM_THREADS, or all cores, unless
    ``numba.set_num_threads()`` asked for fewer.
    """
    import numba

    helpers = numba.get_num_threads() - 1
    futures = [_pool().submit(work) for _ in range(helpers)]
    work()
    for future in futures:
        future.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    import numba

    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, "dlskills")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
