"""Formulas: written once over a namespace `xp`, as a textbook states them, and run by any engine.

There are three kinds:

``elementwise``
    One element at a time; operands broadcast, results are new arrays.
``along``
    With reductions along one axis; several results; sums over everything.
:class:`Rule`
    An optimizer's update: elementwise, in place. Optimizers make them of their `rule`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.formulas import engines
from dlskills.formulas.trace import NotElementwiseError, Trace, UnsuitedFormulaError

Function: TypeAlias = Callable[[ModuleType], Callable[..., Any]]
"""Given a namespace, a function of arrays and numbers."""

Update: TypeAlias = Callable[..., Any]
"""``update(param, grad, *slots, *coefficients)`` gives param, or (param, *slots)."""


_REMEMBERED = 256  # calls of a formula; each is some kilobytes


class Formula:
    """A formula, and what engines remember of it.

    Attributes
    ----------
    function : callable
        ``function(xp)`` gives a function of operands.
    has_axis : bool
        Whether that function takes the keyword `axis`.
    memory : dict
        What an engine has prepared for calls like those before; keys begin with its name.
    unsuited : set
        The names of engines that can't run it, with the dtypes that they can't run it for.
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
        """The results of the function itself, called with whole arrays."""
        function = self._in_namespace.get(xp)
        if function is None:
            function = self._in_namespace[xp] = self.function(xp)
        options = {"axis": axis} if self.has_axis else {}
        with np.errstate(all="ignore"):  # no other engine, and no other library, warns
            given = function(*operands, **options)
        return given if isinstance(given, tuple) else (given,)

    def trace(self, kinds: tuple[str, ...], dims: str) -> Trace:
        """The graph of the formula, for operands of these kinds; made once.

        Raises
        ------
        UnsuitedFormulaError
            It does what symbols can't.
        """
        found = self._traces.get((kinds, dims))
        if found is None:
            found = self._traces[kinds, dims] = Trace(self.function, kinds, dims, self.has_axis)
        return found

    def remember(self, key: Any, prepared: Any) -> Any:
        """Keep what an engine has prepared, and forget the oldest where shapes vary without end."""
        if len(self.memory) >= _REMEMBERED:
            self.memory.pop(next(iter(self.memory)), None)
        self.memory[key] = prepared
        return prepared

    def check_results(self, results: Sequence[Any], count: int) -> None:
        """Refuse another number of results than there are arrays to write them to."""
        if len(results) != count:
            raise ValueError(
                f"{self.__name__} has {len(results)} results, got {count} arrays in out; give one "
                "for each, or None for a new array"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Formula:
        return self


class elementwise(Formula):
    """A formula of single elements.

    Parameters
    ----------
    function : callable
        ``function(xp)`` gives a function that computes with its arguments by operators and
        functions of the Array API, one element at a time.

    Notes
    -----
    Call it with arrays and numbers, an array first. The first array sets the dtype of the
    computation and of the results. Half precision is computed in float32. Other operands are
    cast to that dtype; ``xp.astype(condition, x.dtype)`` makes numbers of a comparison. The
    function must not change its arguments in place.

    On CuPy the formula is one kernel; on NumPy, with Numba installed, one compiled loop. Where it
    can't be (it uses a function that the Array API lacks, say) it is called with whole arrays,
    with a warning.

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
        """The formula's results.

        Parameters
        ----------
        *operands : array or number
            The first is an array.
        out : sequence of array or None, optional
            For each result the array that it is written to; None for a new one. It may be an
            operand, but must not overlap one otherwise.

        Returns
        -------
        array, or tuple of array if there are several results
        """
        results = engines.run(self, _plain(operands), None, out)
        return results[0] if len(results) == 1 else results


class along(Formula):
    """A formula with reductions along an axis.

    Parameters
    ----------
    function : callable
        ``function(xp)`` gives a function with a keyword argument `axis`. In it ``xp.sum``,
        ``xp.mean``, ``xp.var``, ``xp.max`` and ``xp.min`` take ``axis=axis, keepdims=True``;
        ``xp.sum(y)`` and ``xp.mean(y)`` without an axis are over everything, and may be combined
        with numbers only.

    Notes
    -----
    As for :class:`elementwise`; between the reductions, nothing is stored in memory. Results that
    differ from line to line have 1 in place of the reduced axes, as in NumPy with keepdims.

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
        """The formula's results.

        Parameters
        ----------
        *operands : array or number
            The first is an array of the full shape; others broadcast to it.
        axis : int or tuple of int
            What reductions are along.
        out : sequence of array or None, optional
            For each result the array that it is written to, of as many elements; None for a new
            one. It may be an operand, but must not overlap one otherwise.

        Returns
        -------
        array, or tuple of array if there are several results
        """
        axes = axis if isinstance(axis, tuple) else (axis,)
        results = engines.run(self, _plain(operands), axes, out)
        return results[0] if len(results) == 1 else results


class Rule(Formula):
    """The formula of an optimizer's update.

    ``update(param, grad, *slots, *numbers)`` gives the new values of param and slots.
    """

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self._is_elementwise: set[tuple[int, int]] = set()

    def call(
        self, xp: ModuleType, operands: Sequence[Any], axis: tuple[int, ...] | None
    ) -> tuple[Any, ...]:
        results = super().call(xp, operands, axis)
        return () if any(value is None for value in results) else results

    def check_results(self, results: Sequence[Any], count: int) -> None:
        if len(results) != count:
            raise TypeError(
                f"a rule's update must return (param, *slots), {count} in all, in this order; got "
                f"{f'{len(results)} of them' if results else 'nothing'}"
            )

    def check_elementwise(self, arrays: int, numbers: int) -> None:
        """Refuse a rule that looks at other elements than its own.

        Engines run it over the parameters in parts of their own, or over all of them as one.

        Raises
        ------
        NotElementwiseError
        """
        if (arrays, numbers) in self._is_elementwise:
            return
        try:
            self.trace(("B",) * arrays + ("",) * numbers, "B")
        except NotElementwiseError as error:
            raise NotElementwiseError(
                f"an update rule is computed for each element by itself, over all parameters at "
                f"once: {error}. A norm of each parameter can't be part of a rule"
            ) from None
        except UnsuitedFormulaError:  # functions that symbols lack; the engine 'plain' may do
            pass
        self._is_elementwise.add((arrays, numbers))


@functools.cache
def rule_of(function: Function) -> Rule:
    """The :class:`Rule` of an optimizer's `rule`, made once."""
    return Rule(function)


def _plain(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers of NumPy's as Python's, which have no dtype of their own; the first is an array."""
    for operand in operands:
        if isinstance(operand, np.generic):
            others = (o.item() if isinstance(o, np.generic) else o for o in operands[1:])
            return operands[0], *others
    return operands
