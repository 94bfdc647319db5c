"""Ranks as threads of one process, for tests without MPI."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dlskills.arrays.backend import backend_of, to_host


class Group:
    """What the ranks share: a barrier, and a place for what each hands out."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size, timeout=60)
        self.given = [None] * size


class ThreadRank:
    """A communicator between threads that adds in the order of the ranks."""

    def __init__(self, group, rank):
        self._group, self.rank, self.size = group, rank, group.size
        self.steps, self.calls = [], []

    def allgather_object(self, value):
        self._group.given[self.rank] = value
        self._group.barrier.wait()
        values = list(self._group.given)
        self._group.barrier.wait()
        return values

    def broadcast_object(self, value):
        return self.allgather_object(value)[0]

    def barrier(self):
        self._group.barrier.wait()

    def broadcast(self, array):
        self._put(array, self.allgather_object(np.array(to_host(array)))[0])

    def allreduce(self, array, *, mean=True):
        self.calls.append(("allreduce", tuple(array.shape)))
        self._put(array, self._total(array, mean))

    def reduce_scatter(self, array, bounds, *, mean=True):
        self.calls.append(("reduce_scatter", tuple(array.shape)))
        start, stop = bounds[self.rank]
        self._put(array[start:stop], self._total(array, mean)[start:stop])

    def allgather(self, array, bounds):
        parts = self.allgather_object(np.array(to_host(array)))
        whole = parts[0].copy()
        for part, (start, stop) in zip(parts, bounds, strict=True):
            whole[start:stop] = part[start:stop]
        self._put(array, whole)

    def reached(self, step):
        self.steps.append(step)

    def _total(self, array, mean):
        parts = self.allgather_object(np.array(to_host(array)))
        total = sum(parts[1:], parts[0].copy())
        return total / self.size if mean else total

    @staticmethod
    def _put(array, values):
        here = backend_of(array)
        array[...] = here.asarray(values, array.dtype)


def on_ranks(size, function):
    """Call a function with a communicator on each of several ranks; return the results."""
    group = Group(size)

    def run(rank):
        try:
            return function(ThreadRank(group, rank))
        except BaseException:
            group.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        runs = [pool.submit(run, rank) for rank in range(size)]
    errors = [e for run in runs if (e := run.exception()) is not None]
    own = [e for e in errors if not isinstance(e, threading.BrokenBarrierError)]
    if errors:
        raise (own or errors)[0]
    return [run.result() for run in runs]
