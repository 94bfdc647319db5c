"""Formulas: functions of a namespace `xp`, written as in a textbook and run by any engine.

There are three kinds:

``elementwise``
    Computes each element on its own. Operands broadcast, and results are new arrays.
``along``
    Uses reductions along one axis and sums over everything, and may return several results.
:class:`Rule`
    An optimizer's update, elementwise and in place. Optimizers create it from their `rule`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array, backend_of, library_of, sum_dtype, to_host
from dlskills.formulas import engines
from dlskills.formulas.trace import NotElementwiseError, Trace, UnsuitedFormulaError

if TYPE_CHECKING:
    from dlskills.formulas.table import Table

Function: TypeAlias = Callable[[ModuleType], Callable[..., Any]]
"""A function that takes a namespace and returns a function of arrays and numbers."""

Update: TypeAlias = Callable[..., Any]
"""``update(param, grad, *slots, *coefficients)``, which returns param or (param, *slots)."""


_REMEMBERED = 256  # prepared calls per formula, at some kilobytes each


class Formula:
    """A formula, and the calls that engines have prepared for it.

    Attributes
    ----------
    function : callable
        ``function(xp)`` returns a function of operands.
    has_axis : bool
        Whether that function takes the keyword `axis`.
    memory : dict
        Prepared calls and kernels; each key begins with the engine's name.
    unsuited : set
        Pairs of an engine's name and a dtype for which that engine can't run the formula.
    """

    has_axis = False

    def __init__(self, function: Function) -> None:
        self.__name__ = getattr(function, "__name__", "formula")
        self.__doc__ = function.__doc__
        self.__wrapped__ = self.function = function
        self.memory: dict[Any, Any] = {}
        self.unsuited: set[tuple[str, Any]] = set()
        self._in_namespace: dict[ModuleType, Callable[..., Any]] = {}
        self._traces: dict[tuple[tuple[str, ...], str], Trace] = {}

    def call(
        self, xp: ModuleType, operands: Sequence[Any], axis: tuple[int, ...] | None
    ) -> tuple[Any, ...]:
        """Return the results of the function itself, called with whole arrays."""
        function = self._in_namespace.get(xp)
        if function is None:
            function = self._in_namespace[xp] = self.function(xp)
        options = {"axis": axis} if self.has_axis else {}
        with np.errstate(all="ignore"):  # as other engines and libraries do not warn, either
            given = function(*operands, **options)
        return given if isinstance(given, tuple) else (given,)

    def trace(self, kinds: tuple[str, ...], dims: str) -> Trace:
        """Return the formula's graph for operands of these kinds, cached.

        Raises
        ------
        UnsuitedFormulaError
            The formula uses an operation that can't be traced.
        """
        found = self._traces.get((kinds, dims))
        if found is None:
            found = self._traces[kinds, dims] = Trace(self.function, kinds, dims, self.has_axis)
        return found

    def remember(self, key: Any, prepared: Any) -> Any:
        """Store a prepared call, and drop the oldest once there are too many."""
        if len(self.memory) >= _REMEMBERED:
            self.memory.pop(next(iter(self.memory)), None)
        self.memory[key] = prepared
        return prepared

    def check_results(self, results: Sequence[Any], count: int) -> None:
        """Raise an error unless there is one output array per result."""
        if len(results) != count:
            raise ValueError(
                f"{self.__name__} has {len(results)} results, got {count} arrays in out. Give one "
                "array per result, or None for a new array"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Formula:
        return self


class elementwise(Formula):
    """Decorator for elementwise formulas.

    Parameters
    ----------
    function : callable
        ``function(xp)`` returns a function that combines its arguments elementwise, with operators
        and functions of the Array API.

    Notes
    -----
    Call the formula with arrays and numbers, an array first. The first array sets the dtype of the
    computation and of the results; half precision is computed in float32. Other operands are cast
    to that dtype. Use ``xp.astype(condition, x.dtype)`` to convert a comparison to numbers. The
    function must not change its arguments in place.

    The formula runs as one kernel on CuPy, and as one compiled loop on NumPy if Numba is installed.
    If it can't be compiled (for example, because it uses a function outside of the Array API), it
    is called with whole arrays, with a warning.

    Examples
    --------
    >>> import numpy as np
    >>> import dlskills
    >>> @dlskills.elementwise
    ... def swish(xp):
    ...     return lambda x: x / (1 + xp.exp(-x))
    >>> swish(np.zeros(2))
    array([0., 0.])
    """

    def __call__(self, *operands: Any, out: Sequence[Array | None] | None = None) -> Any:
        """Return the formula's results.

        Parameters
        ----------
        *operands : array or number
            The first operand must be an array.
        out : sequence of array or None, optional
            For each result, the array to write it to, or None for a new one. Such an array may be
            an operand but must not partially overlap one.

        Returns
        -------
        array, or tuple of array if there are several results
        """
        results = engines.run(self, _plain(operands), None, out)
        return results[0] if len(results) == 1 else results


class along(Formula):
    """Decorator for formulas with reductions along an axis.

    Parameters
    ----------
    function : callable
        ``function(xp)`` returns a function with a keyword argument `axis`. Inside it, ``xp.sum``,
        ``xp.mean``, ``xp.var``, ``xp.max`` and ``xp.min`` take ``axis=axis, keepdims=True``.
        ``xp.sum(y)`` and ``xp.mean(y)`` without an axis reduce over everything; their results may
        only be combined with numbers.

    Notes
    -----
    See :class:`elementwise` for dtypes and engines. Nothing is stored in memory between the
    reductions. Per-line results keep the reduced axes with size 1, as NumPy's keepdims does.

    Examples
    --------
    >>> import numpy as np
    >>> import dlskills
    >>> @dlskills.along
    ... def softmax(xp):
    ...     def y(x, axis):
    ...         e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    ...         return e / xp.sum(e, axis=axis, keepdims=True)
    ...     return y
    >>> softmax(np.zeros((2, 4)), axis=1)
    array([[0.25, 0.25, 0.25, 0.25],
           [0.25, 0.25, 0.25, 0.25]])
    """

    has_axis = True

    def __call__(
        self,
        *operands: Any,
        axis: int | tuple[int, ...],
        out: Sequence[Array | None] | None = None,
    ) -> Any:
        """Return the formula's results.

        Parameters
        ----------
        *operands : array or number
            The first operand must be an array of the full shape; others broadcast to it.
        axis : int or tuple of int
            The axis or axes of the reductions.
        out : sequence of array or None, optional
            For each result, an array with as many elements to write it to, or None for a new one.
            Such an array may be an operand but must not partially overlap one.

        Returns
        -------
        array, or tuple of array if there are several results
        """
        axes = axis if isinstance(axis, tuple) else (axis,)
        results = engines.run(self, _plain(operands), axes, out)
        return results[0] if len(results) == 1 else results


class Rule(Formula):
    """The formula of an optimizer's update.

    ``update(param, grad, *slots, *numbers)`` returns the new values of param and slots.
    """

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self._is_elementwise: set[tuple[int, int]] = set()
        self._undecided: set[tuple[int, int, str]] = set()

    def call(
        self, xp: ModuleType, operands: Sequence[Any], axis: tuple[int, ...] | None
    ) -> tuple[Any, ...]:
        results = super().call(xp, operands, axis)
        return () if any(value is None for value in results) else results

    def check_results(self, results: Sequence[Any], count: int) -> None:
        if len(results) != count:
            raise TypeError(
                f"a rule's update must return (param, *slots), {count} in all and in this order, "
                f"got {len(results) or 'nothing'}"
            )

    def check_elementwise(self, table: Table) -> None:
        """Raise an error if the rule combines different elements of an array.

        Engines may split parameters or join them, so such a rule would give different results.

        Parameters
        ----------
        table : Table
            What the rule runs on; not changed.

        Raises
        ------
        NotElementwiseError
        """
        numbers = table.numbers[0]
        counts = table.arrays, len(numbers)
        if counts in self._is_elementwise:
            return
        undecided = (*counts, library_of(table.alike[0]))
        if undecided in self._undecided:
            return
        reason = ". A norm per parameter can't be part of a rule"
        try:
            self.trace(("B",) * counts[0] + ("",) * counts[1], "B")
        except NotElementwiseError as error:
            raise NotElementwiseError(
                f"an update rule must be elementwise, since it runs over all parameters at once: "
                f"{error}{reason}"
            ) from None
        except UnsuitedFormulaError:  # can't be traced, but may still run on the engine 'plain'
            combines = self._combines_elements(table.alike, numbers)
            if combines is None:
                self._undecided.add(undecided)
                return
            if combines:
                raise NotElementwiseError(
                    "an update rule must be elementwise, since it runs over all parameters at "
                    "once, but an element's new value depends on the other elements or on their "
                    f"number{reason}"
                ) from None
        self._is_elementwise.add(counts)

    def _combines_elements(self, arrays: Sequence[Array], numbers: Sequence[Any]) -> bool | None:
        """Return whether updating two elements together differs from updating each alone.

        None if the rule raises an error here, which may be due to the library of the arrays.
        """
        backend = backend_of(arrays[0])
        xp = backend.xp
        values = np.random.default_rng(0).uniform(0.5, 1.5, (len(arrays), 2))

        def result(part: slice) -> Any:
            operands = [
                backend.asarray(row[part], sum_dtype(xp, array.dtype))
                for row, array in zip(values, arrays, strict=True)
            ]
            found = self.call(xp, [*operands, *numbers], None)
            return np.stack([to_host(value) for value in found])

        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                both, again = result(slice(2)), result(slice(2))
                alone = np.concatenate([result(slice(1)), result(slice(1, 2))], axis=1)
        except Exception:
            return None
        if not np.array_equal(both, again):  # such as a rule that adds noise
            return False
        return not np.allclose(both, alone, rtol=1e-3, equal_nan=True)


@functools.cache
def rule_of(function: Function) -> Rule:
    """Return the :class:`Rule` for an optimizer's `rule`, cached."""
    return Rule(function)


def _plain(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return operands with NumPy scalars, except the first, as Python numbers without a dtype."""
    for operand in operands:
        if isinstance(operand, np.generic):
            others = (o.item() if isinstance(o, np.generic) else o for o in operands[1:])
            return operands[0], *others
    return operands
