"""A list of numbers computed on a device, fetched together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, to_host

_AT_MOST = 10_000  # numbers on the device, of 512 bytes each in CuPy: about 5 MB


class DeviceNumbers:
    """A list that grows without waiting for the device.

    Parameters
    ----------
    numbers : iterable of float, optional
        What the list starts with.

    Examples
    --------
    >>> import numpy as np
    >>> losses = DeviceNumbers()
    >>> losses.append(np.asarray(0.5))
    >>> losses.read()
    [0.5]
    """

    def __init__(self, numbers: Iterable[float] = ()) -> None:
        self._read = array("f")  # an eighth of a list's memory
        self._keep(np.fromiter(numbers, float))
        self._unread: list[Array] = []

    def append(self, number: Array) -> None:
        """Add a 0-d array, which stays on its device until it is read, or many have come."""
        self._unread.append(number)
        if len(self._unread) >= _AT_MOST:
            self._fetched()

    def read(self, start: int = 0) -> list[float]:
        """Return the numbers from an index on; a negative one counts from the end.

        New numbers come in one transfer, which waits for the device.
        """
        return self._fetched()[start:].tolist()

    def on_host(self) -> np.ndarray[Any, Any]:
        """Return a copy of all numbers as float64; new ones come in one transfer."""
        return np.array(self._fetched(), np.float64)

    def _fetched(self) -> array[float]:
        if self._unread:
            self._keep(to_host(self._unread))
            self._unread = []
        return self._read

    def _keep(self, numbers: np.ndarray[Any, Any]) -> None:
        """Append numbers, in double precision from the first on that single precision rounds."""
        if self._read.typecode == "f":
            with np.errstate(over="ignore"):
                rounded = numbers.astype(np.float32)
            if not np.array_equal(numbers, rounded, equal_nan=True):
                self._read = array("d", self._read)
        self._read.extend(numbers.tolist())

    def __len__(self) -> int:
        return len(self._read) + len(self._unread)
