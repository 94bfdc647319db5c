"""On-disk cache of compiled loops, keyed by everything that they depend on."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache

from dlskills.files import write_file
from dlskills.formulas import vector_math


def compiled(text: str, names: Mapping[str, Any], key: object) -> Callable[..., None]:
    """Return the function `kernel` that a source text defines, compiled by Numba.

    It is compiled at the first call with each combination of argument types.

    Parameters
    ----------
    text : str
        Python source.
    names : mapping of str to object
        The globals that the source reads.
    key : object
        Object whose string form identifies all globals except the functions of
        :mod:`dlskills.formulas.vector_math`.

    Returns
    -------
    callable
    """
    digest = _digest(text, key)
    file = _file(text, digest)
    code = compile(text, str(file or "<dlskills kernel>"), "exec")
    # Numba's cached code refers to the module of the function
    made = {"__name__": __name__, **names}
    exec(code, made)  # noqa: S102 - text that this package wrote
    function = made["kernel"]
    function.__name__ = function.__qualname__ = f"kernel_{digest}"  # names the machine code
    kernel = numba.njit(**vector_math.OPTIONS)(function)
    if file is not None:
        try:
            kernel._cache = _Cache(kernel.py_func)
        except Exception as error:  # Numba finds no writable folder
            _warn(error)
    return kernel  # type: ignore[no-any-return]


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, with errors turned into warnings: the kernel is then compiled again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged file may raise any exception
            _warn(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the folder is damaged, full or read-only
            _warn(error)


_warned: set[tuple[type, int | None]] = set()


def _warn(error: Exception) -> None:
    """Warn once per kind of error: the folder that fails for one kernel fails for all."""
    kind = type(error), getattr(error, "errno", None)
    if kind in _warned:
        return
    _warned.add(kind)
    warnings.warn(
        f"compiled formulas can't be cached on disk ({type(error).__name__}: {error}), so each "
        "process compiles them again. Delete the folder dlskills/kernels in the cache, or set "
        "NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )


def _digest(text: str, key: object) -> str:
    """Return a hash of a kernel's text and everything else that its compiled code depends on."""
    parts = (
        text, key, sorted(vector_math.OPTIONS.items()), _FUNCTIONS_TEXT,
        numba.__version__, np.__version__, sys.version,
    )  # fmt: skip
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def _file(text: str, digest: str) -> Path | None:
    """Return a file with the kernel's source, next to which Numba caches code; None on failure."""
    try:
        file = folder() / f"kernel_{digest}.py"
        if not file.exists():
            write_file(file, text)
    except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError if there is none
        _warn(error)
        return None
    return file


_FUNCTIONS_TEXT = Path(vector_math.__file__).read_text(encoding="utf-8")


def folder() -> Path:
    """Return the cache folder, inside NUMBA_CACHE_DIR, XDG_CACHE_HOME or ~/.cache."""
    configured = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configured or cache) / "dlskills" / "kernels"
