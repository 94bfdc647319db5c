"""A network's passes as one CUDA graph: recorded once, then launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dlskills.arrays.backend import Array
from dlskills.arrays.parameters import Parameters
from dlskills.networks.sequential import Sequential


class _Recorded(NamedTuple):
    graph: Any
    x: Array
    t: Array
    loss: Array
    pool: Any  # keeps the memory of all that lies between, which nothing else may use


class CapturedPasses:
    """Loss and gradient of a network, by a CUDA graph for each shape of batch.

    A graph repeats its launches with the numbers of the first time. What changes from step to
    step stays outside: gathering the batch, and the update with its learning rate. A network whose
    layers count their steps (Batch Norm, Dropout) can't be captured.

    Parameters
    ----------
    network : Sequential
        On CuPy.

    Raises
    ------
    ValueError
        The network is elsewhere, or its layers change from step to step.
    RuntimeError
        This CuPy or this device records no graph of what a network does: CuPy up to 14 refuses
        products of matrices while it records.
    """

    def __init__(self, network: Sequential) -> None:
        if network.backend.name != "cupy":
            raise ValueError(
                f"capture needs a network on a CUDA device, this one is on {network.backend}; "
                "leave capture out"
            )
        changing = [repr(layer) for layer in network.layers if layer.get_state()]
        if changing:
            raise ValueError(
                "capture repeats a step as it was, and these layers change from step to step: "
                f"{', '.join(changing)}; leave capture out"
            )
        with network.backend.active():
            _try_to_record()
        self.network = network
        self._recorded: dict[Any, _Recorded] = {}

    def loss_and_gradient(self, x: Array, t: Array) -> tuple[Array, Parameters]:
        """As :meth:`Sequential.loss_and_gradient`."""
        key = (x.shape, x.dtype, t.shape, t.dtype)
        with self.network.backend.active():
            if key not in self._recorded:
                self._recorded[key] = self._record(x, t)
            recorded = self._recorded[key]
            recorded.x[...] = x
            recorded.t[...] = t
            recorded.graph.launch()
            return recorded.loss.copy(), self.network.grads

    def _record(self, x: Array, t: Array) -> _Recorded:
        import cupy

        cupy.cuda.get_current_stream().synchronize()  # the batch must be there
        pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(pool.malloc), stream:
            x, t = x.copy(), t.copy()
            for _ in range(2):  # compiles kernels and fills the pool: neither goes while recording
                self.network.loss_and_gradient(x, t)
            stream.synchronize()
            graph, (loss, _) = _record(stream, lambda: self.network.loss_and_gradient(x, t))
        return _Recorded(graph, x, t, loss, pool)


def _try_to_record() -> None:
    """Refuse to begin where a product of matrices, which every network has, is not recorded."""
    import cupy

    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(pool.malloc), stream:
        a, out = cupy.ones((2, 2), "float32"), cupy.empty((2, 2), "float32")
        cupy.matmul(a, a, out=out)  # makes what the library of products needs beforehand
        stream.synchronize()
        _record(stream, lambda: cupy.matmul(a, a, out=out))


def _record(stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """The graph of some work, and what the work gave."""
    try:
        stream.begin_capture()
        try:
            result = work()
        finally:
            graph = stream.end_capture()
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"no CUDA graph can be recorded here ({reason}); leave capture out"
        ) from error
    return graph, result
