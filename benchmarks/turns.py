"""Contenders in their own processes that take turns, so that noise affects all of them alike.

In one process, the thread pools of two libraries slow each other down by up to a factor of two. If
one contender ran after the other, the second might find a busier machine. So each contender is a
process, and only one works at a time while the others wait at a pipe.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import Result, Task, Update

PAUSE = 0.15  # seconds between turns: idle threads of OpenBLAS and OpenMP spin for up to 0.1 s


class ContenderError(RuntimeError):
    """A contender can't do a task."""


class Worker:
    """A contender in its own process, working on one task after the other."""

    seconds = 0.0  # the sum over the timed steps of all workers

    def __init__(self, contender: str, device: str = "cpu") -> None:
        spawn = multiprocessing.get_context("spawn")
        self.name, self.device = contender, device
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, contender, device), daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, task: Task | None) -> None:
        """Drop the previous task and start to set up this one; :meth:`result` waits for it."""
        self._send(_prepare, task)

    def result(self) -> Result | None:
        """Return what the contender computed in the first steps of the task; None for a floor.

        Raises
        ------
        ContenderError
            It failed.
        """
        return self._answer()

    def run(self, steps: int, wake: int = 0) -> list[float]:
        """Return the seconds of each step, after `wake` steps that do not count."""
        self._send(_run, steps, wake)
        times = self._answer()
        Worker.seconds += sum(times)
        return times

    def _send(self, *order: Any) -> None:
        try:
            self._pipe.send(order)
        except OSError:
            raise ContenderError(self._death()) from None

    def _answer(self) -> Any:
        try:
            answer, error = self._pipe.recv()
        except (EOFError, OSError):
            raise ContenderError(self._death()) from None
        if error:
            raise ContenderError(error)
        return answer

    def _death(self) -> str:
        self._process.join(5)
        return f"its process has died (exit status {self._process.exitcode})"

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()
        self._process.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def worked() -> float:
    """Return a clock for pytest-benchmark that runs only during timed steps."""
    return Worker.seconds


# The following functions run in the worker's process.


@dataclass
class _At:
    """A worker's state."""

    contender: str
    device: str
    step: Callable[[], Any] | None = None


def _serve(pipe: Connection, contender: str, device: str) -> None:
    at = _At(contender, device)
    while True:
        try:
            do, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((do(at, *arguments), None))
        except Exception as error:
            traceback.print_exc()
            reason = (str(error).strip().splitlines() or [""])[0]
            pipe.send((None, f"{type(error).__name__}: {reason}"))


def _prepare(at: _At, task: Task | None) -> Result | None:
    at.step = None
    gc.collect()
    if task is None:
        return None
    at.step, result = CONTENDERS[at.contender].work(task, at.device)
    for _ in range(task.checked):
        at.step()
    values = result()
    return None if values is None else {what: np.array(value) for what, value in values.items()}


def _run(at: _At, steps: int, wake: int) -> list[float]:
    if (step := at.step) is None:
        raise RuntimeError("this task was not prepared")
    for _ in range(wake):
        step()
    if at.device == "cuda":
        return _time_by_events(step, steps, CONTENDERS[at.contender].cuda)
    clock = time.perf_counter
    times = []
    for _ in range(steps):
        start = clock()
        step()
        times.append(clock() - start)
    return times


def _time_by_events(step: Callable[[], Any], steps: int, library: str | None) -> list[float]:
    """Return the GPU's times from the event before each step to the event after it."""
    if library == "torch":
        import torch

        pairs = [[torch.cuda.Event(enable_timing=True) for _ in "ab"] for _ in range(steps)]
        elapsed = torch.cuda.Event.elapsed_time
    else:
        import cupy

        pairs = [[cupy.cuda.Event() for _ in "ab"] for _ in range(steps)]
        elapsed = cupy.cuda.get_elapsed_time
    for before, after in pairs:
        before.record()
        step()
        after.record()
        after.synchronize()
    return [elapsed(before, after) / 1e3 for before, after in pairs]


# The following functions run in the process that schedules the workers.


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
        """The lowest decile of all steps: the time of a step without disturbance."""
        times = sorted(time for turn in self.turns for time in turn)
        return times[len(times) // 10]


def take_turns(
    task: Task, workers: Mapping[str, Worker], rounds: int, quick: bool = False
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Let contenders work in turns; return their times, and the errors of those that failed.

    A contender whose results differ from the reference has failed and is not timed.
    """
    steps, pause = (-(-task.steps // 5), PAUSE / 5) if quick else (task.steps, PAUSE)
    results: dict[str, Result | None] = {}
    failed: dict[str, str] = {}
    for name, worker in workers.items():
        time.sleep(pause)
        with _noted(failed, name):
            worker.prepare(task)  # one at a time: `numba-loop` measures during set-up
            results[name] = worker.result()
    failed |= _mismatches(task, {name: r for name, r in results.items() if r is not None})
    turns: dict[str, list[list[float]]] = {name: [] for name in results if name not in failed}
    for i in range(rounds):
        order = [name for name in turns if name not in failed]
        start = i % len(order) if order else 0
        for name in order[start:] + order[:start]:
            time.sleep(pause)
            with _noted(failed, name):
                turns[name].append(workers[name].run(steps, task.wake))
    for name in results:
        with _noted(failed, name):
            workers[name].prepare(None)  # frees memory for the next task
            workers[name].result()
    measured = {name: Measured(of) for name, of in turns.items() if len(of) == rounds}
    return {name: times for name, times in measured.items() if name not in failed}, failed


@contextlib.contextmanager
def _noted(failed: dict[str, str], name: str) -> Iterator[None]:
    """Record a contender's failure, so that the others are still measured."""
    try:
        yield
    except ContenderError as error:
        failed.setdefault(name, str(error))


def _check(task: Task, results: dict[str, Result]) -> None:
    """Refuse results that differ."""
    for error in _mismatches(task, results).values():
        raise RuntimeError(error)


def _mismatches(task: Task, results: dict[str, Result]) -> dict[str, str]:
    """Return an error for each contender that does nothing or differs from the reference."""
    found: dict[str, str | None] = {
        name: f"{task.name}: the step of {name} changes nothing"
        for name, result in results.items()
        if not any(np.any(value) for value in result.values())
    }
    working = {name: result for name, result in results.items() if name not in found}
    expected = task.reference() if isinstance(task, Update) else None
    reference = "the formula"
    if expected is None and working:
        reference = "book" if "book" in working else next(iter(working))
        expected = working[reference]
    if expected is not None:
        found |= {
            name: _mismatch(task, name, result, reference, expected)
            for name, result in working.items()
        }
    return {name: error for name, error in found.items() if error}


def _mismatch(
    task: Task, name: str, result: Result, reference: str, expected: Result
) -> str | None:
    if result.keys() != expected.keys():
        return (
            f"{task.name}: {name} and {reference} must return the same results, got "
            f"{', '.join(result)} and {', '.join(expected)}"
        )
    for what, value in result.items():
        error = _difference(value, expected[what])
        if not error <= task.tolerance(what):
            return (
                f"{task.name}: {name} and {reference} do not compute the same. Their results "
                f"differ by {error:.2g} of the largest value, at most {task.tolerance(what):g} "
                f"is tolerated ({what}, after {task.checked} steps)"
            )
    return None


def _difference(value: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest expected value."""
    if value.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(value - expected)) / (np.max(np.abs(expected)) or 1))
