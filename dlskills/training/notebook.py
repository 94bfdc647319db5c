"""A line of a notebook that is replaced while work goes on."""

from __future__ import annotations

import html
import sys
import time
from typing import Any

_INTERVAL = 0.2  # seconds between two updates, which travel to a browser


class NotebookLine:
    """Name, bar, count, and a note, in one line of a notebook's output.

    Parameters
    ----------
    total : int
    what : str
    done : int
    """

    def __init__(self, total: int, what: str, done: int) -> None:
        from IPython.display import display

        self._total, self._what, self._done, self._note = total, what, done, ""
        self._shown = 0.0
        self._handle: Any = display(self, display_id=True)

    def advance(self) -> None:
        """Count one more step as done."""
        self._done += 1
        if time.monotonic() - self._shown > _INTERVAL:
            self.show()

    def note(self, text: str) -> None:
        """Replace the note."""
        self._note = text
        self.show()

    def show(self) -> None:
        """Bring the line up to date."""
        self._shown = time.monotonic()
        self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        note = html.escape(self._note)
        return f"{html.escape(self._what)} {bar} {self._done}/{self._total} {note}"

    def __repr__(self) -> str:
        return f"{self._what}: {self._done}/{self._total} {self._note}".rstrip()


def in_notebook() -> bool:
    """Return whether a notebook's kernel runs this program."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
