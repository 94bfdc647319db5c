"""Atomic file writing, and paths given by users."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class FileFormatError(ValueError):
    """A file is damaged, cut short, or not of the expected format; the message names it."""


def expanded(path: str | os.PathLike[str], name: str = "the path") -> Path:
    """Return a path with a leading ``~`` replaced by the home folder.

    A shell does not expand the ``~`` in ``--out=~/x``.

    Parameters
    ----------
    path : str or path-like
    name : str, default "the path"
        Used in the error message.

    Raises
    ------
    OSError
        The home folder can't be found.
    """
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        raise OSError(
            f"{name} {str(given)!r} starts with a home folder that can't be found. Set HOME, or "
            "use an absolute path"
        ) from None


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file atomically: either all of the content is written, or nothing changes.

    The content is written to a new file in the same folder, synced to disk and renamed, so neither
    another process nor a full disk or a power failure leaves a partial file. A missing folder is
    created; the file gets the permissions of the umask.

    Parameters
    ----------
    path : pathlib.Path
        If it is a symbolic link, the target of the link is replaced.
    content : str or bytes
        Text is written as UTF-8, without translation of line endings.

    Raises
    ------
    OSError
        The file can't be written; the message names it.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_file_by(path, lambda file: file.write(data))


def write_file_by(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace a file as :func:`write_file` does, by content that is written piece by piece.

    Parameters
    ----------
    path : pathlib.Path
    write : callable
        Writes the content to the open binary file that it is given. If it raises, the file at
        `path` stays as it is.

    Raises
    ------
    OSError
        The file can't be written; the message names it.
    """
    target = Path(os.path.realpath(path))
    aside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        kept = "; the existing file is unchanged" if target.exists() else ""
        raise _named(error, f"{path} can't be written: {_reason(error)}{kept}") from error
    _sync_folder(target.parent)


def check_folder(folder: Path, option: str = "--out") -> None:
    """Create a folder if necessary and check that it is writable.

    Parameters
    ----------
    folder : pathlib.Path
    option : str, default "--out"
        The command-line option for the folder, used in the error message.

    Raises
    ------
    OSError
        The folder can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _named(
            error,
            f"the folder {str(folder)!r} can't be written to: {_reason(error)}. Choose another "
            f"with {option}",
        ) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _named(error: OSError, message: str) -> OSError:
    """Return an OSError with exactly this message and the errno of the original."""
    named = OSError(message)
    named.errno = error.errno
    return named


def _sync_folder(folder: Path) -> None:
    """Make the renaming survive a power failure, if the system supports it."""
    with contextlib.suppress(OSError, AttributeError):  # AttributeError on Windows
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
