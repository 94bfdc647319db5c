"""Worker processes: their share of the cores, and errors when one is killed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from typing import Any


class WorkerLostError(RuntimeError):
    """A worker process was killed or failed to start."""


# Environment variables from which numerical libraries read their number of threads when loaded.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which matrix products use one thread and are reproducible bit for bit.

    With several threads, the order of summation, and so the rounding, depends on their number.
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
    """Start worker processes that share the cores, with one thread per core of their share.

    Parameters
    ----------
    jobs : int
        Number of processes.
    initializer, initargs
        Called first in each worker. If it raises an exception, every task raises it.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        On any exception, or if this process dies, the workers are terminated and their unfinished
        work is lost.

    Raises
    ------
    WorkerLostError
        A worker was killed, for example by the operating system when memory ran out.
    """
    threads = str(max(cores() // jobs, 1))
    before = {name: os.environ.get(name) for name in _THREADS}
    others = set(multiprocessing.active_children())
    os.environ.update({name: threads for name in _THREADS if name not in os.environ})
    try:
        context = _Context()
        with _Pool(
            jobs, mp_context=context, initializer=_begin, initargs=(initializer, initargs)
        ) as pool:
            try:
                yield pool
            except BrokenProcessPool:
                pool.shutdown(wait=True)  # so that the exit status of every worker is known
                raise WorkerLostError(context.loss()) from None
            except BaseException:
                # Otherwise workers would finish the tasks already handed to them.
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


class _Context(multiprocessing.context.SpawnContext):
    """A spawn context that keeps track of its workers.

    Workers are spawned, not forked, because threads and GPU contexts do not survive a fork.
    """

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[Any] = []

    def Process(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        worker = super().Process(*args, **options)
        self._workers.append(worker)
        return worker

    def loss(self) -> str:
        """Return which worker was lost, why, and what to do."""
        ended = [(number, worker) for number, worker in enumerate(self._workers, 1)
                 if worker.exitcode not in (None, 0)]  # fmt: skip
        # the pool terminates all others by SIGTERM
        lost = [pair for pair in ended if pair[1].exitcode != -signal.SIGTERM] or ended
        if not lost:
            return "a worker was lost. Use fewer jobs (--jobs)"
        number, worker = lost[0]
        which = f"worker {number} of {len(self._workers)} (process {worker.pid})"
        if worker.exitcode > 0:
            return f"{which} ended with exit status {worker.exitcode}. See above for the reason"
        return (
            f"{which} was killed ({_signal_name(-worker.exitcode)}), possibly because memory ran "
            "out. Use fewer jobs (--jobs), or close other programs"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Pool(concurrent.futures.ProcessPoolExecutor):
    """A pool whose tasks raise the exception of a failed initializer."""

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Any:
        return super().submit(_call, function, *args, **options)


_failure: Exception | None = None  # of this worker's initializer


def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if _failure is not None:
        raise _failure
    return function(*args, **options)


def _begin(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    """Initialize a worker that ends on an interruption and when its parent dies."""
    global _failure
    if (
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    ):  # ignored in background jobs of a shell
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:
            _failure = error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
