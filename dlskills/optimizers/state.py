"""The state of an optimizer, and the parameters it belongs to."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlskills.arrays.backend import backend_of, namespace, sum_dtype, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.optimizers.arguments import is_mutable, is_number, shape_of

Slots = dict[str, Any]
"""The values of each slot by parameter name: Parameters, or a dict of arrays or numbers."""


class State:
    """The slots of an optimizer, and the parameters they belong to.

    Parameters
    ----------
    names : tuple of str
        Names of the slots.
    params : mapping of str to array or number
        Each slot starts as zeros of their shapes and dtypes. Half-precision parameters have
        float32 slots, as their updates are computed in float32.
    """

    def __init__(self, names: tuple[str, ...], params: Mapping[str, Any]) -> None:
        self.slots: Slots = {name: _zeros_like(params) for name in names}
        self._remember(params)

    @classmethod
    def loaded(cls, slots: Mapping[str, Mapping[str, Any]]) -> State:
        """Return a state with these values, to be adopted by the first parameters that fit."""
        state = cls.__new__(cls)
        state.slots = {
            name: {key: _host_copy(value) for key, value in values.items()}
            for name, values in slots.items()
        }
        state._shapes, *others = [
            {key: shape_of(value) for key, value in values.items()}
            for values in state.slots.values()
        ]
        if any(shapes != state._shapes for shapes in others):
            raise ValueError(f"the slots {', '.join(state.slots)} differ in names or shapes")
        state._forget()
        return state

    def on_host(self) -> dict[str, dict[str, Any]]:
        """Return copies of all values as NumPy arrays and numbers."""
        return {
            slot: values.on_host()
            if isinstance(values, Parameters)
            else {key: _host_copy(value) for key, value in values.items()}
            for slot, values in self.slots.items()
        }

    def _remember(self, params: Mapping[str, Any]) -> None:
        self._shapes = {key: shape_of(param) for key, param in params.items()}
        # weak references: an optimizer must not keep a network alive
        self._is_bound = isinstance(params, Parameters)
        self._mapping = weakref.ref(params) if isinstance(params, Parameters) else None
        self._arrays = {
            key: weakref.ref(param) for key, param in params.items() if is_mutable(param)
        }
        # Numbers are replaced at each update and have no identity; the mapping stands for them.
        self._numbers: Mapping[str, Any] | None = None if self._arrays else params

    def _forget(self) -> None:
        """Belong to no parameters yet; the next ones of these shapes are adopted."""
        self._mapping, self._arrays, self._is_bound, self._numbers = None, {}, False, None

    def belongs_to(self, params: Mapping[str, Any]) -> bool:
        if self._mapping is not None and self._mapping() is params:
            return True
        if {key: shape_of(param) for key, param in params.items()} != self._shapes:
            return False
        known = {key: ref() for key, ref in self._arrays.items()}
        if any(params[key] is array for key, array in known.items()):
            return True
        # None of the arrays is known: this is another run, as in a loop over folds, even if the
        # arrays of the previous run no longer exist.
        if self._is_bound or self._arrays:
            return False
        if self._numbers is not None and not _same_values(self._numbers, params):
            return False  # the same numbers may be in a new mapping
        self._move_to(params)
        self._remember(params)
        return True

    def shares_with(self, params: Mapping[str, Any]) -> bool:
        """Return whether some of its parameters are among these, perhaps beside others."""
        if self._numbers is params:
            return True
        return any(
            key in params and ref() is params[key] is not None for key, ref in self._arrays.items()
        )

    def add(self, names: tuple[str, ...], params: Mapping[str, Any]) -> None:
        """Add those of these slots that are missing, as zeros."""
        for name in names:
            if name not in self.slots:
                self.slots[name] = _zeros_like(params)

    def lacks(self, params: Mapping[str, Any]) -> list[str]:
        """Return the names of parameters added since the state was created."""
        shapes = {key: shape_of(param) for key, param in params.items()}
        same = all(shapes.get(key) == shape for key, shape in self._shapes.items())
        return [key for key in shapes if key not in self._shapes] if same else []

    def _move_to(self, params: Mapping[str, Any]) -> None:
        """Move the slots to the device and layout of these parameters."""
        for name, values in self.slots.items():
            if isinstance(params, Parameters):
                zeros = params.zeros_like(_dtype_for(params.flat))
                if not zeros.pairs_with(values):
                    self.slots[name] = zeros
                    for key, value in values.items():
                        zeros[key] = zeros.backend.asarray(value, zeros.dtype)
            else:
                for key, param in params.items():
                    if is_number(param):
                        if isinstance(values[key], np.ndarray):  # as a file gives numbers back
                            values[key] = values[key][()]
                    else:
                        values[key] = backend_of(param).asarray(values[key], _dtype_for(param))

    def __getstate__(self) -> dict[str, Any]:
        # on the host, so that arrays of a GPU open without one; _move_to takes them back
        slots = {
            slot: values
            if isinstance(values, Parameters)
            else {key: v if is_number(v) else to_host(v) for key, v in values.items()}
            for slot, values in self.slots.items()
        }
        return {"slots": slots, "shapes": self._shapes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.slots, self._shapes = state["slots"], state["shapes"]
        self._forget()


def _same_values(known: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Return whether two mappings hold the same immutable arrays and equal numbers."""
    return known is params or all(
        value is params[key]
        or (is_number(value) and is_number(params[key]) and value == params[key])
        for key, value in known.items()
    )


def _host_copy(value: Any) -> Any:
    return value if is_number(value) else to_host(value).copy(order="K")


def _zeros_like(params: Mapping[str, Any]) -> Any:
    if isinstance(params, Parameters):
        return params.zeros_like(_dtype_for(params.flat))
    return {key: 0.0 if is_number(param) else _zeros_beside(param) for key, param in params.items()}


def _zeros_beside(param: Any) -> Any:
    with backend_of(param).active():
        return namespace(param).zeros_like(param, dtype=_dtype_for(param))


def _dtype_for(param: Any) -> Any:
    """Return the dtype of a parameter's slots."""
    return sum_dtype(namespace(param), param.dtype)
