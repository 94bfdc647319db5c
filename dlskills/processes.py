"""Work shared out over processes, and how many threads each of them computes with."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

# What the libraries below us read when they are loaded, to know how many threads to start.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_thread() -> AbstractContextManager[Any]:
    """A context in which matrix products take one thread, and so give the same bits each time.

    Several threads divide a product by their number, and another division rounds otherwise.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


@contextlib.contextmanager
def processes(
    jobs: int,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Processes that share the cores: as many threads in each as there are cores for it.

    Parameters
    ----------
    jobs : int
        Processes.
    initializer, initargs
        What each of them calls first.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        Where the block ends with an error, be it an interruption, nothing more is begun.
    """
    threads = str(max(cores() // jobs, 1))
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: threads for name in _THREADS if name not in os.environ})
    try:
        # spawned, not forked: threads and a GPU's context do not survive a fork
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(
            jobs, mp_context=context, initializer=initializer, initargs=initargs
        ) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
