"""Elementwise arithmetic on named arrays, with another such mapping or with a number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array

Operation: TypeAlias = Callable[[Any, Any], Any]


class Arithmetic:
    """Mixin that adds ``+``, ``-``, ``*``, ``/`` and their in-place forms to a mapping of arrays.

    The class that inherits from it must define `copy` and `pairs_with`, as
    :class:`~dlskills.Parameters` does.
    """

    __array_ufunc__ = None  # makes a NumPy scalar on the left defer to this class

    def _terms(self, other: Any) -> Iterator[tuple[Array, Any]]:
        """Yield each array with its operand, an array or a number."""
        mine: Any = self
        if not isinstance(other, Arithmetic):
            number = other.item() if isinstance(other, np.generic) else other
            yield from ((array, number) for array in mine.values())
            return
        if not mine.pairs_with(other):
            raise ValueError(
                "arithmetic on Parameters needs the same names, shapes, dtype and device, got "
                f"{self!r} and {other!r}"
            )
        theirs: Any = other
        yield from zip(mine.values(), theirs.values(), strict=True)

    def _in_place(self, operation: Operation, other: Any) -> Self:
        if not _is_term(other):
            return NotImplemented  # type: ignore[no-any-return]
        for array, term in self._terms(other):
            array[...] = operation(array, term)
        return self

    def _new(self, operation: Operation, other: Any) -> Self:
        mine: Any = self
        made: Self = mine.copy()
        return made._in_place(operation, other)

    def __add__(self, other: Any) -> Self:
        return self._new(operator.add, other)

    def __sub__(self, other: Any) -> Self:
        return self._new(operator.sub, other)

    def __mul__(self, other: Any) -> Self:
        return self._new(operator.mul, other)

    def __truediv__(self, other: Any) -> Self:
        return self._new(operator.truediv, other)

    def __radd__(self, other: Any) -> Self:
        return self._new(operator.add, other)

    def __rsub__(self, other: Any) -> Self:
        return self._new(lambda array, term: term - array, other)

    def __rmul__(self, other: Any) -> Self:
        return self._new(operator.mul, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._new(lambda array, term: term / array, other)

    def __iadd__(self, other: Any) -> Self:
        return self._in_place(operator.add, other)

    def __isub__(self, other: Any) -> Self:
        return self._in_place(operator.sub, other)

    def __imul__(self, other: Any) -> Self:
        return self._in_place(operator.mul, other)

    def __itruediv__(self, other: Any) -> Self:
        return self._in_place(operator.truediv, other)

    def __neg__(self) -> Self:
        return self._new(operator.mul, -1)


def _is_term(value: Any) -> bool:
    return isinstance(value, Arithmetic | int | float) or getattr(value, "shape", None) == ()
