"""Standard output and standard error, whatever they are: the only place that prints.

A program may have no standard output at all (``pythonw``), one without ``isatty`` or ``flush`` (an
object of an IDE or a logger), or one whose encoding lacks most characters. Text printed through
this module reaches all of them; what an encoding lacks becomes a question mark.
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
"""Columns of an output that is not a terminal: nothing is wrapped or dropped."""


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
        """How characters missing in the encoding are handled."""
        return "replace"

    @property
    def closed(self) -> bool:
        """False: text can always be written, if only to be discarded."""
        return False

    @property
    def rich_proxied_file(self) -> TolerantStream:
        """The stream below a live display of rich, for rich to draw on."""
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
        """Name the stream in an error, such as that of a full disk."""
        try:
            yield
        except BrokenPipeError:  # the reader has seen enough
            raise
        except OSError as error:
            raise OSError(
                f"{self._name} can't be written to: {error.strerror or error}; redirect it "
                "elsewhere, or free space"
            ) from error


def output() -> TolerantStream:
    """Return standard output as it is at this moment."""
    return _tolerant(sys.stdout, "standard output")


def error_output() -> TolerantStream:
    """Return standard error as it is at this moment."""
    return _tolerant(sys.stderr, "standard error")


def _tolerant(stream: Any, name: str) -> TolerantStream:
    return stream if isinstance(stream, TolerantStream) else TolerantStream(stream, name)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """Make ``sys.stdout`` and ``sys.stderr`` accept any text, for libraries that print by them."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output(), error_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str) -> None:
    """Print a line on standard output at once."""
    stream = output()
    stream.write(f"{text}\n")
    stream.flush()


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that prints text as it is.

    Brackets are no markup, colons no emoji: user-given names may have both. Styled text is
    passed as ``rich.text.Text``. Outside a terminal, lines are as long as their text unless the
    environment variable COLUMNS limits them.
    """
    from rich.console import Console

    stream: Any = error_output() if stderr else output()  # rich asks for all of IO
    made = Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not (made.is_terminal or os.environ.get("COLUMNS", "").isdigit()):
        made.width = UNLIMITED
    return made
