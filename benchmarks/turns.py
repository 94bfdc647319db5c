"""Contenders in processes of their own that take turns, so that noise meets all of them alike.

In one process the thread pools of two libraries slow each other down, up to two times. And one
after the other, the second may meet a busier machine. So each contender is a process, and only
one of them runs at a time: the others wait at a pipe.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import Task

CHECKED = 10  # steps after which the contenders' results are compared
WAKE = 3  # untimed steps at the start of a turn: caches and thread pools are cold
PAUSE = 0.15  # seconds between turns: idle threads of OpenBLAS and OpenMP spin for up to 0.1 s


class Worker:
    """A contender at work on a task, in a process of its own.

    Attributes
    ----------
    result : array
        What the contender computed in its first steps.
    """

    seconds = 0.0  # that the timed steps of all workers have taken

    def __init__(self, task: Task, contender: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, task, contender), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.result = self._answer()
        except RuntimeError:
            self.close()
            raise

    def run(self, steps: int, wake: int = 0) -> list[float]:
        """The seconds that each step took, after `wake` steps that do not count."""
        self._pipe.send((steps, wake))
        times = self._answer()
        Worker.seconds += sum(times)
        return times

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError("a contender's process has died; its error stands above") from None

    def close(self) -> None:
        self._pipe.close()
        self._process.join()
        self._process.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def worked() -> float:
    """A clock for pytest-benchmark that runs only while a worker is at a timed step."""
    return Worker.seconds


def _serve(pipe: Connection, task: Task, contender: str) -> None:
    step, result = CONTENDERS[contender].work(task)
    for _ in range(CHECKED):
        step()
    pipe.send(np.array(result()))
    clock = time.perf_counter
    while True:
        try:
            steps, wake = pipe.recv()
        except EOFError:
            return
        for _ in range(wake):
            step()
        times = []
        for _ in range(steps):
            start = clock()
            step()
            times.append(clock() - start)
        pipe.send(times)


@dataclass
class Measured:
    """The times of one contender, turn by turn."""

    turns: list[list[float]]

    @property
    def medians(self) -> list[float]:
        return [statistics.median(turn) for turn in self.turns]

    @property
    def median(self) -> float:
        return statistics.median(time for turn in self.turns for time in turn)

    @property
    def low(self) -> float:
        """The lowest decile of all steps: what a step takes when nothing disturbs it."""
        times = sorted(time for turn in self.turns for time in turn)
        return times[len(times) // 10]

    def ratio(self, other: Measured) -> list[float]:
        """Lower quartile, median and upper quartile of the ratios of neighbouring turns."""
        ratios = [a / b for a, b in zip(self.medians, other.medians, strict=True)]
        if len(ratios) < 2:
            return ratios * 3
        return statistics.quantiles(ratios, n=4, method="inclusive")


def take_turns(task: Task, contenders: Sequence[str], rounds: int) -> dict[str, Measured]:
    """Let contenders work in turns.

    Raises
    ------
    RuntimeError
        They do not compute the same, and a comparison would mean nothing.
    """
    workers: dict[str, Worker] = {}
    try:
        for name in contenders:
            workers[name] = Worker(task, name)
        _check(task, {name: worker.result for name, worker in workers.items()})
        turns: dict[str, list[list[float]]] = {name: [] for name in workers}
        for i in range(rounds):
            order = list(workers)
            for name in order[i % len(order) :] + order[: i % len(order)]:
                time.sleep(PAUSE)
                turns[name].append(workers[name].run(task.steps, WAKE))
    finally:
        for worker in workers.values():
            worker.close()
    return {name: Measured(of_worker) for name, of_worker in turns.items()}


def _check(task: Task, results: dict[str, Any]) -> None:
    reference = "book" if "book" in results else next(iter(results))
    expected = results[reference]
    for name, result in results.items():
        error = np.max(np.abs(result - expected)) / np.max(np.abs(expected))
        if not error <= task.tolerance:
            raise RuntimeError(
                f"{task.name}: after {CHECKED} steps {name} and {reference} differ by {error:.2g}, "
                "relative; they do not compute the same"
            )
