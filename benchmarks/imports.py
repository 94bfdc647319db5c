"""Time a fresh Python that starts and imports a package, in turns."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.turns import Measured

PACKAGES = ("numpy", "dlskills", "torch")
BAR = 0.12  # maximum seconds that dlskills takes longer than numpy


def start(package: str, bytecode: str) -> float:
    """Return the seconds that a Python process with this one import takes.

    Compiled modules are kept in the folder `bytecode`, even if the environment forbids it:
    installed packages have theirs, and a checkout has none before its first import.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONPYCACHEPREFIX": bytecode,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True, env=environment)  # noqa: S603 - our own list
    return time.perf_counter() - begin


def take_turns(rounds: int) -> dict[str, Measured]:
    there = [name for name in PACKAGES if importlib.util.find_spec(name)]
    turns: dict[str, list[list[float]]] = {name: [] for name in there}
    with tempfile.TemporaryDirectory() as bytecode:
        for name in there:
            start(name, bytecode)  # compiles to bytecode and fills the file cache
        for _ in range(rounds):
            for name in there:
                turns[name].append([start(name, bytecode)])
    return {name: Measured(of_package) for name, of_package in turns.items()}
