"""The state of a network: its parameters, and what its layers keep from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlskills.arrays.backend import namespace, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.layers import Layer

State = dict[str, Any]


def state_of(params: Parameters, layers: Sequence[Layer], on_host: bool) -> State:
    """Return copies of the parameters, and the state of each layer under prefixed names."""
    state: State = dict(params.on_host() if on_host else params.copy())
    for i, layer in enumerate(layers):
        for own, value in layer.get_state().items():
            state[layer_name(i, own)] = _copied(value, on_host)
    return state


def layer_name(i: int, own: str) -> str:
    """Return the name in the network's state of an entry of the i-th layer's state."""
    return f"layers.{i}.{own}"


def _copied(value: Any, on_host: bool) -> Any:
    if not hasattr(value, "shape"):
        return value
    if on_host:
        return np.array(to_host(value))
    xp = namespace(value)
    return xp.asarray(value, copy=True)


def check_state(state: Any, params: Parameters, layers: Sequence[Layer]) -> None:
    """Refuse a state that does not fit the network.

    Raises
    ------
    TypeError
        It is not a mapping.
    ValueError
        Names are missing or unexpected, or an entry is not an array of the expected shape.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"a network's state is a mapping, got a {type(state).__name__}")
    shapes: dict[str, tuple[int, ...] | None] = dict(params.shapes)
    for i, layer in enumerate(layers):
        for own, value in layer.get_state().items():
            shape = tuple(value.shape) if hasattr(value, "shape") else None
            shapes[layer_name(i, own)] = shape
    faults = []
    if missing := [name for name in shapes if name not in state]:
        faults.append(f"it lacks {_listed(missing)}")
    if unexpected := [name for name in state if name not in shapes]:
        faults.append(f"it has {_listed(unexpected)}, which the network lacks")
    for name, shape in shapes.items():
        if name in state and shape is not None:
            value = state[name]
            if not hasattr(value, "shape"):
                faults.append(f"{name!r} must be an array, got a {type(value).__name__}")
            elif tuple(value.shape) != shape:
                faults.append(f"{name!r} has shape {tuple(value.shape)}, expected {shape}")
    if faults:
        raise ValueError(f"the state does not fit the network: {'; '.join(faults[:8])}")


def load(state: Mapping[str, Any], params: Parameters, layers: Sequence[Layer]) -> None:
    """Load a state that :func:`check_state` let pass; on an error, everything is as before."""
    staged = params.zeros_like()
    for name in staged:
        staged[name] = params.backend.asarray(state[name], params.dtype)
    before = [layer.get_state() for layer in layers]
    try:
        for i, (layer, own) in enumerate(zip(layers, before, strict=True)):
            if own:
                layer.set_state({name: state[layer_name(i, name)] for name in own})
        params.flat = staged.flat
    except BaseException:
        for layer, own in zip(layers, before, strict=True):
            layer.set_state(own)
        raise


def _listed(names: list[Any]) -> str:
    shown = ", ".join(map(repr, names[:6]))
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
