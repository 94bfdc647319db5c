"""The state of a training in a file: nested mappings and lists of arrays and plain values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.tensors_file import read_tensors, write_tensors
from dlskills.files import FileFormatError

_ARRAY, _FLOAT = "$array", "$float"  # stand for what JSON can't hold


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a nested state to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
    state : mapping
        Of mappings with keys of str, lists, arrays, numbers, text and None.

    Raises
    ------
    TypeError
        A value can't be written; the message says which.
    OSError
        The file can't be written; the message names it.
    """
    arrays: dict[str, Array] = {}
    plain = _without_arrays(state, "", arrays)
    write_tensors(path, arrays, plain)


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of :func:`write_state`.

    Raises
    ------
    FileFormatError
        The file is damaged, or of another kind.
    OSError
        It can't be read.
    """
    return joined(*read_tensors(path), str(path))


def joined(arrays: Mapping[str, Array], plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a nested state from its arrays and its plain part; errors call the file `name`."""
    try:
        state: dict[str, Any] = _with_arrays(plain, arrays)
    except (KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{name} must have the array {error}") from None
    return state


def copied_to_host(value: Any) -> Any:
    """Return a copy of a state, with all arrays on the host."""
    if isinstance(value, Mapping):
        return {key: copied_to_host(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied_to_host(item) for item in value]
    return np.array(to_host(value)) if hasattr(value, "shape") else value


def _without_arrays(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Return the plain part of a value, and add its arrays to `arrays`."""
    if isinstance(value, Mapping):
        return {
            key: _without_arrays(item, f"{name}/{key}" if name else str(key), arrays)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_arrays(item, f"{name}/{i}", arrays) for i, item in enumerate(value)]
    if hasattr(value, "shape"):
        while name in arrays:  # a key may hold a slash
            name += "'"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(float(value))}
    return value


def _with_arrays(value: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_ARRAY}:
        return arrays[value[_ARRAY]]
    if set(value) == {_FLOAT} and value[_FLOAT] in ("inf", "-inf", "nan"):
        return float(value[_FLOAT])
    return {key: _with_arrays(item, arrays) for key, item in value.items()}
