"""Arrays from memory addresses, for Numba loops over a table of arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba.core import types
from numba.extending import intrinsic

from dlskills.formulas.vector_math import OPTIONS

_TYPES: Any = types


@functools.cache
def array_at(dtype: Any) -> Callable[[int, int], Any]:
    """Return a function, for compiled code, that turns an address and a size into an array."""
    kind = numba.from_dtype(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer_type = context.get_value_type(signature.return_type)
            return builder.inttoptr(arguments[0], pointer_type)

        return _TYPES.CPointer(kind)(_TYPES.int64), generate

    @numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def array(address: int, size: int) -> Any:
        return numba.carray(pointer(address), (size,))

    return array  # type: ignore[no-any-return]
