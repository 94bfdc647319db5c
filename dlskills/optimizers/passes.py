"""Execution plans of an update: tables of arrays, reused from step to step.

A plan is valid for the arrays it was made for. It holds no reference to parameters or gradients,
since an optimizer must not keep a network alive, but recognizes arrays by their ids. Python may
reuse the id of a dead array, so a plan becomes invalid as soon as one of its arrays dies.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array, Backend, backend_of, namespace, sum_dtype
from dlskills.arrays.parameters import Parameters
from dlskills.formulas import engines
from dlskills.formulas.formula import Rule
from dlskills.formulas.table import FlatTable, Table
from dlskills.optimizers.arguments import check_gradient, is_mutable
from dlskills.optimizers.overlap import in_disjoint_parts

Groups: TypeAlias = Sequence[int | None] | None
"""For each parameter the index of its group, None if it is frozen; or None for a single group."""

Tables: TypeAlias = Sequence[tuple[Backend, Table]]

Numbers: TypeAlias = Sequence[tuple[Any, ...]]
"""The coefficients of each group."""

Slots: TypeAlias = Sequence[Any]
"""The values of each slot: Parameters, or a dict."""


def plan_of(params: Any, grads: Any, slots: Slots, groups: Groups) -> PairedPlan | NamedPlan:
    """Return a plan for updating these parameters."""
    if isinstance(params, Parameters) and params.pairs_with(grads):
        return PairedPlan(params, grads, slots, groups)
    return NamedPlan(params, grads, slots, groups)


class PairedPlan:
    """A plan for two :class:`Parameters` of equal layout: runs of adjacent entries."""

    def __init__(self, params: Parameters, grads: Parameters, slots: Slots, groups: Groups) -> None:
        self._groups = groups
        self._pair = pair = [weakref.ref(params), weakref.ref(grads)]
        runs = params.runs(groups)

        def flats() -> list[Array]:  # without a reference cycle through this plan
            of_pair: list[Array] = [entries().flat for entries in pair]  # type: ignore[union-attr]
            return of_pair + [slot.flat for slot in slots]

        with params.backend.active():
            table = FlatTable(flats, runs) if runs else None
        self._tables: Tables = [] if table is None else [(params.backend, table)]

    def arrays(self, params: Any, grads: Any, groups: Groups) -> Any:
        """Return the argument of :meth:`run` for these mappings; None if the plan does not fit."""
        known = self._pair[0]()
        if known is None or known is not params or self._groups != groups:
            return None
        if self._pair[1]() is not grads:
            if not known.pairs_with(grads):
                return None
            self._pair[1] = weakref.ref(grads)
            with known.backend.active():
                for _, table in self._tables:
                    table.renew_gradients()
        return grads

    def first(self, params: Any, grads: Any) -> Any:
        """Return the argument of :meth:`run` for the mappings that the plan was made for."""
        return grads

    def gradients(self, arrays: Any) -> Any:
        """Return the gradients of parameters that are not frozen, as a mapping."""
        if self._groups is None or None not in self._groups:
            return arrays
        pairs = zip(arrays.items(), self._groups, strict=True)
        return {name: grad for (name, grad), group in pairs if group is not None}

    def run(self, arrays: Any, rule: Rule, numbers: Numbers) -> None:
        """Apply a rule to all arrays."""
        _run(self._tables, rule, numbers)


class NamedPlan:
    """A plan for mappings of arrays and numbers: one table per device and dtype."""

    def __init__(
        self, params: Mapping[str, Any], grads: Mapping[str, Any], slots: Slots, groups: Groups
    ) -> None:
        self._groups, self._names = groups, list(params)
        given = [0] * len(self._names) if groups is None else groups
        pairs = zip(self._names, given, strict=True)
        self._keys, of_key = _columns([(k, group) for k, group in pairs if group is not None])
        values = [params[key] for key in self._keys]
        own_grads = [grads[key] for key in self._keys]
        in_place = [i for i, value in enumerate(values) if is_mutable(value)]
        # Numbers and immutable arrays are replaced at each update and have no lasting identity.
        self._replaced = sorted(set(range(len(values))) - set(in_place))
        self._slots, self._of_key = slots, of_key
        # Filled only while an update or this method runs; the tables' rows read from it.
        self._now: list[list[Any]] = [values, own_grads]
        self._of_slots = [[slot[key] for key in self._keys] for slot in slots]
        self._tables = self._gathered(in_place)
        self._now.clear()
        if not self._replaced:
            self._ids, self._died, self._refs = _watched(values)
            # A NumPy gradient of this shape and dtype needs no further check.
            self._alike = [(v.shape, v.dtype) if type(v) is np.ndarray else None for v in values]
            self._watch_gradients(own_grads)

    def _gathered(self, positions: list[int]) -> Tables:
        values, grads = self._now
        kinds: dict[Any, list[int]] = {}
        for i in positions:
            backend = backend_of(values[i])
            kinds.setdefault((str(backend), values[i].dtype), []).append(i)
        return [
            (backend_of(values[part[0]]), self._table(part))
            for of_kind in kinds.values()
            for part in in_disjoint_parts(of_kind, values, grads)
        ]

    def _table(self, positions: list[int]) -> Table:
        now = self._now  # avoids a reference cycle through this plan
        own_slots = [[slot[i] for i in positions] for slot in self._of_slots]
        are_all = positions == list(range(len(self._keys)))

        def rows() -> list[tuple[Array, ...]]:
            of_mappings = now if are_all else [[column[i] for i in positions] for column in now]
            return list(zip(*of_mappings, *own_slots, strict=True))

        return Table(rows, [self._of_key[i] for i in positions])

    def _watch_gradients(self, grads: list[Any]) -> None:
        self._grad_ids, self._grad_died, self._grad_refs = _watched(grads)

    def arrays(self, params: Any, grads: Any, groups: Groups) -> Any:
        """Return the argument of :meth:`run` for these mappings; None if the plan does not fit."""
        if self._replaced or self._died or self._groups != groups:
            return None
        if not isinstance(grads, Mapping) or list(params) != self._names:
            return None
        values = [params[key] for key in self._keys]
        if list(map(id, values)) != self._ids:
            return None
        try:
            own_grads = [grads[key] for key in self._keys]
        except KeyError:
            return None
        same = list(map(id, own_grads)) == self._grad_ids and not self._grad_died
        if not same and not self._renewed(values, own_grads):
            return None
        return values, own_grads, params

    def _renewed(self, values: list[Any], grads: list[Any]) -> bool:
        """Put new gradients into the tables; return False if a new plan is needed."""
        known = set(self._ids)
        for key, value, alike, grad in zip(self._keys, values, self._alike, grads, strict=True):
            if type(grad) is not np.ndarray or (grad.shape, grad.dtype) != alike:
                check_gradient(key, value, grad)
            # The gradient may overlap a parameter: see in_disjoint_parts.
            if id(grad) in known or getattr(grad, "base", None) is not None:
                return False
        self._now[:] = values, grads
        try:
            for _, table in self._tables:
                table.renew_gradients()
        finally:
            self._now.clear()
        self._watch_gradients(grads)
        return True

    def gradients(self, arrays: Any) -> Any:
        """Return the gradients of parameters that are not frozen, as a mapping."""
        return dict(zip(self._keys, arrays[1], strict=True))

    def first(self, params: Any, grads: Any) -> Any:
        """Return the argument of :meth:`run` for the mappings that the plan was made for."""
        values, own_grads = ([of[key] for key in self._keys] for of in (params, grads))
        return values, own_grads, params

    def run(self, arrays: Any, rule: Rule, numbers: Numbers) -> None:
        """Apply a rule to all arrays."""
        values, grads, params = arrays
        self._now[:] = values, grads
        try:
            _run(self._tables, rule, numbers)
        finally:
            self._now.clear()
        for i in self._replaced:
            self._replace(i, params, grads[i], rule, numbers)

    def _replace(
        self, i: int, params: MutableMapping[str, Any], grad: Any, rule: Rule, numbers: Numbers
    ) -> None:
        key = self._keys[i]
        old = [params[key], grad, *(slot[key] for slot in self._slots)]
        params[key], *new = evaluate(rule, old, numbers[self._of_key[i]])
        for slot, value in zip(self._slots, new, strict=True):
            slot[key] = value


def evaluate(rule: Rule, values: Sequence[Any], coefficients: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a rule to values that can't be changed in place.

    Parameters
    ----------
    rule : Rule
    values : sequence
        ``[param, grad, *slots]``: Python or NumPy scalars, or immutable arrays such as JAX's.
    coefficients : sequence of float

    Returns
    -------
    tuple
        The new ``(param, *slots)``.
    """
    are_numbers = isinstance(values[0], int | float)
    if are_numbers:
        # NumPy scalars follow IEEE 754 (1 / 0 is inf), Python floats raise.
        values = [np.float64(value) for value in values]
    results = rule.call(namespace(values[0]), [*values, *coefficients], None)
    rule.check_results(results, len(values) - 1)
    return tuple(map(float, results)) if are_numbers else results


