"""Printing to standard output and standard error of any kind; only this module prints.

A program may have no standard output at all (``pythonw``), one without ``isatty`` or ``flush`` (in
an IDE or a logger), or one whose encoding lacks most characters. Printing through this module
works with all of them; characters missing from an encoding become question marks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNLIMITED = 10_000
"""Width of output that is not a terminal, in columns: nothing is wrapped or dropped."""


class TolerantStream:
    """A text stream that accepts any text.

    Parameters
    ----------
    stream : object
        Anything with ``write``; None discards all text.
    name : str, default "the output"
        Used in error messages.
    """

    def __init__(self, stream: Any, name: str = "the output") -> None:
        self._stream, self._name = stream, name

    @property
    def encoding(self) -> str:
        """The encoding of the stream, or UTF-8 if the stream names none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:
        """How characters missing from the encoding are handled."""
        return "replace"

    @property
    def closed(self) -> bool:
        """False: text can always be written, if only to be discarded."""
        return False

    @property
    def rich_proxied_file(self) -> TolerantStream:
        """The stream that rich's live display draws on."""
        below = getattr(self._stream, "rich_proxied_file", None)
        return self if below is None else TolerantStream(below, self._name)

    def write(self, text: str) -> int:
        """Write text, with a question mark for each character that the encoding lacks."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}")
        if not self._discards():
            with self._named_errors():
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    known = text.encode(self.encoding, "replace").decode(self.encoding)
                    self._stream.write(known)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream if it can be flushed."""
        flush = getattr(self._stream, "flush", None)
        if flush is not None and not self._discards():
            with self._named_errors():
                flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        isatty = getattr(self._stream, "isatty", None)
        return isatty is not None and not self._discards() and bool(isatty())

    def _discards(self) -> bool:
        return self._stream is None or bool(getattr(self._stream, "closed", False))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Name the stream in errors such as a full disk."""
        try:
            yield
        except BrokenPipeError:  # the reader has closed the pipe
            raise
        except OSError as error:
            raise OSError(
                f"{self._name} can't be written to: {error.strerror or error}. Redirect it "
                "elsewhere, or free disk space"
            ) from error


def output() -> TolerantStream:
    """Return the current standard output."""
    return _tolerant(sys.stdout, "standard output")


def error_output() -> TolerantStream:
    """Return the current standard error."""
    return _tolerant(sys.stderr, "standard error")


def _tolerant(stream: Any, name: str) -> TolerantStream:
    return stream if isinstance(stream, TolerantStream) else TolerantStream(stream, name)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """Make ``sys.stdout`` and ``sys.stderr`` accept any text, for libraries that print to them."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output(), error_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str) -> None:
    """Print a line to standard output and flush it."""
    stream = output()
    stream.write(f"{text}\n")
    stream.flush()


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that prints text verbatim.

    Brackets are not markup and colons not emoji, since names given by users may contain both; pass
    styled text as ``rich.text.Text``. Outside a terminal, lines are not wrapped unless the
    environment variable COLUMNS is set.
    """
    from rich.console import Console

    stream: Any = error_output() if stderr else output()  # rich's annotation asks for a full IO
    made = Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not (made.is_terminal or os.environ.get("COLUMNS", "").isdigit()):
        made.width = UNLIMITED
    return made
