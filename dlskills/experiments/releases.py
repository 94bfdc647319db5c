"""The code and the releases that numbers depend on, to tell runs and workers apart."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from pathlib import Path

import dlskills


@functools.cache
def source_code() -> str:
    """Return a fingerprint of the package: a run of other code is another run."""
    digest = hashlib.sha256(dlskills.__version__.encode())
    for path in sorted(Path(dlskills.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def versions() -> list[str]:
    """Return the releases of what computes: another may round or draw differently."""
    distributions = importlib.metadata.packages_distributions()
    libraries = [
        name for package in ("numpy", "numba", "cupy") for name in distributions.get(package, [])
    ]
    return [
        platform.python_version(),
        platform.machine(),
        *(f"{name} {importlib.metadata.version(name)}" for name in libraries),
    ]
