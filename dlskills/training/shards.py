"""The state of an optimizer in several files: each rank writes the part that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlskills.files import FileFormatError
from dlskills.training.state_file import read_state, write_state

_KIND = "dlskills optimizer shard"

Pieces = Mapping[str, tuple[int, int]]
"""Which elements of each flattened parameter: start and stop."""


def shard_name(step: int, rank: int, ranks: int) -> str:
    """Return the name of the file that a rank writes."""
    return f"shard-{step:08d}.{rank}-of-{ranks}.safetensors"


def split(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a rank's state into what all ranks have in common and what this one alone keeps.

    Parameters
    ----------
    state : mapping
        Of a trainer with ``sharded=True``.

    Returns
    -------
    common, own : dict
    """
    optimizer = state["optimizer"]
    common = {key: value for key, value in state.items() if key != "pieces"}
    common["optimizer"] = {key: value for key, value in optimizer.items() if "/" not in key}
    slots = {key: value for key, value in optimizer.items() if "/" in key}
    return common, {"pieces": state["pieces"], "slots": slots}


def write_shard(path: Path, step: int, run: str, own: Mapping[str, Any]) -> None:
    """Write what one rank keeps, whole or not at all."""
    pieces = {name: list(piece) for name, piece in own["pieces"].items()}
    head = {"kind": _KIND, "step": step, "run": run}
    write_state(path, {"head": head, "pieces": pieces, "slots": own["slots"]})


def with_shards(
    state: Mapping[str, Any], files: Iterable[Path], step: int, run: str, wanted: Pieces | None
) -> dict[str, Any]:
    """Return a state with the optimizer's arrays from the files of all ranks.

    The files are read one after the other, and only the wanted elements are kept.

    Parameters
    ----------
    state : mapping
        The common part of :func:`split`.
    files : iterable of Path
        Of all ranks that wrote the checkpoint.
    step, run
        What the files must be of.
    wanted : mapping, optional
        The pieces to return, as 1-D arrays; by default all elements, in the parameters' shapes.

    Returns
    -------
    dict

    Raises
    ------
    FileFormatError
        A file is missing, damaged, or of another run or step, or they lack elements.
    """
    shapes = {name: np.shape(value) for name, value in state["network"].items()}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    filled: dict[str, int] = {}
    for file in files:
        if not file.exists():
            raise FileFormatError(f"{file} is missing, a part of the state of the optimizer")
        content = read_state(file)
        head = content.get("head")
        if head != {"kind": _KIND, "step": step, "run": run}:
            raise FileFormatError(f"{file} is no part of the checkpoint of step {step}")
        for key, values in content["slots"].items():
            name = key.partition("/")[2]
            start, stop = content["pieces"][name]
            low, high = (0, int(np.prod(shapes[name]))) if wanted is None else wanted[name]
            if key not in arrays:
                arrays[key], filled[key] = np.empty(high - low, values.dtype), 0
            first, last = max(start, low), min(stop, high)
            if first < last:
                arrays[key][first - low : last - low] = values[first - start : last - start]
                filled[key] += last - first
    for key, array in arrays.items():
        if filled[key] != array.size:
            raise FileFormatError(
                f"the parts of the state of the optimizer at step {step} have {filled[key]} "
                f"elements of {key}, expected {array.size}"
            )
        if wanted is None:
            arrays[key] = array.reshape(shapes[key.partition("/")[2]])
    whole = {**state, "optimizer": {**state["optimizer"], **arrays}}
    return whole if wanted is None else {**whole, "pieces": dict(wanted)}
