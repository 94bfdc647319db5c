"""Files written whole or not at all, and the paths that users give."""

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
        There is no such home folder.
    """
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        raise OSError(
            f"{name} {str(given)!r} begins with a home folder that can't be found; set HOME, or "
            "give an absolute path"
        ) from None


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file by new content, or leave it as it is.

    The content goes to a new file in the same folder, which is synced to disk and then renamed:
    another process, a full disk or a power failure never leave a part of it. The folder is made if
    it is missing; the file has the permissions of the umask.

    Parameters
    ----------
    path : pathlib.Path
        Where it leads to, if it is a symbolic link, is replaced.
    content : str or bytes
        Text is written as UTF-8 without translated line ends.

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
        kept = "; the file that was there is unchanged" if target.exists() else ""
        raise _named(error, f"{path} can't be written: {_reason(error)}{kept}") from error
    _sync_folder(target.parent)


def check_folder(folder: Path, option: str = "--out") -> None:
    """Make a folder, and refuse one that can't be written to.

    Parameters
    ----------
    folder : pathlib.Path
    option : str, default "--out"
        The command-line option that gives the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _named(
            error,
            f"nothing can be written to the folder {str(folder)!r}: {_reason(error)}; give another "
            f"as {option}",
        ) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _named(error: OSError, message: str) -> OSError:
    """Return an error with this message alone, and the number of the original one."""
    named = OSError(message)
    named.errno = error.errno
    return named


def _sync_folder(folder: Path) -> None:
    """Make the renaming last through a power failure, where the system can."""
    with contextlib.suppress(OSError, AttributeError):  # the latter on Windows
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
