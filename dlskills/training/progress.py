"""What long work shows while it runs: a bar where a terminal watches, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """How far a piece of work is, as a context manager.

    Parameters
    ----------
    total : int
        The number of steps.
    what : str
        What is being done.
    show : bool, default True
        With False nothing is shown.

    Examples
    --------
    >>> with Progress(2, "training", show=False) as progress:
    ...     for step in range(2):
    ...         progress.advance()
    ...         progress.note(f"step {step}")
    """

    def __init__(self, total: int, what: str, *, show: bool = True) -> None:
        self._total, self._what, self._show = total, what, show
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._show and sys.stdout.isatty():
            from rich import progress
            from rich.console import Group
            from rich.live import Live
            from rich.text import Text

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
            )
            self._bar.add_task(self._what, total=self._total)
            self._note = Text()  # on a line of its own: 80 columns don't hold both
            self._live = Live(Group(self._bar, self._note), refresh_per_second=10)
            self._live.start()
        return self

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def note(self, text: str) -> None:
        """Say where the work stands: below the bar, or as a line."""
        if self._bar is not None:
            self._note.plain = text
        elif self._show:
            print(f"{self._what}: {text}", flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._live.stop()
