"""Where a data set's samples live while a network trains, and how batches of them are had."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlskills.backend import Array, Backend, DType, to_host

_SHARE = 0.5  # of the free memory of a device that a data set may take; layers need the rest


class SamplesOnDevice:
    """All samples on the network's device: batches are gathered there.

    Parameters
    ----------
    backend : Backend
    x, t : array
        Inputs and targets of any library and device, moved once.
    dtype : dtype
        Of the inputs.
    """

    def __init__(self, backend: Backend, x: Array, t: Array, dtype: DType) -> None:
        self.backend = backend
        self.x, self.t = backend.asarray(x, dtype), backend.asarray(t)

    def start_epoch(self, order: np.ndarray[Any, Any]) -> None:
        """Take the order of an epoch's samples; it is moved as a whole."""
        self._order = self.backend.asarray(order)

    def batch(self, start: int, stop: int) -> tuple[Array, Array]:
        """Inputs and targets of the samples from `start` to `stop` in the epoch's order."""
        rows, xp = self._order[start:stop], self.backend.xp
        with self.backend.active():
            return xp.take(self.x, rows, axis=0), xp.take(self.t, rows, axis=0)

    def part(self, start: int, stop: int) -> tuple[Array, Array]:
        """Inputs and targets of the samples from `start` to `stop` as they were given."""
        return self.x[start:stop, ...], self.t[start:stop, ...]


class StagedSamples:
    """Samples on the host, for a data set larger than the memory of a CUDA device.

    While the network computes on a batch, the next one is gathered into page-locked memory and
    copied in a stream of its own.

    Parameters
    ----------
    backend : Backend
        Of CuPy.
    x, t, dtype
        See :class:`SamplesOnDevice`.
    batch_size : int
        Of the largest batch.
    """

    def __init__(self, backend: Backend, x: Array, t: Array, dtype: DType, batch_size: int) -> None:
        import cupy
        import cupyx

        self.backend, self._cupy = backend, cupy
        self.x, self.t = to_host(x), to_host(t)
        kinds = ((self.x.shape[1:], np.dtype(dtype)), (self.t.shape[1:], self.t.dtype))
        shapes = [((batch_size, *shape), kind) for shape, kind in kinds]
        with backend.active():
            self._copies = cupy.cuda.Stream(non_blocking=True)
            # two of each: one is computed with while the other is filled
            self._locked = [[cupyx.empty_pinned(*kind) for kind in shapes] for _ in range(2)]
            self._arrays = [[cupy.empty(*kind) for kind in shapes] for _ in range(2)]
            self._filled = [cupy.cuda.Event() for _ in range(2)]
            self._used = [cupy.cuda.Event() for _ in range(2)]
        self._ahead: tuple[int, int] | None = None
        self._turn = 0

    def start_epoch(self, order: np.ndarray[Any, Any]) -> None:
        """Take the order of an epoch's samples."""
        self._order, self._ahead = order, None

    def batch(self, start: int, stop: int) -> tuple[Array, Array]:
        """Inputs and targets, to be used before the next batch is asked for."""
        with self.backend.active():
            here = self._cupy.cuda.get_current_stream()
            if self._ahead != (start, stop):
                self._fill(start, stop)
            turn = self._turn
            here.wait_event(self._filled[turn])
            # what was computed with the other arrays until now comes before their next filling
            self._turn = 1 - turn
            self._used[self._turn].record(here)
            following = (stop, min(2 * stop - start, len(self._order)))
            self._ahead = following if following[0] < following[1] else None
            if self._ahead:
                self._fill(*self._ahead)
            x, t = self._arrays[turn]
            return x[: stop - start, ...], t[: stop - start, ...]

    def _fill(self, start: int, stop: int) -> None:
        rows, turn = self._order[start:stop], self._turn
        self._filled[turn].synchronize()  # the page-locked memory is free again
        self._copies.wait_event(self._used[turn])
        pairs = zip((self.x, self.t), self._locked[turn], self._arrays[turn], strict=True)
        for samples, locked, array in pairs:
            locked[: stop - start] = samples[rows]
            array[: stop - start].set(locked[: stop - start], stream=self._copies)
        self._filled[turn].record(self._copies)

    def part(self, start: int, stop: int) -> tuple[Array, Array]:
        """Inputs and targets of the samples from `start` to `stop` as they were given."""
        asarray = self.backend.asarray
        return asarray(self.x[start:stop]), asarray(self.t[start:stop])


Samples = SamplesOnDevice | StagedSamples


def place_samples(
    backend: Backend, x: Array, t: Array, dtype: DType, batch_size: int, on_device: bool | None
) -> Samples:
    """Samples on the device, or staged; with `on_device` None as its free memory allows."""
    if on_device is None:
        on_device = backend.name != "cupy" or _fits(backend, x, t, dtype)
    if on_device or backend.name != "cupy":  # elsewhere the host is the device, or decides
        return SamplesOnDevice(backend, x, t, dtype)
    return StagedSamples(backend, x, t, dtype, batch_size)


def _fits(backend: Backend, x: Array, t: Array, dtype: DType) -> bool:
    import cupy

    free, _ = backend.device.mem_info
    with backend.active():
        free += cupy.get_default_memory_pool().free_bytes()
    needed = x.size * np.dtype(dtype).itemsize + t.size * t.dtype.itemsize
    return bool(needed <= _SHARE * free)
