"""Work shared out over processes, and how many threads each of them computes with."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
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
        Where the block ends with an error, be it an interruption, its processes are ended, and
        what they were at is lost. So they are where this process ends without a word.
    """
    threads = str(max(cores() // jobs, 1))
    before = {name: os.environ.get(name) for name in _THREADS}
    others = set(multiprocessing.active_children())
    os.environ.update({name: threads for name in _THREADS if name not in os.environ})
    try:
        # spawned, not forked: threads and a GPU's context do not survive a fork
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_begin, initargs=(initializer, initargs)
        ) as pool:
            try:
                yield pool
            except BaseException:
                # those at work would go on, and take up what has been handed to them already
                ours = set(multiprocessing.active_children()) - others
                for process in ours:
                    process.terminate()
                for process in ours:
                    process.join()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _begin(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    """What a process does first: it ends with an interruption, and with its parent."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell's job may have it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
