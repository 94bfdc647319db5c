"""The structure of a network: parameter names, shapes, and the summary table."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

from dlskills.layers import Layer, Loss


def check_layers(layers: Any) -> list[Layer]:
    """Return the layers as a list; refuse anything else, and layers of another network."""
    if not isinstance(layers, Sequence) or not layers or isinstance(layers, str):
        raise TypeError(f"layers must be a list of at least one layer, got {layers!r}")
    for i, layer in enumerate(layers):
        if isinstance(layer, Loss):
            raise TypeError(f"layers[{i}] is a loss, {layer!r}; give it to the network as loss=...")
        if not isinstance(layer, Layer):
            hint = f"; did you mean {layer.__name__}()?" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{i}] must be a layer, got {layer!r}{hint}")
        if "params" in vars(layer) or any(layer is other for other in layers[:i]):
            raise ValueError(
                f"layers[{i}], {layer!r}, belongs to a network already; make a new layer"
            )
    return list(layers)


def parameter_names(layers: Sequence[Layer]) -> list[dict[str, str]]:
    """Map each layer's parameter names to those of the network: W -> W1, W2, ..."""
    seen: collections.Counter[str] = collections.Counter()
    names = []
    for layer in layers:
        own = list(layer.declare())
        seen.update(own)
        names.append({name: f"{name}{seen[name]}" for name in own})
    counted = collections.Counter(name for full in names for name in full.values())
    if repeated := [name for name, count in counted.items() if count > 1]:
        raise ValueError(
            f"two parameters of the network would be called {repeated[0]!r}; declare names without "
            "digits at the end"
        )
    return names


def check_shapes(layers: Sequence[Layer]) -> list[tuple[int, ...] | None]:
    """Return the shape of a sample before the first layer and after each; None means any."""
    first = next((i for i, layer in enumerate(layers) if layer.input_shape is not None), 0)
    shape = layers[first].input_shape
    # Layers before the first one of known size must keep that size. If they can't, they take
    # images, which that layer flattens: then only the number of elements is known.
    if shape is not None and not all(_takes(layer, shape) for layer in layers[:first]):
        shape = None
    shapes = [shape]
    for i, layer in enumerate(layers):
        if shape is None:
            shape = layer.input_shape
        if shape is not None:
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"layers[{i}] does not fit: {error}") from None
        shapes.append(shape)
    return shapes


def _takes(layer: Layer, shape: tuple[int, ...]) -> bool:
    try:
        return layer.output_shape(shape) == shape
    except ValueError:
        return False