def _run(tables: Tables, rule: Rule, numbers: Numbers) -> None:
    if len(tables) > 1:
        for _, table in tables:
            engines.choose(table)  # raise errors before any parameter has changed
    for backend, table in tables:
        with backend.active():
            table.rule, table.numbers = rule, _as_computed(numbers, table)
            engines.update(table)


def _as_computed(numbers: Numbers, table: Table) -> Numbers:
    """Cast a clipping factor that is an array to the dtype in which the table computes."""
    factor = numbers[0][-1] if numbers[0] else None
    if not hasattr(factor, "shape"):
        return numbers
    xp = namespace(factor)
    factor = xp.astype(factor, sum_dtype(xp, table.dtype), copy=False)
    return [(*row[:-1], factor) for row in numbers]


def _watched(arrays: list[Any]) -> tuple[list[int], list[Any], list[Any]]:
    """Return the arrays' ids, a list that becomes non-empty when one dies, and the weak references.

    The references must be kept, as their callbacks fill the list.
    """
    died: list[Any] = []
    return list(map(id, arrays)), died, [weakref.ref(array, died.append) for array in arrays]


def _columns(pairs: list[tuple[str, int]]) -> tuple[list[str], list[int]]:
    return [name for name, _ in pairs], [group for _, group in pairs]
