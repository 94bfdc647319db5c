"""Progress of long work: a bar on a terminal, a line in a notebook, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from dlskills import terminal
from dlskills.training.notebook import NotebookLine, in_notebook

NARROW = 60
"""Columns below which only the count is shown: digits would be cut otherwise."""


class Progress:
    """A progress display as a context manager.

    Parameters
    ----------
    total : int
        Number of steps.
    what : str
        Name of the work.
    done : int, default 0
        Number of steps done before.
    show : bool, default True
        Whether to show anything.

    Examples
    --------
    >>> with Progress(2, "training", show=False) as progress:
    ...     for step in range(2):
    ...         progress.advance()
    ...         progress.note(f"step {step}")
    """

    def __init__(self, total: int, what: str, *, done: int = 0, show: bool = True) -> None:
        self._total, self._what, self._done, self._show = total, what, done, show
        self._bar: Any = None
        self._line: NotebookLine | None = None

    def __enter__(self) -> Progress:
        if self._show and in_notebook():
            self._line = NotebookLine(self._total, self._what, self._done)
        elif self._show and terminal.output().isatty():
            from rich import progress
            from rich.console import Group
            from rich.live import Live
            from rich.text import Text

            console = terminal.console()
            words, count = (
                progress.TextColumn("{task.description}", markup=False),
                progress.MofNCompleteColumn(),
            )
            columns = [words, progress.BarColumn(), count, progress.TimeRemainingColumn()]
            if console.width < NARROW:
                columns = [words, count]
            self._bar = progress.Progress(*columns, console=console)
            self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._note = Text()  # on a line of its own: 80 columns don't hold both
            shown = Group(self._bar, self._note)
            self._live = Live(shown, console=console, refresh_per_second=10)
            self._live.start()
        return self

    def advance(self) -> None:
        """Count one more step as done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])
        elif self._line is not None:
            self._line.advance()

    def note(self, text: str) -> None:
        """Show a line about the current state: below the bar, or on its own."""
        if self._bar is not None:
            self._note.plain = text
        elif self._line is not None:
            self._line.note(text)
        elif self._show:
            terminal.say(f"{self._what}: {text}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._live.stop()
        elif self._line is not None:
            self._line.show()
