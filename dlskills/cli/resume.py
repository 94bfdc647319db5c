"""Work that was cut short: what is kept of it, and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

from dlskills import terminal
from dlskills.processes import WorkerLostError


@contextlib.contextmanager
def resumable(kept: Callable[[], str], fresh: bool = False) -> Iterator[None]:
    """Say what is kept of interrupted work, and how to go on.

    Parameters
    ----------
    kept : callable
        Returns that in words; an empty text if it is nothing.
    fresh : bool, default False
        Whether the same command would do everything again.
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
        then = "begins anew; without --fresh it takes what is kept, earlier runs, too"
    else:
        then = "goes on from there" if words else "begins anew"
    return f"{words or 'nothing was finished yet'}: the same command {then}"
