"""Threads that share the work of one formula.

Numba's parallel loops are not used: its OpenMP threads compete with those of NumPy's BLAS and abort
the process after a fork, and its workqueue layer crashes on two concurrent launches. Kernels
release the GIL, so Python threads are enough.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

# One thread finishes fewer elements than this before other threads have woken up.
SHARE_FROM = 1_000_000
SHARE = 250_000
LINE = 64  # elements: whole cache lines in any precision


def shares(total: int, elements: int) -> list[tuple[int, int]]:
    """Split lines (or rows, or elements) into shares for threads.

    Near the threshold there is one share per thread, since each hand-over has a cost. Larger work
    is split into a multiple of that, so that a thread that finishes early takes another share.

    Parameters
    ----------
    total : int
        The number of lines to share.
    elements : int
        The total number of elements in these lines.

    Returns
    -------
    list of (int, int)
        The begin and end of each share.
    """
    if elements < SHARE_FROM:
        return [(0, total)]
    import numba

    workers = numba.get_num_threads()
    count = min(workers * max(1, elements // (4 * SHARE * workers)), total)
    ends = [total * (i + 1) // count for i in range(count)]
    return list(zip([0, *ends], ends, strict=False))


@dataclass(frozen=True)
class Cuts:
    """Rows cut into parts, and runs of parts that form a thread's share.

    Attributes
    ----------
    rows, begins, sizes : list of int
        For each part, its row, its first element in that row, and its number of elements.
    runs : list of (int, int)
        For each share, its first part and the end (exclusive) of its parts.
    """

    rows: list[int]
    begins: list[int]
    sizes: list[int]
    runs: list[tuple[int, int]]


def cuts(sizes: Sequence[int]) -> Cuts:
    """Cut rows of the given sizes into shares of about equal size."""
    total = sum(sizes)
    made = Cuts([], [], [], [])
    if not total:
        return made
    stops = [end for _, end in shares(total, total)]
    done, first, share = 0, 0, 0
    for row, size in enumerate(sizes):
        begin = 0
        while begin < size:
            # at cache-line boundaries, so that no two threads write to the same line
            wanted = -(-(stops[share] - done) // LINE) * LINE
            end = min(size, begin + max(wanted, LINE))
            made.rows.append(row)
            made.begins.append(begin)
            made.sizes.append(end - begin)
            done += end - begin
            begin = end
            if done >= stops[share] and done < total:
                made.runs.append((first, len(made.rows)))
                first = len(made.rows)
                while stops[share] <= done:
                    share += 1
    made.runs.append((first, len(made.rows)))
    return made


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0)`` to ``work(count - 1)`` in up to ``numba.get_num_threads()`` threads.

    That number is NUMBA_NUM_THREADS, or the number of cores, unless ``numba.set_num_threads()`` has
    lowered it. The calling thread is one of them.
    """
    if count == 1:
        work(0)
        return
    import numba

    waiting = iter(range(count))  # shared by all threads

    def take() -> None:
        for i in waiting:
            work(i)

    helpers = min(numba.get_num_threads(), count) - 1
    futures: list[Future[None]] = []
    try:
        for _ in range(helpers):  # not a comprehension: if one fails, wait for those that started
            futures.append(_pool().submit(take))  # noqa: PERF401
    except RuntimeError:  # the interpreter is shutting down and can't start threads
        pass
    try:
        take()
    finally:
        wait(futures)  # also after an error, so that no thread still writes to the arrays
    for future in futures:
        future.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    import numba

    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, "dlskills")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
