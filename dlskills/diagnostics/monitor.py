"""Looks into a network at intervals of its training, and leaves no trace there."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, namespace, to_host
from dlskills.checks import check_count
from dlskills.diagnostics import advice, figures
from dlskills.layers import Layer, ReLU, Sigmoid, Tanh
from dlskills.networks.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "activation_mean": "mean of a layer's output",
    "activation_std": "standard deviation of a layer's output",
    "gradient_mean": "mean of the loss's gradient by a layer's output",
    "gradient_std": "standard deviation of that gradient",
    "dead": "share of a ReLU layer's units that are 0 for the whole batch, of 8 samples or more",
    "saturated": "share of a sigmoid's or tanh's outputs where its slope is below a tenth of its "
    "largest",
    "update_ratio": "size of an update of a layer's weights over the size of the weights",
}
"""What is measured of each layer, in words."""

FEW = 8
"""Samples from which on a unit that is 0 for all of them is called dead: of one, half are."""

SAMPLE = 4000
"""Values of a layer's output that are kept for its histogram, about."""

# How far out a tenth of the largest slope is: y (1 - y) = 0.025, and 1 - y**2 = 0.1.
_SIGMOID_TAIL = (1 - math.sqrt(0.9)) / 2
_TANH_HEAD = math.sqrt(0.9)


class Monitor:
    """Records how activations, gradients and updates of each layer develop.

    Give it to a :class:`~dlskills.Trainer` as ``monitor=``, or call :meth:`observe` after each
    update of a loop of your own. Where an observation is due, after update 1, 1 + `every`,
    1 + 2 `every` and so on, a copy of the network, made for it, takes one pass forwards and
    backwards over the batch, and its numbers come to the host in one transfer, for which a GPU is
    waited for. The parameters as they were before an update to be observed are kept, which takes
    their memory once more; each `every`-th call copies them. All other calls only count. The
    network itself is not touched: training goes on bit by bit as without a monitor, with the same
    Dropout masks and the same running averages of Batch Norm. Networks that compute in half
    precision do so here, too, but are measured in single precision.

    Parameters
    ----------
    network : Sequential
    every : int, default 50
        Updates from one observation to the next.

    Attributes
    ----------
    layers : list of str
        What the layers are called, such as ``"layer 2 (ReLU)"``; the first is layer 1.
    steps : list of int
        The updates after which the network was observed.
    samples : dict of int to list of numpy.ndarray
        For the first and the last of `steps`, for each layer some of the numbers that it gave.

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
        """Count an update; where an observation is due, look at the network with this batch.

        Parameters
        ----------
        x, t : array
            The batch that the update was made with, on the network's device.
        """
        self._count += 1
        place = self._count % self.every
        if place == 1 or self.every == 1:
            self._look(x, t)
        if place == 0:  # the next update is to be measured
            with self.network.backend.active():
                self._before.flat[...] = self.network.params.flat

    def history(self, measure: str) -> np.ndarray[Any, Any]:
        """How one of :data:`MEASURES` went.

        Parameters
        ----------
        measure : str

        Returns
        -------
        numpy.ndarray, shape (observations, layers)
            NaN where a layer has no such number.
        """
        places = list(MEASURES)
        if measure not in places:
            raise ValueError(f"measure {measure!r} is not known; there are: {', '.join(places)}")
        rows = np.asarray(self._rows).reshape((len(self._rows), len(self.layers), len(places)))
        return rows[:, :, places.index(measure)]

    def warnings(self) -> list[str]:
        """What was wrong when last observed, and what to try; empty for a healthy network."""
        last = {measure: self.history(measure)[-1:] for measure in MEASURES}
        return advice.warnings(self.layers, last) if self.steps else []

    def plot(self) -> dict[str, Figure]:
        """``"histograms"`` of activations, first and last, and ``"curves"`` over the steps."""
        if not self.steps:
            raise ValueError("nothing was observed yet; call observe(x, t) after an update")
        return {"histograms": figures.histograms(self), "curves": figures.curves(self)}

    def _look(self, x: Array, t: Array) -> None:
        backend = self.network.backend
        with backend.active(), np.errstate(all="ignore"):  # what diverges shall be told of
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
    """The measures of each layer, one layer after the other, and samples of their outputs."""
    # a copy makes the pass: no mask is drawn and no running average moved in the network itself
    twin = copy.deepcopy(network)
    xp, cast, dtype = network.backend.xp, network._cast, network.params.dtype
    twin._refresh()  # its copy in half precision is of the last pass, which was before the update
    # float16 has no room for a sum over a batch, nor for the square of 256
    wide = xp.result_type(dtype, xp.float32)
    x = network._input(x)
    none = xp.sum(cast(x, wide)) * math.nan  # a NaN that is where the others are
    rows: list[dict[str, Array]] = [dict.fromkeys(MEASURES, none) for _ in network.layers]
    samples = []
    for layer, row in zip(twin.layers, rows, strict=True):
        x = layer.forward(x, True)
        y = cast(x, wide)
        row["activation_mean"], row["activation_std"] = xp.mean(y), xp.std(y)
        for kind, (measure, share) in _SHARES.items():
            if isinstance(layer, kind):
                row[measure] = share(y, xp)
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
    """The norm of the change over the norm of what was changed, from arrays after and before."""
    xp = namespace(weights[0][0])
    change = sum(xp.sum((after - before) ** 2) for after, before in weights)
    size = sum(xp.sum(before**2) for _, before in weights)
    return xp.sqrt(change / size)


def _dead(y: Array, xp: ModuleType) -> Array:
    if y.shape[0] < FEW:
        return xp.sum(y) * math.nan
    return _share(xp.all(y <= 0, axis=0), y, xp)


def _sigmoid_saturated(y: Array, xp: ModuleType) -> Array:
    return _share(xp.abs(y - 0.5) > 0.5 - _SIGMOID_TAIL, y, xp)


def _tanh_saturated(y: Array, xp: ModuleType) -> Array:
    return _share(xp.abs(y) > _TANH_HEAD, y, xp)


def _share(which: Array, y: Array, xp: ModuleType) -> Array:
    """The share of what is true; NaN where a number is, which no comparison notices."""
    share = xp.mean(xp.astype(which, y.dtype))
    return xp.where(xp.any(xp.isnan(y)), math.nan, share)


_SHARES: dict[type[Layer], tuple[str, Callable[[Array, ModuleType], Array]]] = {
    ReLU: ("dead", _dead),
    Sigmoid: ("saturated", _sigmoid_saturated),
    Tanh: ("saturated", _tanh_saturated),
}


def _sample(y: Array) -> Array:
    """Every so-manieth number, of all units alike."""
    size = math.prod(y.shape)
    step = max(-(-size // SAMPLE), 1)
    units = size // max(y.shape[0], 1)
    while step > 1 and math.gcd(step, units) > 1:  # else the same few units each time
        step += 1
    return namespace(y).reshape(y, (-1,))[::step]
