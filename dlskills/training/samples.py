"""Data sets on the device, or on the host with batches copied ahead."""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import (
    Array,
    Backend,
    DType,
    backend_of,
    dtype_name,
    to_host,
    with_all_operations,
)
from dlskills.training.memory import memory_explained

_SHARE = 0.5  # fraction of a device's free memory that data may take; layers need the rest
_ROWS = 10_000  # maximum number of samples evaluated at a time
_PART = 32 << 20  # bytes of samples moved at a time for it

Bounds: TypeAlias = Sequence[tuple[int, int]]
"""Start and stop of each batch within the order of an epoch's samples."""

Rows: TypeAlias = slice | np.ndarray[Any, Any]


class SamplesOnDevice:
    """All samples on the network's device: batches are gathered there.

    Parameters
    ----------
    backend : Backend
    x, t : array
        Inputs and targets of any library and device. Moved once, unless they are on the device.
    dtype : dtype
        Of the inputs.
    weights : array, shape (N,), optional
        The weight of each sample; batches then have it as a third array.

    Attributes
    ----------
    rows_at_a_time : int
        The number of samples to request from :meth:`part` at a time.
    """

    rows_at_a_time = _ROWS

    def __init__(
        self, backend: Backend, x: Array, t: Array, dtype: DType, weights: Array | None = None
    ) -> None:
        self.backend = backend
        self.x, self.t = backend.asarray(x, dtype), with_all_operations(backend.asarray(t))
        self._arrays: tuple[Array, ...] = (self.x, self.t)
        if weights is not None:
            self._arrays += (backend.asarray(weights),)

    def start_epoch(self, order: np.ndarray[Any, Any], bounds: Bounds) -> None:
        """Set the order of an epoch's samples, moved in one transfer, and the batch bounds."""
        self._order, self._bounds = self.backend.asarray(order), bounds

    def batch(self, position: int) -> tuple[Array, ...]:
        """Return inputs, targets and weights of the epoch's batch at `position`, from 0."""
        return self._gathered(self._order[slice(*self._bounds[position])], self._arrays)

    def part(self, rows: Rows) -> tuple[Array, Array]:
        """Return inputs and targets of some samples, in the order of the data."""
        if isinstance(rows, slice):
            return self.x[rows, ...], self.t[rows, ...]
        x, t = self._gathered(self.backend.asarray(rows), (self.x, self.t))
        return x, t

    def digest(self) -> str:
        """Return a text that tells data sets apart."""
        return _digest(self.x, self.t, self.x.dtype)

    def digest_of_weights(self) -> str | None:
        """Return a text that tells weights apart; None if there are none."""
        return _digest_of_weights(*self._arrays[2:])

    def _gathered(self, rows: Array, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        xp = self.backend.xp
        with self.backend.active():
            return tuple([xp.take(array, rows, axis=0) for array in arrays])


class StagedSamples:
    """Samples on the host, for a data set larger than the memory of a CUDA device.

    While the device computes on one batch, the next one is gathered into page-locked memory and
    copied on a separate stream.

    Parameters
    ----------
    backend : Backend
        Of CuPy.
    x, t, dtype, weights
        See :class:`SamplesOnDevice`.
    batch_size : int
        Of the largest batch.

    Attributes
    ----------
    rows_at_a_time : int
        The number of samples to request from :meth:`part` at a time: tens of MiB, or one sample.
    """

    def __init__(
        self,
        backend: Backend,
        x: Array,
        t: Array,
        dtype: DType,
        batch_size: int,
        weights: Array | None = None,
    ) -> None:
        import cupy
        import cupyx

        self.backend, self._cupy, self._dtype = backend, cupy, dtype
        self.x, self.t = to_host(x), to_host(t)
        self._weights = [] if weights is None else [to_host(weights)]
        kinds = [(array.shape[1:], array.dtype) for array in (self.x, self.t, *self._weights)]
        kinds[0] = self.x.shape[1:], np.dtype(dtype)
        shapes = [((batch_size, *shape), kind) for shape, kind in kinds]
        row = sum(math.prod(shape) * kind.itemsize for shape, kind in kinds)
        self.rows_at_a_time = min(max(_PART // max(row, 1), 1), _ROWS)
        with backend.active():
            self._copies = cupy.cuda.Stream(non_blocking=True)
            # CuPy reuses freed memory at once, even if a copy still runs
            weakref.finalize(self, self._copies.synchronize)
            # two of each: one is in use while the other is filled
            self._locked = [[cupyx.empty_pinned(*kind) for kind in shapes] for _ in range(2)]
            self._arrays = [[cupy.empty(*kind) for kind in shapes] for _ in range(2)]
            self._filled = [cupy.cuda.Event() for _ in range(2)]
            self._used = [cupy.cuda.Event() for _ in range(2)]
            here = cupy.cuda.get_current_stream()
            for event in self._used:  # earlier users of the arrays' memory are done by then
                event.record(here)
        self._ahead: int | None = None
        self._turn = 0

    def start_epoch(self, order: np.ndarray[Any, Any], bounds: Bounds) -> None:
        """Set the order of an epoch's samples, and the batch bounds."""
        self._order, self._bounds = order, bounds
        self._ahead = None  # a copy may still run: _fill waits for it

    def batch(self, position: int) -> tuple[Array, ...]:
        """Return the batch at `position`, from 0; it is valid until the next call."""
        with self.backend.active():
            here = self._cupy.cuda.get_current_stream()
            ahead, self._ahead = self._ahead, None  # until it is filled: that may fail
            if ahead != position:
                self._fill(position)
            turn = self._turn
            here.wait_event(self._filled[turn])
            # the other arrays may be filled once the work queued so far is done
            self._turn = 1 - turn
            self._used[self._turn].record(here)
            if position + 1 < len(self._bounds):
                self._fill(position + 1)
                self._ahead = position + 1
            start, stop = self._bounds[position]
            return tuple([array[: stop - start, ...] for array in self._arrays[turn]])

    def _fill(self, position: int) -> None:
        rows, turn = self._order[slice(*self._bounds[position])], self._turn
        self._filled[turn].synchronize()  # the page-locked memory is free again
        self._copies.wait_event(self._used[turn])
        arrays = self.x, self.t, *self._weights
        pairs = zip(arrays, self._locked[turn], self._arrays[turn], strict=True)
        for samples, locked, array in pairs:
            locked[: len(rows)] = samples[rows]
            array[: len(rows)].set(locked[: len(rows)], stream=self._copies)
        self._filled[turn].record(self._copies)

    def part(self, rows: Rows) -> tuple[Array, Array]:
        """Return inputs and targets of some samples, in the order of the data."""
        asarray = self.backend.asarray  # casts on the host, so that fewer bytes may move
        return asarray(self.x[rows], self._dtype), asarray(self.t[rows])

    def digest(self) -> str:
        """Return a text that tells data sets apart."""
        return _digest(self.x, self.t, self._dtype)

    def digest_of_weights(self) -> str | None:
        """Return a text that tells weights apart; None if there are none."""
        return _digest_of_weights(*self._weights)


Samples = SamplesOnDevice | StagedSamples


def _digest(x: Array, t: Array, dtype: DType) -> str:
    """Return a text that tells data sets apart, from some of the samples."""
    count = x.shape[0]
    rows = slice(None, None, max(count // 256, 1))
    inputs, targets = to_host(x[rows, ...]), to_host(t[rows, ...])
    inputs = inputs.astype(dtype_name(dtype), order="C", copy=False)
    checksum = zlib.crc32(targets.tobytes(), zlib.crc32(inputs.tobytes()))
    return f"{count} samples, checksum {checksum:08x}"


def _digest_of_weights(weights: Array | None = None) -> str | None:
    if weights is None:
        return None
    return f"checksum {zlib.crc32(to_host(weights).astype(np.float64).tobytes()):08x}"


def place_samples(
    backend: Backend,
    parts: Mapping[str, tuple[Array, ...]],
    dtype: DType,
    batch_size: int,
    on_device: bool | None = None,
) -> list[Samples]:
    """Return the parts of a data set, each on the device or staged.

    Parameters
    ----------
    backend : Backend
    parts : mapping of str to tuple of array
        Inputs and targets, and perhaps weights, by the name that errors use.
    dtype, batch_size
        See :class:`StagedSamples`.
    on_device : bool, optional
        Whether all are put on the device; by default if its free memory allows for all of them
        together. Data that are there already stay there.

    Returns
    -------
    list of Samples
        In the order of `parts`.

    Raises
    ------
    DeviceMemoryError
        A part does not fit.
    """
    if backend.name != "cupy":  # the host is the device, or decides
        there = [True] * len(parts)
    elif on_device is None:
        there = _which_fit(backend, parts, dtype)
    else:
        there = [on_device] * len(parts)
    placed: list[Samples] = []
    for (name, (x, t, *weights)), is_there in zip(parts.items(), there, strict=True):
        data = f"the {name} data, {tuple(x.shape)} numbers"
        if is_there:
            with memory_explained(backend, data, "Give data_on_device=False"):
                placed.append(SamplesOnDevice(backend, x, t, dtype, *weights))
        else:
            what = f"two batches of {batch_size} of {data}"
            with memory_explained(backend, what, "Make mini_batch_size smaller"):
                placed.append(StagedSamples(backend, x, t, dtype, batch_size, *weights))
    return placed


def _which_fit(
    backend: Backend, parts: Mapping[str, tuple[Array, ...]], dtype: DType
) -> list[bool]:
    """Return for each part whether it goes to the device; the parts share its memory."""
    import cupy

    needed = [_further_bytes(backend, x, t, dtype) for x, t, *_ in parts.values()]
    free, _ = backend.device.mem_info
    with backend.active():
        free += cupy.get_default_memory_pool().free_bytes()
    all_fit = sum(needed) <= _SHARE * free
    return [all_fit or own == 0 for own in needed]


def _further_bytes(backend: Backend, x: Array, t: Array, dtype: DType) -> int:
    """Return the bytes of device memory that samples need in addition to what they occupy."""
    labels = t.dtype if backend_of(t) == backend else to_host(t).dtype
    return sum(
        math.prod(array.shape) * kind.itemsize
        for array, kind in ((x, np.dtype(dtype)), (t, labels))
        if backend_of(array) != backend or array.dtype != kind
    )
