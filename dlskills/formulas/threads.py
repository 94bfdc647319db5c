"""Threads that share the work of one formula.

Numba's own parallel loops are not used: its OpenMP threads spin beside those of NumPy's BLAS and
end the process after a fork, and its own layer dies of two launches at once. A kernel runs without
Python's global lock, so plain threads do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

# Fewer elements are done by one thread before others have woken up.
SHARE_FROM = 1_000_000
SHARE = 250_000
LINE = 64  # elements: whole cache lines in any precision


def shares(total: int, elements: int) -> list[tuple[int, int]]:
    """The parts, (begin, end), in which so many lines (or rows, or elements) are worked on.

    Near the threshold there are as many as threads, as each hand-over costs. With more work there
    is a multiple of that, so that a thread which is done sooner takes the next.

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

    workers = numba.get_num_threads()
    count = min(workers * max(1, elements // (4 * SHARE * workers)), total)
    ends = [total * (i + 1) // count for i in range(count)]
    return list(zip([0, *ends], ends, strict=False))


@dataclass(frozen=True)
class Cuts:
    """Rows cut into parts, and runs of parts that are a thread's share.

    Attributes
    ----------
    rows, begins, sizes : list of int
        For each part its row, its first element there, and its number of elements.
    runs : list of (int, int)
        For each share its first part, and the one behind its last.
    """

    rows: list[int]
    begins: list[int]
    sizes: list[int]
    runs: list[tuple[int, int]]


def cuts(sizes: Sequence[int]) -> Cuts:
    """Cut rows of so many elements into shares of about one size."""
    total = sum(sizes)
    made = Cuts([], [], [], [])
    if not total:
        return made
    stops = [end for _, end in shares(total, total)]
    done, first, share = 0, 0, 0
    for row, size in enumerate(sizes):
        begin = 0
        while begin < size:
            # at whole cache lines, so that no two threads write to the same one
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
    """Call ``work(0)`` to ``work(count - 1)``, in as many threads as Numba is told to use.

    That is ``numba.get_num_threads()``: NUMBA_NUM_THREADS, or all cores, unless
    ``numba.set_num_threads()`` asked for fewer. This thread is one of them.
    """
    if count == 1:
        work(0)
        return
    import numba

    waiting = iter(range(count))  # shared: each thread takes the next when it is free

    def take() -> None:
        for i in waiting:
            work(i)

    helpers = min(numba.get_num_threads(), count) - 1
    futures: list[Future[None]] = []
    try:
        for _ in range(helpers):  # one by one, so that those that did start are waited for
            futures.append(_pool().submit(take))  # noqa: PERF401
    except RuntimeError:  # the interpreter is shutting down, and starts no threads any more
        pass
    try:
        take()
    finally:
        wait(futures)  # after an error too, so that nothing writes to arrays any more
    for future in futures:
        future.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    import numba

    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, "dlskills")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
