"""What a monitor measures of each layer, in one pass of a copy of the network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Array, DType, namespace
from dlskills.layers import Layer, ReLU, Sigmoid, Tanh
from dlskills.networks.sequential import Sequential

MEASURES = {
    "activation_mean": "mean of a layer's output",
    "activation_std": "standard deviation of a layer's output",
    "gradient_mean": "mean of the gradient of the loss with respect to a layer's output",
    "gradient_std": "standard deviation of that gradient",
    "weight_gradient_std": "standard deviation of the gradient of the loss with respect to a "
    "layer's weights, without weight decay",
    "dead": "fraction of a ReLU layer's units that are 0 for a whole batch of at least 8 samples",
    "saturated": "fraction of a sigmoid's or tanh's outputs where the slope is below a tenth of "
    "its maximum",
    "update_ratio": "norm of an update of a layer's weights divided by the norm of the weights",
}
"""The measures of each layer, with descriptions."""

FEW = 8
"""Minimum batch size for dead-unit detection: for one sample, half of the units are 0."""

SAMPLE = 4000
"""Approximate number of output values kept per layer for its histogram and percentiles."""

# Outputs where the slope is a tenth of its maximum: y (1 - y) = 0.025, and 1 - y**2 = 0.1.
_SIGMOID_TAIL = (1 - math.sqrt(0.9)) / 2
_TANH_HEAD = math.sqrt(0.9)


def measured(
    network: Sequential, params: Mapping[str, Array], before: Any, x: Array, t: Array
) -> tuple[list[Array], list[Array]]:
    """Return the measures of all layers, layer by layer, and samples of their outputs.

    Parameters
    ----------
    network : Sequential
        Not changed: the pass runs on a copy, since it draws masks and updates running averages.
    params : mapping of str to array
        The parameters to measure with.
    before : mapping of str to array, or None
        The parameters before the update; None if there was no update yet.
    x, t : array

    Returns
    -------
    numbers : list of array, shape ()
        On the network's device, in float32 or wider.
    samples : list of array, shape (n,)
    """
    twin = copy.deepcopy(network)
    twin.params = params
    xp, dtype = network.backend.xp, network.params.dtype
    # In float16, the sum over a batch and the square of 256 overflow.
    wide = xp.result_type(dtype, xp.float32)
    none = xp.sum(_cast(x, wide)) * math.nan  # NaN on the device of the other measures
    rows: list[dict[str, Array]] = [dict.fromkeys(MEASURES, none) for _ in network.layers]
    samples = []
    for y, layer, row in zip(twin.outputs(x, True), twin.layers, rows, strict=True):
        last = y
        y = _cast(y, wide)
        row["activation_mean"], row["activation_std"] = xp.mean(y), xp.std(y)
        for kind, (measure, fraction) in _FRACTIONS.items():
            if isinstance(layer, kind):
                row[measure] = fraction(y, xp)
        samples.append(_sample(y))
    twin.loss_layer.forward(_cast(last, dtype), t)
    _measure_gradients(twin, rows, wide)
    for names, row in zip(network.parameter_names, rows, strict=True):
        weights = [name for name in names.values() if params[name].ndim > 1]
        if weights and before is not None:
            arrays = [(_cast(params[n], wide), _cast(before[n], wide)) for n in weights]
            row["update_ratio"] = _update_ratio(arrays)
    return [row[measure] for row in rows for measure in MEASURES], samples


def _measure_gradients(twin: Sequential, rows: list[dict[str, Array]], wide: DType) -> None:
    """Run the backward pass and add the measures of the gradients to `rows`."""
    xp, scale = twin.backend.xp, twin.loss_scale
    dout = _cast(twin.loss_layer.backward(scale), twin.compute_dtype)
    first = next((i for i, layer in enumerate(twin.layers) if layer.params), len(twin.layers))
    for i in range(len(rows) - 1, first - 1, -1):
        gradient = _cast(dout, wide)
        rows[i]["gradient_mean"] = xp.mean(gradient) / scale
        rows[i]["gradient_std"] = xp.std(gradient) / scale
        dout = twin.layers[i].backward(dout)
        own = [grad for grad in twin.layers[i].grads.values() if grad.ndim > 1]
        if own:
            flat = xp.concat([xp.reshape(_cast(grad, wide), (-1,)) for grad in own])
            rows[i]["weight_gradient_std"] = xp.std(flat) / scale


def _cast(array: Array, dtype: DType) -> Array:
    return namespace(array).astype(array, dtype, copy=False)


def _update_ratio(weights: Sequence[tuple[Array, Array]]) -> Array:
    """Return the norm of the change divided by the norm before it, given pairs (after, before)."""
    xp = namespace(weights[0][0])
    change = sum(xp.sum((after - before) ** 2) for after, before in weights)
    size = sum(xp.sum(before**2) for _, before in weights)
    return xp.sqrt(change / size)


def _dead(y: Array, xp: ModuleType) -> Array:
    if y.shape[0] < FEW:
        return xp.sum(y) * math.nan
    return _fraction(xp.all(y <= 0, axis=0), y, xp)


def _sigmoid_saturated(y: Array, xp: ModuleType) -> Array:
    return _fraction(xp.abs(y - 0.5) > 0.5 - _SIGMOID_TAIL, y, xp)


def _tanh_saturated(y: Array, xp: ModuleType) -> Array:
    return _fraction(xp.abs(y) > _TANH_HEAD, y, xp)


def _fraction(which: Array, y: Array, xp: ModuleType) -> Array:
    """Return the fraction of true elements; NaN if `y` has a NaN, which comparisons would hide."""
    fraction = xp.mean(xp.astype(which, y.dtype))
    return xp.where(xp.any(xp.isnan(y)), math.nan, fraction)


_FRACTIONS: dict[type[Layer], tuple[str, Callable[[Array, ModuleType], Array]]] = {
    ReLU: ("dead", _dead),
    Sigmoid: ("saturated", _sigmoid_saturated),
    Tanh: ("saturated", _tanh_saturated),
}


def _sample(y: Array) -> Array:
    """Return every n-th value, with n chosen so that all units are sampled evenly."""
    size = math.prod(y.shape)
    step = max(-(-size // SAMPLE), 1)
    units = size // max(y.shape[0], 1)
    while step > 1 and math.gcd(step, units) > 1:  # otherwise only some units would be sampled
        step += 1
    return namespace(y).reshape(y, (-1,))[::step]
