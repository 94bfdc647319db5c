"""The end of all ranks where one fails: MPI alone would wait for it forever."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

_ENDED = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM ended
_PATIENCE = 5.0  # seconds for which a rank whose training failed waits for the others at its exit


class _Position:
    """Which rank this process is, and the step it has reached."""

    rank, size = 0, 1
    step: int | None = None

    def __str__(self) -> str:
        at = "outside of training" if self.step is None else f"at step {self.step}"
        return f"rank {self.rank} of {self.size} {at}"


_here = _Position()


def reached(step: int | None) -> None:
    """Note the step that is being computed; None when training has ended as planned."""
    _here.step = step


def watch(
    rank: int, size: int, abort: Callable[[int], Any], all_arrive: Callable[[float], bool]
) -> None:
    """End all ranks when this one fails, with a message that names rank and step.

    Covers errors that no one catches, an exit of the interpreter before training has ended, and
    SIGTERM, by which ``mpiexec`` ends the ranks that are left when one was killed.

    Parameters
    ----------
    rank, size : int
    abort : callable
        Takes an exit status, and ends all ranks.
    all_arrive : callable
        Takes a number of seconds, and returns whether all ranks call it within that time.
    """
    _here.rank, _here.size = rank, size
    if size == 1:
        return
    before = sys.excepthook

    def end_all(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        before(kind, error, traceback)
        _say(f"{_here} failed and ends all ranks: {kind.__name__}: {error}")
        abort(1)

    def exited() -> None:
        # an error that all ranks caught is theirs to handle
        if _here.step is not None and not all_arrive(_PATIENCE):
            _say(f"{_here} ended before the training did, and ends all ranks")
            abort(1)

    sys.excepthook = end_all
    atexit.register(exited)  # runs before MPI's own, which would wait for all ranks
    _watch_for_sigterm()


def _watch_for_sigterm() -> None:
    """Say where this rank was when ``mpiexec`` ends it.

    The main thread may be waiting within MPI, where Python runs no handlers, so a thread does it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if os.name != "posix" or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def wait() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM:
                _say(f"{_here} was ended from outside, as when another rank dies")
                os._exit(_ENDED)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()


def _say(text: str) -> None:
    os.write(2, f"dlskills: {text}\n".encode())  # unbuffered: the process may end at once
