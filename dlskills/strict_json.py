"""JSON from files that may be damaged or hostile."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from dlskills.files import FileFormatError, expanded

SIZE_LIMIT = 64 * 1024**2
"""Bytes of the longest JSON file that is read: parsed, it takes some 30 x as much memory."""


def parse_json(text: str | bytes, name: str, *, finite: bool = True) -> Any:
    """Parse JSON in which no object has a name twice.

    Parameters
    ----------
    text : str or bytes
        In UTF-8.
    name : str
        What an error calls the text.
    finite : bool, default True
        Whether NaN, Infinity and numbers beyond the range of float are refused, as the standard
        has it. Python writes the first two.

    Raises
    ------
    FileFormatError
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant if finite else None,
            parse_float=_finite if finite else None,
        )
    except RecursionError:
        raise FileFormatError(f"{name} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:  # also of decoding, and for integers of thousands of digits
        raise FileFormatError(f"{name} is not valid JSON: {error}") from None


def read_json(path: str | os.PathLike[str], *, finite: bool = True) -> Any:
    """Read a file as :func:`parse_json` does text.

    Parameters
    ----------
    path : str or path-like
    finite : bool, default True

    Raises
    ------
    FileFormatError
        The file is no JSON, or longer than 64 MiB; the message names it.
    OSError
        The file can't be read.
    """
    source = expanded(path)
    if source.exists() and not source.is_file():  # opening a pipe would wait for its other end
        raise FileFormatError(f"{path} is not a regular file")
    with source.open("rb") as file:
        text = file.read(SIZE_LIMIT + 1)
    if len(text) > SIZE_LIMIT:
        raise FileFormatError(f"{path} is longer than the {SIZE_LIMIT:,} bytes that are read")
    return parse_json(text, str(path), finite=finite)


def shortened(value: Any) -> str:
    """A value from a file, for an error: short whatever its size."""
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        value = value[:8]
    elif isinstance(value, dict | list):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"{shortened(key)} appears twice in one object")
        made[key] = value
    return made


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shortened(text)} is too large for a number")
    return number
