"""Communication between NVIDIA GPUs by NCCL, through CuPy; MPI starts the ranks."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from dlskills.arrays.backend import Array, library_of
from dlskills.distributed.communicator import Bounds, Communicator
from dlskills.distributed.mpi import mpi
from dlskills.installation import install_command


class NCCLCommunicator:
    """Ranks with a GPU each: CuPy arrays travel by NCCL, all else by MPI; made by :func:`nccl`.

    NCCL's operations are queued in the current stream, so the host does not wait for them.

    Parameters
    ----------
    host : Communicator
        For objects, and arrays of other libraries.
    backend : cupyx.distributed.NCCLBackend

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, host: Communicator, backend: Any) -> None:
        self._host, self._nccl = host, backend
        self.rank, self.size = host.rank, host.size

    def broadcast(self, array: Array) -> None:
        if library_of(array) != "cupy":
            self._host.broadcast(array)
            return
        self._nccl.broadcast(array, root=0)

    def allreduce(self, array: Array, *, mean: bool = True) -> None:
        if library_of(array) != "cupy":
            self._host.allreduce(array, mean=mean)
            return
        self._nccl.all_reduce(array, array, op="sum")
        if mean and self.size > 1:
            array *= 1 / self.size

    def reduce_scatter(self, array: Array, bounds: Bounds, *, mean: bool = True) -> None:
        if library_of(array) != "cupy":
            self._host.reduce_scatter(array, bounds, mean=mean)
            return
        # NCCL's own takes parts of one length; a group of operations runs as one
        with _group():
            for root, (start, stop) in enumerate(bounds):
                if stop > start:
                    part = array[start:stop]
                    self._nccl.reduce(part, part, root=root, op="sum")
        if mean and self.size > 1:
            array[slice(*bounds[self.rank])] *= 1 / self.size

    def allgather(self, array: Array, bounds: Bounds) -> None:
        if library_of(array) != "cupy":
            self._host.allgather(array, bounds)
            return
        with _group():
            for root, (start, stop) in enumerate(bounds):
                if stop > start:
                    self._nccl.broadcast(array[start:stop], root=root)

    def barrier(self) -> None:
        self._host.barrier()

    def allgather_object(self, value: Any) -> list[Any]:
        return self._host.allgather_object(value)

    def broadcast_object(self, value: Any) -> Any:
        return self._host.broadcast_object(value)

    def reached(self, step: int | None) -> None:
        self._host.reached(step)

    def __repr__(self) -> str:
        return f"<NCCL rank {self.rank} of {self.size}>"


@contextlib.contextmanager
def _group() -> Any:
    from cupy.cuda import nccl as library

    if not library.available:  # the operations run one after the other
        yield
        return
    library.groupStart()
    try:
        yield
    finally:
        library.groupEnd()


@functools.cache
def nccl() -> NCCLCommunicator:
    """Return the ranks that ``mpiexec -n N python script.py`` started, a GPU each.

    Call it before the network is made: it makes the GPU of this rank the current device. Ranks on
    one machine take its GPUs in order.

    Returns
    -------
    Communicator
        The same one each time.

    Raises
    ------
    ImportError
        mpi4py or CuPy is not installed.
    RuntimeError
        CuPy has no NCCL here, or a machine has fewer GPUs than ranks.
    """
    host = mpi()
    try:
        import cupy
        import cupyx.distributed
    except ImportError:
        raise ImportError(
            f"nccl() needs CuPy, which is not installed: {install_command('gpu')}"
        ) from None
    from mpi4py import MPI

    local = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED).Get_rank()
    devices = cupy.cuda.runtime.getDeviceCount()
    if local >= devices:
        raise RuntimeError(
            f"nccl() needs a GPU per rank, and this machine has {devices} for rank {host.rank}, "
            f"its number {local + 1}; start fewer ranks per machine, or use mpi()"
        )
    cupy.cuda.Device(local).use()
    if not cupy.cuda.nccl.available:
        raise RuntimeError("this CuPy has no NCCL: pip install nvidia-nccl-cu12, or use mpi()")
    backend = cupyx.distributed.init_process_group(host.size, host.rank, use_mpi=True)
    return NCCLCommunicator(host, backend)
