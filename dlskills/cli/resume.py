"""Interrupted work: what was kept, and how to resume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

from dlskills import terminal
from dlskills.processes import WorkerLostError


@contextlib.contextmanager
def resumable(
    kept: Callable[[], str], fresh: bool = False, earlier: bool = False
) -> Iterator[None]:
    """On an interruption, report what was kept and how to resume.

    Parameters
    ----------
    kept : callable
        Returns a description of what was kept; an empty string if nothing was.
    fresh : bool, default False
        Whether the same command would start over.
    earlier : bool, default False
        Whether there are results of earlier runs, which it may reuse.
    """
    try:
        yield
    except KeyboardInterrupt:
        terminal.console(stderr=True).print(
            f"interrupted; {_how(kept(), fresh, earlier)}", soft_wrap=True
        )
        raise typer.Exit(130) from None
    except WorkerLostError as error:
        raise WorkerLostError(f"{error}; {_how(kept(), fresh, earlier)}") from None


def _how(words: str, fresh: bool, earlier: bool) -> str:
    if words and fresh:
        then = "will start over; without --fresh it reuses everything kept, also from earlier runs"
    elif words:
        then = "will resume from there"
    elif earlier and not fresh:
        return "nothing more was finished; the same command will reuse what earlier runs kept"
    else:
        then = "will start over"
    return f"{words or 'nothing was finished yet'}; the same command {then}"
