"""Formulas of single elements that run as one kernel where each operation would be one.

Array libraries run a formula operation by operation: each is a pass over memory, and on a GPU a
launch, which costs more than the arithmetic of a small network's layer. The decorators here take
the formula as it stands in a layer. On CuPy it is run once over symbols
(:mod:`dlskills.symbolic`) and becomes one kernel; elsewhere it is simply called.

>>> import numpy as np
>>> @elementwise
... def swish(xp):
...     return lambda x: x / (1 + xp.exp(-x))
>>> swish(np.zeros(2))
array([0., 0.])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from dlskills.backend import Array, library_of, namespace, sum_dtype, sum_into
from dlskills.symbolic import Trace

Formula: TypeAlias = Callable[[ModuleType], Callable[..., Any]]
"""Given a namespace, a function of arrays and numbers that gives an array, or a tuple of them."""


class elementwise:
    """A formula of single elements: its arrays broadcast, and its results are new arrays.

    Parameters
    ----------
    formula : callable
        ``formula(xp)`` gives a function that computes with its arguments by operators and
        functions of the Array API, one element at a time. The first one is an array, in whose
        dtype a kernel computes. Others may be arrays of that dtype, or of integers, or numbers;
        what is of another floating-point dtype should be cast first, as a library's own promotion
        may go another way. ``xp.astype(condition, x.dtype)`` makes numbers of a comparison.
    """

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        functools.update_wrapper(self, formula)

    def __call__(self, *operands: Any) -> Any:
        """The formula's result."""
        operands = operands[0], *map(_plain, operands[1:])
        if library_of(operands[0]) == "cupy":
            return _elementwise_kernel(self.formula, _kinds(operands))(*operands)
        return _function(self.formula, namespace(operands[0]))(*operands)


class summed(elementwise):
    """Sums of a formula's results: of one or several, from one pass over the arrays.

    Half precision is added up in single precision.
    """

    def __call__(  # type: ignore[override]
        self, *operands: Any, axis: int | tuple[int, ...], out: Sequence[Array] | None = None
    ) -> Any:
        """The sums over axes; the first operand has the full shape.

        Parameters
        ----------
        *operands : array or number
        axis : int or tuple of int
        out : sequence of array, optional
            Where the sums are written to.

        Returns
        -------
        tuple of array, or array if it is one
        """
        operands = operands[0], *map(_plain, operands[1:])
        first = operands[0]
        xp = namespace(first)
        if library_of(first) == "cupy":
            kernel, count = _sum_kernel(self.formula, _kinds(operands))
            out = _empty_sums(xp, first, axis, count) if out is None else out
            kernel(*operands, *out, axis=axis)
        else:
            results = _function(self.formula, xp)(*operands)
            results = results if isinstance(results, tuple) else (results,)
            if out is None:
                wide = sum_dtype(xp, first.dtype)
                sums = (xp.sum(result, axis=axis, dtype=wide) for result in results)
                out = [xp.astype(total, first.dtype, copy=False) for total in sums]
            else:
                for into, result in zip(out, results, strict=True):
                    sum_into(into, result, axis=axis)
        return tuple(out) if len(out) > 1 else out[0]


def _empty_sums(
    xp: ModuleType, like: Array, axis: int | tuple[int, ...], count: int
) -> list[Array]:
    axes = {a % like.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    shape = tuple(n for i, n in enumerate(like.shape) if i not in axes)
    return [xp.empty(shape, dtype=like.dtype) for _ in range(count)]


@functools.cache
def _function(formula: Formula, xp: ModuleType) -> Callable[..., Any]:
    return formula(xp)


# Kernels. T is the dtype of the first array; what else comes in is cast to it.


_LETTERS = "TABCDEFGHIJKLMNOPQRS"  # CuPy's names for dtypes still open are single letters


def _plain(operand: Any) -> Any:
    """A number of NumPy's as one of Python's, which has no dtype of its own."""
    return operand.item() if isinstance(operand, np.generic) else operand


def _kinds(operands: Sequence[Any]) -> str:
    """A letter for each operand: an array or a number."""
    return "".join("a" if hasattr(operand, "shape") else "n" for operand in operands)


def _traced(formula: Formula, kinds: str) -> tuple[str, list[str], list[str], list[str]]:
    """A kernel's parameters, their names, the lines of its body, and the names of its results."""
    trace = Trace()
    names = [f"in{i}" for i in range(len(kinds))]
    types = [_LETTERS[i] if kind == "a" else "T" for i, kind in enumerate(kinds)]
    results = formula(trace.namespace)(*(trace.load(f"T({name})") for name in names))
    results = results if isinstance(results, tuple) else (results,)
    parameters = ", ".join(map(" ".join, zip(types, names, strict=True)))
    return parameters, names, trace.lines, [trace.value(result) for result in results]


def _name(formula: Formula) -> str:
    return f"dlskills_{getattr(formula, '__name__', 'formula').strip('_')}"


@functools.cache
def _elementwise_kernel(formula: Formula, kinds: str) -> Any:
    import cupy

    parameters, _, lines, results = _traced(formula, kinds)
    outputs = ", ".join(f"T out{i}" for i in range(len(results)))
    stores = [f"out{i} = {result};" for i, result in enumerate(results)]
    return cupy.ElementwiseKernel(parameters, outputs, "\n".join(lines + stores), _name(formula))


_SUMS = """
template <class T> struct Wide {{ typedef T type; }};
template <> struct Wide<float16> {{ typedef float type; }};
template <class T> struct Sums {{
    T of[{count}];
    __device__ Sums(T start = T(0)) {{ for (int i = 0; i < {count}; ++i) of[i] = start; }}
    __device__ Sums operator+(const Sums& other) const {{
        Sums both;
        for (int i = 0; i < {count}; ++i) both.of[i] = of[i] + other.of[i];
        return both;
    }}
}};
template <class T> __device__ Sums<T> terms({arguments}) {{
    {lines}
    Sums<T> all;
    {stores}
    return all;
}}
"""


@functools.cache
def _sum_kernel(formula: Formula, kinds: str) -> tuple[Any, int]:
    import cupy

    parameters, names, lines, results = _traced(formula, kinds)
    count = len(results)
    preamble = _SUMS.format(
        count=count,
        arguments=", ".join(f"T {name}" for name in names),
        lines="\n    ".join(lines),
        stores=" ".join(f"all.of[{i}] = {result};" for i, result in enumerate(results)),
    )
    kernel = cupy.ReductionKernel(
        parameters,
        ", ".join(f"T out{i}" for i in range(count)),
        f"terms<typename Wide<T>::type>({', '.join(names)})",
        "a + b",
        ", ".join(f"out{i} = a.of[{i}]" for i in range(count)),
        "typename Wide<T>::type(0)",
        _name(formula),
        reduce_type="Sums<typename Wide<T>::type>",
        preamble=preamble,
    )
    return kernel, count
