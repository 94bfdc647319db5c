"""Periodic measurements inside a network during training, without side effects."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.checks import check_choice, check_count
from dlskills.diagnostics import advice, figures
from dlskills.diagnostics.measures import MEASURES, measured
from dlskills.html_table import html_table
from dlskills.networks.sequential import Sequential
from dlskills.plotting import Figures
from dlskills.training.callbacks import Batch, Callback
from dlskills.training.loop import Loop

PERCENTILES = (5, 25, 50, 75, 95)
"""The percentiles of each layer's output that :meth:`Monitor.percentiles` returns."""


class Monitor(Callback):
    """Records activations, gradients and updates of each layer during training.

    It is a callback: pass it to a :class:`~dlskills.Trainer` as ``monitor=``, or among the
    ``callbacks`` of any training loop, or call :meth:`observe` after each update in your own. The
    monitor observes update 1, 1 + `every`, 1 + 2 `every` and so on; all other calls only count.
    With the first batch it also observes the network as it was before training, as step 0.

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
        The observed updates; 0 is the network before the first.
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
    [0, 1, 3, 5]
    >>> monitor.history("activation_std").shape
    (4, 3)
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
        self._percentiles: list[np.ndarray[Any, Any]] = []
        self._count = 0
        self._before = network.params.copy()

    def before_training(self, trainer: Loop) -> None:
        """Refuse to be a callback for another network.

        Raises
        ------
        ValueError
        """
        if trainer.network is not self.network:
            raise ValueError(
                "monitor must be of the network that is trained, got one of another network. "
                "Create it with Monitor(network)"
            )

    def after_step(self, trainer: Loop, batch: Batch) -> None:
        """Observe an update of a training loop."""
        self.observe(*batch[:2])

    def observe(self, x: Array, t: Array) -> None:
        """Count an update, and observe the network if an observation is due.

        Parameters
        ----------
        x, t : array
            Inputs and targets of the update's batch, on the network's device.
        """
        self._count += 1
        if self._count == 1:
            self._measure(0, self._before, None, x, t)
        position = self._count % self.every
        if position == 1 or self.every == 1:
            self._measure(self._count, self.network.params, self._before, x, t)
        if position == 0:  # the next update will be observed
            self._remember()

    def _remember(self) -> None:
        """Keep the present parameters, as those before the next update."""
        with self.network.backend.active():
            self._before.flat[...] = self.network.params.flat

    def _measure(self, step: int, params: Any, before: Any, x: Array, t: Array) -> None:
        backend = self.network.backend
        with backend.active(), np.errstate(all="ignore"):  # divergence is reported by warnings()
            numbers, samples = measured(self.network, params, before, x, t)
            xp = backend.xp
            values = to_host(xp.concat([xp.stack(numbers), *samples]))
        count = len(numbers)
        ends = np.cumsum([sample.shape[0] for sample in samples])
        self.steps.append(step)
        self._rows.append(values[:count].astype(np.float64))
        for old in [old for old in self.samples if old != self.steps[0]]:
            del self.samples[old]
        self.samples[step] = kept = np.split(values[count:], ends[:-1])
        with np.errstate(all="ignore"):
            self._percentiles.append(
                np.stack([np.percentile(sample.astype(np.float64), PERCENTILES) for sample in kept])
            )

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

    def percentiles(self) -> np.ndarray[Any, Any]:
        """Return percentiles of each layer's outputs in all observations.

        Returns
        -------
        numpy.ndarray, shape (observations, layers, 5)
            float64: the 5th, 25th, 50th, 75th and 95th percentile (:data:`PERCENTILES`) of a
            sample of about 4,000 outputs; NaN if any of them is NaN.
        """
        shape = len(self.steps), len(self.layers), len(PERCENTILES)
        return np.asarray(self._percentiles, np.float64).reshape(shape)

    def warnings(self) -> list[str]:
        """Return the problems in the last observation, with advice; empty for a healthy network."""
        last = {measure: self.history(measure)[-1:] for measure in MEASURES}
        return advice.warnings(self.layers, last) if self.steps else []

    def plot(self) -> Figures:
        """Plot the observations.

        Returns
        -------
        Figures
            A dict of figures, which notebooks show: ``"histograms"`` of the activations in the
            first and the last observation, their ``"percentiles"`` over the steps, and
            ``"curves"`` of the measures over the steps.

        Raises
        ------
        ValueError
            Nothing has been observed yet.
        """
        if not self.steps:
            raise ValueError("nothing has been observed yet. Call observe(x, t) after an update")
        return Figures(
            histograms=figures.histograms(self),
            percentiles=figures.percentiles(self),
            curves=figures.curves(self),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all observations and the count of updates."""
        return {
            "count": self._count,
            "steps": np.asarray(self.steps, np.int64),
            "rows": np.asarray(self._rows, np.float64),
            "percentiles": self.percentiles(),
            "samples": {
                str(step): {str(i): sample for i, sample in enumerate(samples)}
                for step, samples in self.samples.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`, once the network has the parameters of then."""
        self._count = check_count("count", state.get("count", 0), at_least=0)
        self.steps = [int(step) for step in state.get("steps", ())]
        self._rows = list(np.asarray(state.get("rows", ()), np.float64))
        self._percentiles = list(np.asarray(state.get("percentiles", ()), np.float64))
        self.samples = {
            int(step): [np.asarray(samples[str(i)]) for i in range(len(samples))]
            for step, samples in state.get("samples", {}).items()
        }
        self._remember()

    def __repr__(self) -> str:
        last = f"the last of step {self.steps[-1]}" if self.steps else "none yet"
        return (
            f"<Monitor of {len(self.layers)} layers, every={self.every}: "
            f"{len(self.steps)} observations, {last}>"
        )

    def _repr_html_(self) -> str:
        """Return the last observation as a table, followed by the warnings."""
        title = f"<p>{html.escape(repr(self).strip('<>'))}</p>"
        if not self.steps:
            return title
        numbers = np.stack([self.history(measure)[-1] for measure in MEASURES], axis=1)
        rows = (
            [layer, *("" if np.isnan(number) else f"{number:.3g}" for number in own)]
            for layer, own in zip(self.layers, numbers, strict=True)
        )
        table = html_table(["layer", *(name.replace("_", " ") for name in MEASURES)], rows)
        problems = "".join(f"<li>{html.escape(problem)}</li>" for problem in self.warnings())
        return f"{title}{table}<ul>{problems or '<li>no warnings</li>'}</ul>"
