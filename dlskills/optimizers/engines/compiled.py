"""The engine ``numba``: a rule compiled into one pass over memory, on all cores."""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.optimizers.engines import blocked
from dlskills.optimizers.engines.rules import Rule, update_of
from dlskills.optimizers.engines.threads import share_out
from dlskills.symbolic import UnsuitedRuleError

# From here on the elements are shared out to threads, so many at a time. On fewer, one thread is
# done before others have woken up (python -m benchmarks parallel).
PARALLEL_FROM = 1_000_000
SHARE = 250_000

# No fastmath: NaN and inf stay visible.
OPTIONS = {"error_model": "numpy", "nogil": True}


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
    numbers = [flat[0].dtype.type(c) for c in coefficients]
    compiled = kernel(rule, len(arrays), len(numbers))
    size = flat[0].size
    if size < PARALLEL_FROM:
        _call(compiled, flat, numbers)
        return
    starts = iter(range(0, size, SHARE))  # whoever is done takes the next; next() is atomic

    def work() -> None:
        for start in starts:
            _call(compiled, [array[start : start + SHARE] for array in flat], numbers)

    share_out(work)


def _call(compiled: Callable[..., None], arrays: list[Array], numbers: list[Any]) -> None:
    try:
        compiled(*arrays, *numbers)
    except Exception as error:
        # Numba's own, which can't be named before it is imported; the other is for float16
        if not isinstance(error, NotImplementedError) and not _is_from_numba(error):
            raise
        raise UnsuitedRuleError(f"Numba can't compile the rule: {_reason(error)}") from error


def _is_from_numba(error: Exception) -> bool:
    return type(error).__module__.startswith("numba.")


def _reason(error: Exception) -> str:
    """The one line of Numba's long messages that says what it is about."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("Failed in")]
    return next((line for line in lines if line.startswith("- argument")), lines[0])


@functools.cache
def kernel(rule: Rule, arrays: int, numbers: int) -> Any:
    """The compiled loop over a rule's elements, for so many arrays and coefficients.

    Numba compiles it at the first call with each dtype, and keeps it on disk where the rule is
    one that it can recognise again.
    """
    import numba

    update = update_of(rule, np)
    source = _source(arrays, numbers)
    file = _cache_file(update, source)
    code = compile(source, str(file or "<dlskills kernel>"), "exec")
    # code that Numba keeps on disk names the module that it belongs to
    names = {"__name__": __name__, "update": _jitted(update)}
    exec(code, names)
    jit = functools.partial(numba.njit, **OPTIONS)
    try:
        return jit(cache=file is not None)(names["kernel"])
    except RuntimeError:  # Numba finds no folder to write to
        return jit()(names["kernel"])


def _source(arrays: int, numbers: int) -> str:
    names = ["param", "grad", *(f"slot{i}" for i in range(arrays - 2))]
    coefficients = [f"c{i}" for i in range(numbers)]
    loads = ", ".join([f"{name}[i]" for name in names] + coefficients)
    stores = ", ".join(f"{name}[i]" for name in names if name != "grad")
    return (
        f"def kernel({', '.join(names + coefficients)}):\n"
        f"    for i in range(param.size):\n"
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
    text = f"{source}\n{what}\n{OPTIONS}\n{numba.__version__} {np.__version__} {sys.version}"
    try:
        file = _folder() / f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:24]}.py"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_text(source, encoding="utf-8")
            part.replace(file)  # never half a file, whoever else is writing it
    except (OSError, RuntimeError):  # the latter of Path.home(), where there is none
        return None
    return file


def _folder() -> Path:
    configured = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configured or cache) / "dlskills" / "kernels"


def _jitted(function: Any) -> Any:
    """The function compiled, with the functions that it closes over: Numba wants all of them so."""
    import numba

    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    inner = [
        _jitted(cell) if isinstance(cell, FunctionType) else _of_numbers() if cell is np else cell
        for cell in cells
    ]
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(map(CellType, inner)),
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return numba.njit(**OPTIONS)(copy)


@functools.cache
def _of_numbers() -> ModuleType:
    """NumPy's namespace for single numbers: of these, Numba makes an array in where()."""
    import numba

    names = ModuleType("numpy_of_numbers")
    vars(names).update(vars(np))
    names.where = numba.njit(**OPTIONS)(_where)  # type: ignore[attr-defined]
    return names


def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def _fingerprint(value: Any) -> str | None:
    """A text that differs for whatever computes differently; None where that is not known."""
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return _joined([value.__code__, *defaults, *cells])
    if isinstance(value, CodeType):
        if not _reads_attributes_only(value):
            return None
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
