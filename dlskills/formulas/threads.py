"""Threads that share the work of one formula.

Numba's own parallel loops are not used: its OpenMP threads spin beside those of NumPy's BLAS and
end the process after a fork, and its own layer dies of two launches at once. A kernel runs without
Python's global lock, so plain threads do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# Fewer elements are done by one thread before others have woken up.
SHARE_FROM = 1_000_000
SHARE = 250_000


def shares(total: int, elements: int) -> list[tuple[int, int]]:
    """The parts, (begin, end), in which so many lines (or rows, or elements) are worked on.

    Near the threshold there are as many as threads, as each hand-over costs; with more work they
    are smaller, so that a thread which is done sooner takes the next.

    Parameters
    ----------
    total : int
        What is to be shared.
    elements : int
        The number of elements of all of them.
    """
    if elements < SHARE_FROM:
        return [(0, total)]
    import numba

    count = max(numba.get_num_threads(), elements // (4 * SHARE))
    count = min(count, total)
    ends = [total * (i + 1) // count for i in range(count)]
    return list(zip([0, *ends], ends, strict=False))


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0)`` to ``work(count - 1)``, in as many threads as Numba is told to use.

    That is ``numba.get_num_threads()``: NUMBA_NUM_THREADS, or all cores, unless
    ``numba.set_num_threads()`` asked for fewer. This thread is one of them.
    """
    if count == 1:
        work(0)
        return
    import numba

    waiting = iter(range(count))  # whoever is done takes the next; next() is atomic

    def take() -> None:
        for i in waiting:
            work(i)

    helpers = min(numba.get_num_threads(), count) - 1
    futures = []
    try:
        futures = [_pool().submit(take) for _ in range(helpers)]
    except RuntimeError:  # the interpreter is shutting down, and starts no threads any more
        pass
    take()
    for future in futures:
        future.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    import numba

    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, "dlskills")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
