"""Formulas of single elements that run as one kernel where each operation would be one.

Array libraries run a formula operation by operation: each is a pass over memory, and on a GPU a
launch, which costs more than the arithmetic of a small network's layer. The decorators here take
the formula as it stands in a layer. On CuPy it is run once over symbols
(:mod:`dlskills.symbolic`) and becomes one kernel; elsewhere it is simply called. So it is on CuPy
where no kernel can be made of it, with a warning, and for arrays of integers.

>>> import numpy as np
>>> @elementwise
... def swish(xp):
...     return lambda x: x / (1 + xp.exp(-x))
>>> swish(np.zeros(2))
array([0., 0.])
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array, is_dtype, library_of, namespace, sum_dtype
from dlskills.arrays.operations import sum_into
from dlskills.symbolic import Trace, UnsuitedRuleError, traced

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
        kernel = _kernel(_elementwise_kernel, self.formula, operands)
        if kernel is not None:
            return kernel(*operands)
        return _function(self.formula, namespace(operands[0]))(*operands)


class summed(elementwise):
    """Sums of a formula's results: of one or several, from one pass over the arrays.

    Half precision is added up in single precision.
    """

    def __call__(  # type: ignore[override]
        self,
        *operands: Any,
        axis: int | tuple[int, ...] | None,
        out: Sequence[Array] | None = None,
    ) -> Any:
        """The sums over axes; the first operand has the full shape.

        Parameters
        ----------
        *operands : array or number
        axis : int or tuple of int, or None for all axes
        out : sequence of array, optional
            Where the sums are written to.

        Returns
        -------
        tuple of array, or array if it is one
        """
        operands = operands[0], *map(_plain, operands[1:])
        first = operands[0]
        xp = namespace(first)
        made = _kernel(_sum_kernel, self.formula, operands)
        if made is not None:
            kernel, count = made
            out = _empty_sums(xp, first, axis, count) if out is None else out
            kernel(*operands, *(0,) * (kernel.nin - len(operands)), *out, axis=axis)
        else:
            results = _function(self.formula, xp)(*operands)
            results = results if isinstance(results, tuple) else (results,)
            if out is None:
                out = [_sum(xp, result, axis) for result in results]
            else:
                for into, result in zip(out, results, strict=True):
                    sum_into(into, result, axis=axis)
        return tuple(out) if len(out) > 1 else out[0]


def _sum(xp: ModuleType, array: Array, axis: int | tuple[int, ...] | None) -> Array:
    total = xp.sum(array, axis=axis, dtype=sum_dtype(xp, array.dtype))
    return xp.astype(total, array.dtype, copy=False)


def _empty_sums(
    xp: ModuleType, like: Array, axis: int | tuple[int, ...] | None, count: int
) -> list[Array]:
    if axis is None:
        axis = tuple(range(like.ndim))
    axes = {a % like.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    shape = tuple(n for i, n in enumerate(like.shape) if i not in axes)
    return [xp.empty(shape, dtype=like.dtype) for _ in range(count)]


@functools.cache
def _function(formula: Formula, xp: ModuleType) -> Callable[..., Any]:
    return formula(xp)


# Kernels. T is the dtype of the first array; what else comes in is cast to it.


_LETTERS = "TABCDEFGHIJKLMNOPQRS"  # CuPy's names for dtypes still open are single letters


def _kernel(make: Callable[[Formula, str], Any], formula: Formula, operands: Sequence[Any]) -> Any:
    """The kernel for these operands; None where the formula is to be called."""
    first = operands[0]
    if library_of(first) != "cupy" or not is_dtype(namespace(first), first.dtype, "real floating"):
        return None
    return make(formula, _kinds(operands))


def _or_none(make: Callable[[Formula, str], Any]) -> Callable[[Formula, str], Any]:
    """None where no kernel can be made of a formula, of which a user is told once."""

    @functools.cache
    def made(formula: Formula, kinds: str) -> Any:
        try:
            return make(formula, kinds)
        except UnsuitedRuleError as error:
            name = getattr(formula, "__name__", "a formula")
            warnings.warn(f"{name}: {error}; it runs operation by operation", stacklevel=4)
            return None

    return made


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
    loaded = [trace.load(f"T({name})") for name in names]
    results = traced(lambda *values: formula(trace.namespace)(*values), loaded)
    results = results if isinstance(results, tuple) else (results,)
    parameters = ", ".join(map(" ".join, zip(types, names, strict=True)))
    return parameters, names, trace.lines, [trace.value(result) for result in results]


def _name(formula: Formula) -> str:
    # what C++ takes for a name: a lambda's has brackets, and Python's may have any letters
    words = re.sub(r"\W", "_", getattr(formula, "__name__", "formula"), flags=re.ASCII)
    return f"dlskills_{words.strip('_') or 'formula'}"


@_or_none
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


@_or_none
def _sum_kernel(formula: Formula, kinds: str) -> tuple[Any, int]:
    import cupy

    parameters, names, lines, results = _traced(formula, kinds)
    if len(kinds) == 1:
        # Of a large sum with one operand and one result CuPy makes another kernel on CUDA, by CUB,
        # which takes CuPy's own names for its types, and does not compile (14.2).
        parameters += ", T unused"
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
