"""Work sent to the workers of an executor, on this machine or others."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pickle
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

import dlskills
from dlskills.experiments.environment import source_code
from dlskills.experiments.releases import versions
from dlskills.processes import WorkerLostError, one_thread, processes

Future: TypeAlias = "concurrent.futures.Future[Any]"

_PATIENCE = 2.0  # seconds between checks on the workers while none finishes


class WorkerDiffersError(ImportError):
    """A worker runs other code, so its numbers might differ."""


class Pool:
    """Runs calls on an executor of this machine, as :func:`dlskills.processes.processes` gives."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], *args: Any) -> Future:
        """Submit a call."""
        return self._executor.submit(function, *args)

    def completed(self, futures: Iterable[Future]) -> Iterator[Future]:
        """Yield futures as they finish."""
        return concurrent.futures.as_completed(futures)

    def result(self, future: Future) -> Any:
        """Return the result of a finished future."""
        return future.result()


class RemotePool(Pool):
    """Runs calls on any executor, whose workers may be on other machines.

    Workers refuse calls if their code or libraries are not those of here. An executor with a method
    ``check`` is asked every few seconds whether it still has workers. The methods raise
    :class:`~dlskills.processes.WorkerLostError` if a worker was killed.
    """

    def submit(self, function: Callable[..., Any], *args: Any) -> Future:
        # Pickled here: a worker of another version must say so before it reads the call.
        call = pickle.dumps((function, args))
        here = (dlskills.__version__, source_code(), versions())
        try:
            return self._executor.submit(_run, here, call)
        except concurrent.futures.BrokenExecutor as error:
            raise self._lost(error) from error

    def completed(self, futures: Iterable[Future]) -> Iterator[Future]:
        left = set(futures)
        check = getattr(self._executor, "check", None)
        while left:
            done, left = concurrent.futures.wait(
                left, timeout=_PATIENCE, return_when=concurrent.futures.FIRST_COMPLETED
            )
            if check is not None and not done:
                check()
            yield from done

    def result(self, future: Future) -> Any:
        try:
            return future.result()
        except (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError) as error:
            raise self._lost(error) from error
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # Dask's, after several attempts
                raise self._lost(error) from error
            raise

    def _lost(self, error: BaseException) -> WorkerLostError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = type(self._executor).__name__.lstrip("_")
        return WorkerLostError(f"a worker of the executor {name} was lost ({reason})")


@contextlib.contextmanager
def pool(executor: concurrent.futures.Executor | None, jobs: int) -> Iterator[Pool]:
    """Open a pool on an executor, or on processes of this machine if there is none."""
    if executor is not None:
        yield RemotePool(executor)
        return
    with processes(jobs) as own:
        yield Pool(own)


# In the worker


def _run(here: tuple[str, str, list[str]], call: bytes) -> Any:
    """Run a call that was sent with the code and releases of the process that asks for it."""
    who = f"worker {platform.node()}, process {os.getpid()}"
    asked, own = here[0], dlskills.__version__
    if own != asked:
        raise WorkerDiffersError(f"{who} has dlskills {own}, not {asked}; {_REMEDY}")
    if here[1] != source_code():
        raise WorkerDiffersError(f"{who} has other source code of dlskills {own}; {_REMEDY}")
    if here[2] != versions():
        theirs, ours = (
            ", ".join(release for release in one if release not in other)
            for one, other in ((versions(), here[2]), (here[2], versions()))
        )
        raise WorkerDiffersError(f"{who} has {theirs or 'less'}, not {ours or 'that'}; {_REMEDY}")
    with _ONE_THREAD:
        try:
            function, args = pickle.loads(call)  # noqa: S301 - from this program's own process
            return function(*args)
        except Exception as error:
            error.add_note(f"on {who}")
            raise


_REMEDY = "install the same on all workers, and restart them"


class _OneThread(AbstractContextManager[None]):
    """One thread for matrix products while any call runs.

    Executors such as Dask's run calls in threads, and the limit is that of the whole process.
    """

    def __init__(self) -> None:
        self._lock, self._running, self._limit = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._running == 0:
                self._limit.enter_context(one_thread())
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._limit.close()


_ONE_THREAD = _OneThread()
