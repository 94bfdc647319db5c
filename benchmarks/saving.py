"""Speed of checkpoints: ``python -m benchmarks saving [FOLDER]``.

A checkpoint of 10 million parameters with Adam's state, 120 MB, is written and read by dlskills and
by ``safetensors.numpy``, which computes no checksum. The two take turns, so that noise affects them
alike, and the ratio of the medians is printed. Both sync the file to disk before it counts as
written. When reading, the file is in the page cache.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dlskills.training.state_file import read_state, write_state

AT_LEAST = 0.7  # of the speed of safetensors.numpy
SIZE = 10_000_000
ROUNDS = 15
FILES = {"dlskills": "ours.safetensors", "safetensors": "theirs.safetensors"}


def state() -> dict[str, np.ndarray]:
    """Return parameters and Adam's two averages; as random numbers, which no disk compresses."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(SIZE, dtype=np.float32) for name in ("params", "m", "v")}


def tasks(folder: Path) -> dict[str, dict[str, Callable[[], object]]]:
    """Return what each contender does, by task."""
    from safetensors.numpy import load_file, save_file

    arrays = state()
    ours, theirs = (folder / file for file in FILES.values())

    def save_and_sync() -> None:
        save_file(arrays, theirs)
        descriptor = os.open(theirs, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return {
        "write": {"dlskills": lambda: write_state(ours, arrays), "safetensors": save_and_sync},
        "read": {"dlskills": lambda: read_state(ours), "safetensors": lambda: load_file(theirs)},
    }


def seconds(work: Callable[[], object], replaced: Path | None) -> float:
    """Return the duration of some work, after removing the file that it writes."""
    if replaced is not None:  # a checkpoint has a new name, and replaces nothing
        replaced.unlink(missing_ok=True)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(rounds: int = ROUNDS, parent: Path | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        _measure(rounds, Path(folder))


def _measure(rounds: int, folder: Path) -> None:
    for name, contenders in tasks(folder).items():
        times: dict[str, list[float]] = {who: [] for who in contenders}
        for number in range(rounds + 1):
            order = list(contenders)[:: 1 if number % 2 else -1]
            for who in order:
                file = folder / FILES[who] if name == "write" else None
                spent = seconds(contenders[who], file)
                if number:  # the first round warms up
                    times[who].append(spent)
        medians = {who: statistics.median(spent) for who, spent in times.items()}
        ratio = medians["safetensors"] / medians["dlskills"]
        described = ", ".join(f"{who} {1e3 * spent:.0f} ms" for who, spent in medians.items())
        verdict = "reached" if ratio >= AT_LEAST else "missed"
        print(f"{name}: {described}; {ratio:.2f} x its speed (bar {AT_LEAST}: {verdict})")
