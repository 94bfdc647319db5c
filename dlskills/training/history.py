"""Numbers that are computed on a device step by step, and fetched together."""

from __future__ import annotations

from dlskills.arrays.backend import Array, to_host


class History:
    """A list that grows without waiting for the device.

    Examples
    --------
    >>> import numpy as np
    >>> losses = History()
    >>> losses.append(np.asarray(0.5))
    >>> losses.read()
    [0.5]
    """

    def __init__(self) -> None:
        self._read: list[float] = []
        self._unread: list[Array] = []

    def append(self, number: Array) -> None:
        """Add a 0-d array, which stays where it is."""
        self._unread.append(number)

    def read(self) -> list[float]:
        """All numbers so far; what is new comes in one transfer, for which the device is waited."""
        if self._unread:
            self._read.extend(to_host(self._unread).tolist())
            self._unread = []
        return self._read
