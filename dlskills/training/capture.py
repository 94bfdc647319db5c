"""Forward and backward pass as one CUDA graph: recorded once, launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dlskills.arrays.backend import Array
from dlskills.arrays.parameters import Parameters
from dlskills.networks.sequential import Sequential


class _Recorded(NamedTuple):
    graph: Any
    batch: tuple[Array, ...]
    loss: Array
    pool: Any  # owns the memory of intermediate arrays, which nothing else may use


class CapturedPasses:
    """Loss and gradient of a network by CUDA graphs, one per shape of batch.

    A graph repeats its launches with the scalars of the first time. What changes per step stays
    outside: gathering the batch, and the update with its learning rate. Networks whose layers
    count their steps (Batch Norm, Dropout) can't be captured.

    Parameters
    ----------
    network : Sequential
        On CuPy.

    Raises
    ------
    ValueError
        The network is not on a CUDA device, or its layers change from step to step.
    RuntimeError
        This CuPy or device can't record the passes of a network: CuPy up to 14 can't record matrix
        products.
    """

    def __init__(self, network: Sequential) -> None:
        if network.backend.name != "cupy":
            raise ValueError(
                f"capture needs a network on a CUDA device, got one on {network.backend}. "
                "Leave capture out"
            )
        changing = [repr(layer) for layer in network.layers if layer.get_state()]
        if changing:
            raise ValueError(
                "capture repeats a step unchanged, but these layers change from step to step: "
                f"{', '.join(changing)}. Leave capture out"
            )
        with network.backend.active():
            _try_to_record()
        self.network = network
        self._recorded: dict[Any, _Recorded] = {}

    def loss_and_gradient(self, *batch: Array) -> tuple[Array, Parameters]:
        """See :meth:`Sequential.loss_and_gradient`."""
        key = tuple((array.shape, array.dtype) for array in batch)
        with self.network.backend.active():
            if key not in self._recorded:
                self._recorded[key] = self._record(*batch)
            recorded = self._recorded[key]
            for there, array in zip(recorded.batch, batch, strict=True):
                there[...] = array
            recorded.graph.launch()
            return recorded.loss.copy(), self.network.grads

    def _record(self, *batch: Array) -> _Recorded:
        import cupy

        cupy.cuda.get_current_stream().synchronize()  # wait for the batch
        pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(pool.malloc), stream:
            batch = tuple(array.copy() for array in batch)
            for _ in range(
                2
            ):  # compiles kernels and fills the pool, which is impossible while recording
                self.network.loss_and_gradient(*batch)
            stream.synchronize()
            graph, (loss, _) = _record(stream, lambda: self.network.loss_and_gradient(*batch))
        return _Recorded(graph, batch, loss, pool)


def _try_to_record() -> None:
    """Raise an error if a matrix product, which every network needs, can't be recorded."""
    import cupy

    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(pool.malloc), stream:
        a, out = cupy.ones((2, 2), "float32"), cupy.empty((2, 2), "float32")
        cupy.matmul(a, a, out=out)  # initializes cuBLAS, which is impossible while recording
        stream.synchronize()
        _record(stream, lambda: cupy.matmul(a, a, out=out))


def _record(stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """Record some work; return the graph and the result of the work."""
    try:
        stream.begin_capture()
        try:
            result = work()
        finally:
            graph = stream.end_capture()
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"no CUDA graph can be recorded here ({reason}). Leave capture out"
        ) from error
    return graph, result
