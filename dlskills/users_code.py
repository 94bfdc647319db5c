"""Errors that a user's own code raises: in which line."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_RAISED = "raised at "
_GENERATED = ("<string>", "<frozen ")  # the methods of dataclasses, and the import system


def users_line(error: BaseException) -> str | None:
    """Return the line of the user's code that raised an error, or None.

    Parameters
    ----------
    error : BaseException
        As it was caught, with its traceback.

    Returns
    -------
    str or None
        ``file:number: code`` for the innermost line outside dlskills and the installed libraries.
    """
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    known = [*map(Path, libraries), Path(__file__).resolve().parent]
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(map(Path(frame.filename).is_relative_to, known))
        and not frame.filename.startswith(_GENERATED)
    ]
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else None


def note_users_line(error: BaseException) -> None:
    """Add a note to an error of the user's code, which other processes see, too."""
    if (line := users_line(error)) is not None and not of_users_code(error):
        error.add_note(_RAISED + line)


def of_users_code(error: BaseException) -> bool:
    """Return whether :func:`note_users_line` found a line of the user's code."""
    return any(note.startswith(_RAISED) for note in getattr(error, "__notes__", ()))
