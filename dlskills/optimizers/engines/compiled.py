"""The engine ``numba``: a rule compiled into one pass over memory, on all cores."""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from dlskills.backend import Array
from dlskills.optimizers.engines import blocked
from dlskills.optimizers.engines.rules import Rule, UnsuitedRuleError, update_of

# Below, one thread is done before others have started (measured: benchmarks/README.md).
PARALLEL_FROM = 250_000

_launching = threading.Lock()
_state = {"launched": False, "forked": False}


def missing() -> str | None:
    """Why the engine is not available, None where it is."""
    if not _installed():
        return "numba is not installed: pip install 'dlskills[jit]'"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set: unset it"
    return None


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[Any]) -> None:
    """Update ``[param, grad, *slots]`` in place, in one pass."""
    flat = blocked.flattened(arrays)
    if flat is None:  # memory with gaps, which one pass over a line does not cover
        blocked.run(rule, arrays, coefficients)
        return
    size = flat[0].size
    if not size:
        return
    numbers = [flat[0].dtype.type(c) for c in coefficients]
    # Numba's simplest threading layer dies of two launches at once: the second goes alone.
    if size >= PARALLEL_FROM and not _state["forked"] and _launching.acquire(blocking=False):
        try:
            _state["launched"] = True
            _call(kernel(rule, len(arrays), len(numbers), True), flat, numbers)
        finally:
            _launching.release()
    else:
        _call(kernel(rule, len(arrays), len(numbers), False), flat, numbers)


def _call(compiled: Callable[..., None], arrays: list[Array], numbers: list[Any]) -> None:
    try:
        compiled(*arrays, *numbers)
    except Exception as error:  # Numba's own, which can't be named before it is imported
        if not type(error).__module__.startswith("numba."):
            raise
        reason = str(error).strip().splitlines()[-1]
        raise UnsuitedRuleError(f"Numba can't compile the rule: {reason}") from error


@functools.cache
def kernel(rule: Rule, arrays: int, numbers: int, parallel: bool) -> Any:
    """The compiled loop over a rule's elements, for so many arrays and coefficients.

    Numba compiles it at the first call with each dtype, and keeps it on disk where the rule is
    one that it can recognise again.
    """
    import numba

    update = update_of(rule, np)
    source = _source(arrays, numbers, parallel)
    file = _cache_file(update, source)
    options = {"error_model": "numpy", "nogil": True}  # no fastmath: NaN and inf stay visible
    code = compile(source, str(file or "<dlskills kernel>"), "exec")
    # code that Numba keeps on disk names the module that it belongs to
    names = {"__name__": __name__, "update": _jitted(update, options), "prange": numba.prange}
    exec(code, names)
    return numba.njit(parallel=parallel, cache=file is not None, **options)(names["kernel"])


def _source(arrays: int, numbers: int, parallel: bool) -> str:
    names = ["param", "grad", *(f"slot{i}" for i in range(arrays - 2))]
    coefficients = [f"c{i}" for i in range(numbers)]
    loads = ", ".join([f"{name}[i]" for name in names] + coefficients)
    stores = ", ".join(f"{name}[i]" for name in names if name != "grad")
    return (
        f"def kernel({', '.join(names + coefficients)}):\n"
        f"    for i in {'prange' if parallel else 'range'}(param.size):\n"
        f"        {stores} = update({loads})\n"
    )


def _cache_file(update: Callable[..., Any], source: str) -> Path | None:
    """A file for the kernel's source, which is where Numba looks for compiled code; or None.

    Its name tells rules apart by all that they compute with. A rule that reads anything else than
    its arguments and the namespace can't be told apart so, and is not kept.
    """
    import numba

    what = _fingerprint(update)
    if what is None:
        return None
    text = f"{source}\n{what}\n{numba.__version__} {np.__version__} {sys.version}"
    file = _folder() / f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:24]}.py"
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_text(source, encoding="utf-8")
            part.replace(file)  # never half a file, whoever else is writing it
    except OSError:
        return None
    return file


def _folder() -> Path:
    configured = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configured or cache) / "dlskills" / "kernels"


def _jitted(function: Any, options: dict[str, Any]) -> Any:
    """The function compiled, with the functions that it closes over: Numba wants all of them so."""
    import numba

    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    inner = [_jitted(cell, options) if isinstance(cell, FunctionType) else cell for cell in cells]
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(map(CellType, inner)),
    )
    return numba.njit(**options)(copy)


def _fingerprint(value: Any) -> str | None:
    """A text that differs for whatever computes differently; None where that is not known."""
    if isinstance(value, FunctionType):
        if value.__code__.co_names and not _reads_attributes_only(value.__code__):
            return None
        return _joined([value.__code__, *(c.cell_contents for c in value.__closure__ or ())])
    if isinstance(value, CodeType):
        return _joined([value.co_code.hex(), repr(value.co_names), *value.co_consts])
    if value is np:
        return "numpy"
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    return None


def _joined(parts: Sequence[Any]) -> str | None:
    texts = [_fingerprint(part) for part in parts]
    return None if None in texts else repr(texts)


def _reads_attributes_only(code: CodeType) -> bool:
    """Whether the code reads no global names: what they stand for may differ another day."""
    return all(i.opname not in ("LOAD_GLOBAL", "LOAD_NAME") for i in dis.get_instructions(code))


def _after_fork() -> None:
    # threads do not survive a fork, and OpenMP's pool then ends the process: go on with one
    global _launching
    _launching = threading.Lock()
    _state["forked"] = _state["launched"]


os.register_at_fork(after_in_child=_after_fork)
