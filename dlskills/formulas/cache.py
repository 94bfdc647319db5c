"""Compiled loops kept on disk, found again by all that they are made of."""

from __future__ import annotations

import functools
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
    """The function `kernel` of a text, compiled at its first call with each kind of arguments.

    Parameters
    ----------
    text : str
        Python source.
    names : mapping of str to object
        The globals that it reads.
    key : object
        Written out, it tells apart all globals but the functions of
        :mod:`dlskills.formulas.vector_math`.

    Returns
    -------
    callable
    """
    digest = _digest(text, key)
    file = _file(text, digest)
    code = compile(text, str(file or "<dlskills kernel>"), "exec")
    # code that Numba keeps on disk names the module that it belongs to
    made = {"__name__": __name__, **names}
    exec(code, made)  # noqa: S102 - text that this package wrote
    function = made["kernel"]
    function.__name__ = function.__qualname__ = f"kernel_{digest}"  # Numba's name in machine code
    kernel = numba.njit(**vector_math.OPTIONS)(function)
    if file is not None:
        try:
            kernel._cache = _Cache(kernel.py_func)
        except Exception as error:  # Numba finds no folder that it may write to
            _warn(error)
    return kernel  # type: ignore[no-any-return]


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, whose faults cost no more than the time to compile again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a file that is damaged may raise anything
            _warn(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # damaged, full, or not to be written to
            _warn(error)


@functools.cache  # once
def _warn_of(problem: str) -> None:
    warnings.warn(
        f"compiled formulas can't be kept on disk ({problem}), and are compiled anew by each "
        "process; delete the folder dlskills/kernels in the cache, or set NUMBA_CACHE_DIR to a "
        "folder that can be written to",
        RuntimeWarning,
        stacklevel=2,
    )


def _warn(error: Exception) -> None:
    _warn_of(f"{type(error).__name__}: {error}")


def _digest(text: str, key: object) -> str:
    """What tells kernels apart: their text, and whatever else compiled code depends on."""
    parts = (
        text, key, sorted(vector_math.OPTIONS.items()), _FUNCTIONS_TEXT,
        numba.__version__, np.__version__, sys.version,
    )  # fmt: skip
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def _file(text: str, digest: str) -> Path | None:
    """A file with a kernel's source, beside which Numba keeps compiled code; None if impossible."""
    try:
        file = folder() / f"kernel_{digest}.py"
        if not file.exists():
            write_file(file, text)
    except (OSError, RuntimeError) as error:  # the latter of Path.home(), where there is none
        _warn(error)
        return None
    return file


_FUNCTIONS_TEXT = Path(vector_math.__file__).read_text(encoding="utf-8")


def folder() -> Path:
    """The folder of the cache: in NUMBA_CACHE_DIR, XDG_CACHE_HOME, or ~/.cache."""
    configured = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configured or cache) / "dlskills" / "kernels"
