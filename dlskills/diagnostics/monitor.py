"""Periodic measurements inside a network during training, without side effects."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.checks import check_choice, check_count
from dlskills.diagnostics import advice, figures
from dlskills.layers import Layer, ReLU, Sigmoid, Tanh
from dlskills.networks.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "activation_mean": "mean of a layer's output",
    "activation_std": "standard deviation of a layer's output",
    "gradient_mean": "mean of the gradient of the loss with respect to a layer's output",
    "gradient_std": "standard deviation of that gradient",
    "dead": "fraction of a ReLU layer's units that are 0 for a whole batch of at least 8 samples",
    "saturated": "fraction of a sigmoid's or tanh's outputs where the slope is below a tenth of "
    "its maximum",
    "update_ratio": "norm of an update of a layer's weights divided by the norm of the weights",
}
"""The measures of each layer, with descriptions."""

FEW = 8
"""Minimum batch size for dead-unit detection: for one sample, half of the units are 0."""

SAMPLE = 4000
"""Approximate number of output values kept per layer for its histogram."""

# Outputs where the slope is a tenth of its maximum: y (1 - y) = 0.025, and 1 - y**2 = 0.1.
_SIGMOID_TAIL = (1 - math.sqrt(0.9)) / 2
_TANH_HEAD = math.sqrt(0.9)


class Monitor:
    """Records activations, gradients and updates of each layer during training.

    Pass it to a :class:`~dlskills.Trainer` as ``monitor=``, or call :meth:`observe` after each
    update in your own training loop. The monitor observes update 1, 1 + `every`, 1 + 2 `every`
    and so on; all other calls only count.

    Each observation runs one forward and backward pass of a copy of the network over the batch,
    and moves the results to the host in a single transfer, which synchronizes a GPU. The monitor
    also keeps a copy of the parameters from before the observed update, in as much memory as the
    parameters, refreshed in every `every`-th call. The network itself is not changed: training
    stays bit-identical, with the same Dropout masks and running averages of Batch Norm. A network
    that computes in half precision does so here too, but is measured in float32.

    Parameters
    ----------
    network : Sequential
    every : int, default 50
        Number of updates between observations.

    Attributes
    ----------
    layers : list of str
        Names of the layers, such as ``"layer 2 (ReLU)"``; the first is layer 1.
    steps : list of int
        The observed updates.
    samples : dict of int to list of numpy.ndarray
        For the first and the last of `steps`, a sample of the outputs of each layer.

    Examples
    --------
    >>> import numpy as np
    >>> from dlskills import SGD, MultiLayerNet
    >>> from dlskills.diagnostics import Monitor
    >>> network, optimizer = MultiLayerNet(4, [8], 2, seed=0), SGD()
    >>> x, t = np.ones((3, 4), dtype="float32"), np.asarray([0, 1, 1])
    >>> monitor = Monitor(network, every=2)
    >>> for _ in range(5):
    ...     optimizer.update(network.params, network.gradient(x, t))
    ...     monitor.observe(x, t)
    >>> monitor.steps
    [1, 3, 5]
    >>> monitor.history("activation_std").shape
    (3, 3)
    """

    def __init__(self, network: Sequential, every: int = 50) -> None:
        self.network = network
        self.every = check_count("every", every)
        self.layers = [
            f"layer {number} ({type(layer).__name__})"
            for number, layer in enumerate(network.layers, 1)
        ]
        self.steps: list[int] = []
        self.samples: dict[int, list[np.ndarray[Any, Any]]] = {}
        self._rows: list[np.ndarray[Any, Any]] = []
        self._count = 0
        self._before = network.params.copy()

    def observe(self, x: Array, t: Array) -> None:
        """Count an update, and observe the network if an observation is due.

        Parameters
        ----------
        x, t : array
            Inputs and targets of the update's batch, on the network's device.
        """
        self._count += 1
        position = self._count % self.every
        if position == 1 or self.every == 1:
            self._measure_now(x, t)
        if position == 0:  # the next update will be observed
            with self.network.backend.active():
                self._before.flat[...] = self.network.params.flat

    def history(self, measure: str) -> np.ndarray[Any, Any]:
        """Return the values of one measure in all observations.

        Parameters
        ----------
        measure : str
            One of :data:`MEASURES`.

        Returns
        -------
        numpy.ndarray, shape (observations, layers)
            float64; NaN where the measure does not apply to a layer.

        Raises
        ------
        ValueError
            The measure is unknown.
        """
        names = list(MEASURES)
        measure = check_choice("measure", measure, names)
        rows = np.asarray(self._rows).reshape((len(self._rows), len(self.layers), len(names)))
        return rows[:, :, names.index(measure)]

    def warnings(self) -> list[str]:
        """Return the problems in the last observation, with advice; empty for a healthy network."""
        last = {measure: self.history(measure)[-1:] for measure in MEASURES}
        return advice.warnings(self.layers, last) if self.steps else []

    def plot(self) -> dict[str, Figure]:
        """Plot the observations.

        Returns
        -------
        dict of str to matplotlib.figure.Figure
            ``"histograms"`` of the activations in the first and the last observation, and
            ``"curves"`` of the measures over the steps.

        Raises
        ------
        ValueError
            Nothing has been observed yet.
        """
        if not self.steps:
            raise ValueError("nothing has been observed yet. Call observe(x, t) after an update")
        return {"histograms": figures.histograms(self), "curves": figures.curves(self)}

    def _measure_now(self, x: Array, t: Array) -> None:
        backend = self.network.backend
        with backend.active(), np.errstate(all="ignore"):  # divergence is reported by warnings()
            numbers, samples = _measure(self.network, self._before, x, t)
            xp = backend.xp
            values = to_host(xp.concat([xp.stack(numbers), *samples]))
        count = len(numbers)
        ends = np.cumsum([sample.shape[0] for sample in samples])
        self.steps.append(self._count)
        self._rows.append(values[:count].astype(np.float64))
        for step in [step for step in self.samples if step != self.steps[0]]:
            del self.samples[step]
        self.samples[self._count] = np.split(values[count:], ends[:-1])


def _measure(network: Sequential, before: Any, x: Array, t: Array) -> tuple[list[Array], ...]:
    """Return the measures of all layers, layer by layer, and samples of their outputs."""
    # The pass runs on a copy: the network must neither draw masks nor update running averages.
    twin = copy.deepcopy(network)
    xp, cast, dtype = network.backend.xp, network._cast, network.params.dtype
    twin._refresh()  # its half-precision copy of the parameters is from before the update
    # In float16, the sum over a batch and the square of 256 overflow.
    wide = xp.result_type(dtype, xp.float32)
    x = network._input(x)
    none = xp.sum(cast(x, wide)) * math.nan  # NaN on the device of the other measures
    rows: list[dict[str, Array]] = [dict.fromkeys(MEASURES, none) for _ in network.layers]
    samples = []
    for layer, row in zip(twin.layers, rows, strict=True):
        x = layer.forward(x, True)
        y = cast(x, wide)
        row["activation_mean"], row["activation_std"] = xp.mean(y), xp.std(y)
        for kind, (measure, fraction) in _FRACTIONS.items():
            if isinstance(layer, kind):
                row[measure] = fraction(y, xp)
        samples.append(_sample(y))
    twin.loss_layer.forward(cast(x, dtype), t)
    scale = network.loss_scale
    dout = cast(twin.loss_layer.backward(scale), network.compute_dtype)
    first = next((i for i, layer in enumerate(twin.layers) if layer.params), len(twin.layers))
    for i in range(len(rows) - 1, first - 1, -1):
        gradient = cast(dout, wide)
        rows[i]["gradient_mean"] = xp.mean(gradient) / scale
        rows[i]["gradient_std"] = xp.std(gradient) / scale
        if i > first:
            dout = twin.layers[i].backward(dout)
    for names, row in zip(network._names, rows, strict=True):
        weights = [name for name in names.values() if network.params[name].ndim > 1]
        if weights:
            arrays = [(cast(network.params[n], wide), cast(before[n], wide)) for n in weights]
            row["update_ratio"] = _update_ratio(arrays)
    return [row[measure] for row in rows for measure in MEASURES], samples


def _update_ratio(weights: list[tuple[Array, Array]]) -> Array:
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
