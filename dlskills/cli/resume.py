"""Interrupted work: what was kept, and how to resume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

from dlskills import terminal
from dlskills.processes import WorkerLostError


@contextlib.contextmanager
def resumable(kept: Callable[[], str], fresh: bool = False) -> Iterator[None]:
    """On an interruption, report what was kept and how to resume.

    Parameters
    ----------
    kept : callable
        Returns a description of what was kept; an empty string if nothing was.
    fresh : bool, default False
        Whether the same command would start over.
    """
    try:
        yield
    except KeyboardInterrupt:
        terminal.console(stderr=True).print(f"interrupted; {_how(kept(), fresh)}", soft_wrap=True)
        raise typer.Exit(130) from None
    except WorkerLostError as error:
        raise WorkerLostError(f"{error}; {_how(kept(), fresh)}") from None


def _how(words: str, fresh: bool) -> str:
    if words and fresh:
        then = "will start over; without --fresh it reuses everything kept, also from earlier runs"
    else:
        then = "will resume from there" if words else "will start over"
    return f"{words or 'nothing was finished yet'}; the same command {then}"
