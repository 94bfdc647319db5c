"""Kernels of the engine ``numba``: compiling sources and calling the results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.formulas.trace import UnsuitedFormulaError

if TYPE_CHECKING:
    from dlskills.formulas.numba_source import Source

DTYPES = frozenset((np.dtype("float32"), np.dtype("float64")))
"""The dtypes that kernels compute in."""


@functools.cache
def _kernel_of(text: str, constants: tuple[tuple[str, float], ...], dtype: Any) -> Any:
    from dlskills.formulas import cache, pointers, vector_math

    kind = dtype.type
    names = {
        "np": np,
        "T": kind,
        "double": np.float64,
        "size_of_t": dtype.itemsize,
        "array_at": pointers.array_at(dtype),
        **vector_math.functions(dtype),
        **{name: kind(number) for name, number in constants},
    }
    return cache.compiled(text, names, (str(dtype), repr(constants)))


def kernel_for(source: Source, dtype: Any) -> Callable[..., None]:
    """Return the compiled loop of a source for a dtype."""
    return _kernel_of(source.text, tuple(source.constants.items()), dtype)  # type: ignore[no-any-return]


@functools.cache
def finish_for(text: str) -> Callable[..., list[float]]:
    """Return the function `finish` that a source text defines."""
    names: dict[str, Any] = {"T": float, **vars(np)}
    exec(text, names)  # noqa: S102 - text that this package wrote

    def finish(*arguments: Any) -> list[float]:
        with np.errstate(all="ignore"):
            return names["finish"](*arguments)  # type: ignore[no-any-return]

    return finish


def call(kernel: Callable[..., None], *arguments: Any) -> None:
    """Call a kernel. The first call with each combination of argument types compiles it.

    Raises
    ------
    UnsuitedFormulaError
        Numba can't compile the kernel.
    """
    try:
        kernel(*arguments)
    except Exception as error:
        # Numba's errors have no common base class
        if not isinstance(error, NotImplementedError) and not _is_from_numba(error):
            raise
        raise UnsuitedFormulaError(f"Numba can't compile it: {_reason(error)}") from error


def _is_from_numba(error: Exception) -> bool:
    return type(error).__module__.startswith("numba.")


def _reason(error: Exception) -> str:
    """Return the most informative line of Numba's message."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("Failed in")]
    return next((line for line in lines if line.startswith("- argument")), lines[0])
