"""The rows of a batch that this process computes, where several processes share one.

Most layers treat each row alike and need not know. Two kinds do: random masks must be those of the
rows' positions in the whole batch, and Batch Normalization may take the whole batch's statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from dlskills.arrays.backend import Array


@dataclass(frozen=True)
class Share:
    """Consecutive rows of a batch.

    Parameters
    ----------
    start : int
        Position of the first row in the batch.
    count : int
        Number of rows. May be 0 in a batch of fewer rows than processes; the process then runs its
        pass on one row whose gradient has no weight, as all must take part in sums.
    total : int
        Number of rows of the batch.
    add : callable, optional
        Takes an array and returns its sum over all processes, for statistics of the whole batch.
        By default a layer takes the statistics of its own rows.
    """

    start: int
    count: int
    total: int
    add: Callable[[Array], Array] | None = None

    @property
    def weight(self) -> float:
        """The fraction of the batch's rows."""
        return self.count / self.total

    @property
    def rows(self) -> slice:
        """The rows to run a pass on: the share's own, or a single one if it has none."""
        if self.count:
            return slice(self.start, self.start + self.count)
        row = min(self.start, self.total - 1)
        return slice(row, row + 1)

    def covers(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape has a row for each row of the pass."""
        return len(shape) > 1 and shape[0] == max(self.count, 1)


def share_of(total: int, rank: int, size: int) -> tuple[int, int]:
    """Return the first row of a rank's share of a batch, and the number of its rows.

    Shares differ by at most one row.

    Parameters
    ----------
    total : int
        Number of rows of the batch.
    rank, size : int
        The rank, from 0, and the number of ranks.
    """
    start = total * rank // size
    return start, total * (rank + 1) // size - start


def parts_of(total: int, parts: int) -> list[tuple[int, int]]:
    """Return the first row and the end of each part of a batch that is computed in parts.

    Parameters
    ----------
    total : int
        Number of rows of the batch.
    parts : int
        At most; a batch of fewer rows has one part per row.
    """
    parts = max(min(parts, total), 1)
    return [(total * part // parts, total * (part + 1) // parts) for part in range(parts)]


def rows_of(total: int, rank: int, size: int, parts: int = 1) -> list[slice]:
    """Return the rows of a batch that a rank runs its passes on, for each part of the batch.

    Parameters
    ----------
    total, rank, size
        See :func:`share_of`.
    parts : int, default 1
        See :func:`parts_of`; the ranks share each part.
    """
    found = []
    for start, stop in parts_of(total, parts):
        rows = Share(*share_of(stop - start, rank, size), stop - start).rows
        found.append(slice(start + rows.start, start + rows.stop))
    return found


_current: ContextVar[Any] = ContextVar("share", default=None)


def current() -> Share | None:
    """Return the share that is being computed; None outside of :func:`computing`."""
    share: Share | None = _current.get()
    return share


@contextmanager
def computing(share: Share | None) -> Iterator[None]:
    """Run passes within the block on the rows of a share."""
    token = _current.set(share)
    try:
        yield
    finally:
        _current.reset(token)
