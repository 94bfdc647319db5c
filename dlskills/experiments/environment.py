"""What the bits of a result depend on besides its settings: versions, BLAS, processor."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from pathlib import Path

import dlskills

_PACKAGES = ("numpy", "numba", "cupy")


def environment() -> dict[str, str]:
    """Return, in words, what may change the rounding of a run on this machine.

    Returns
    -------
    dict of str to str
        The versions of dlskills, Python, NumPy, and Numba and CuPy if they are installed; a digest
        of dlskills' source code; the BLAS library with its kernels; the system and the processor.
    """
    import numpy as np  # loads the BLAS library, so that it can be asked
    from threadpoolctl import threadpool_info

    blas = sorted(
        " ".join(str(pool.get(key)) for key in ("internal_api", "version", "architecture"))
        for pool in threadpool_info()
        if pool.get("user_api") == "blas" and _is_of(np, str(pool.get("filepath")))
    )
    return {
        "dlskills": dlskills.__version__,
        "source code of dlskills": source_code()[:16],
        "Python": platform.python_version(),
        **releases(),
        "BLAS": ", ".join(blas) or "unknown",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
    }


@functools.cache
def source_code() -> str:
    """Return a digest of the package: a run of other code is another run."""
    digest = hashlib.sha256(dlskills.__version__.encode())
    for path in sorted(Path(dlskills.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def releases() -> dict[str, str]:
    """Return the releases of the libraries that compute: another may round or draw differently."""
    distributions = importlib.metadata.packages_distributions()
    return {
        name: importlib.metadata.version(name)
        for package in _PACKAGES
        for name in dict.fromkeys(distributions.get(package, []))
    }


def _is_of(numpy: object, library: str) -> bool:
    """Return whether NumPy uses a BLAS library: PyTorch and SciPy bring their own."""
    folder = Path(str(getattr(numpy, "__file__", ""))).parent.parent
    inside = Path(library).is_relative_to(folder)
    return not inside or Path(library).relative_to(folder).parts[0].startswith("numpy")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
