"""Detection of losses and parameters that are not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, backend_of, to_host
from dlskills.networks.sequential import Sequential
from dlskills.training.callbacks import Batch


class DivergedError(ArithmeticError):
    """The loss, or a parameter, is no longer a finite number."""


class DivergenceCheck:
    """Raises an error when a loss or a parameter is not finite.

    Parameters
    ----------
    network : Sequential
    optimizer : Optimizer
        Named in the error.
    """

    def __init__(self, network: Sequential, optimizer: Any) -> None:
        self._network, self._optimizer = network, optimizer
        self._checked = 0

    def losses(self, losses: Sequence[float], batch: Batch | None = None) -> None:
        """Raise an error for losses that are not finite, those checked before left out.

        Parameters
        ----------
        losses : sequence of float
            Of all steps so far.
        batch : tuple of array, optional
            The latest batch, to find the layer.

        Raises
        ------
        DivergedError
        """
        for step in range(self._checked, len(losses)):
            if not math.isfinite(losses[step]):
                self.loss(losses[step], step + 1, losses[max(step - 1, 0) : step], batch)
        self._checked = len(losses)

    def loss(self, loss: float, step: int, before: Sequence[float], batch: Batch | None) -> None:
        """Raise the error for a loss that is not finite; steps count from 1."""
        last = before[-1] if before else None
        where = "" if batch is None else first_not_finite(self._network, *batch)
        where = f"; the first values that are not finite are {where}" if where else ""
        self._stop(f"the loss is {loss} at step {step} (before it: {last}){where}")

    def parameters(self, step: int) -> None:
        """Raise an error for parameters that are not finite after the last update.

        Raises
        ------
        DivergedError
        """
        if not _finite(self._network.params.flat):
            self._stop(f"a parameter is not finite after step {step}")

    def _stop(self, what: str) -> None:
        scale = self._network.loss_scale
        smaller = "" if scale == 1 else f", a loss_scale smaller than {scale:g}"
        raise DivergedError(
            f"{what}, with {self._optimizer!r}. Try a smaller learning rate{smaller}, inputs of "
            "about 1 in size (pixels divided by 255), or initial values that suit the activation "
            "('he' for ReLU, 'xavier' for sigmoid and tanh). "
            "monitor=Monitor(network, every=1), of dlskills.diagnostics, shows where it begins"
        )


def first_not_finite(network: Sequential, x: Array, t: Array) -> str:
    """Return where a training pass first gives a value that is not finite.

    Parameters
    ----------
    network : Sequential
        Left as it is: a copy makes the pass.
    x, t : array
        A batch.

    Returns
    -------
    str
        Such as ``"the output of layers[3], ReLU()"``, ``"the loss"`` or ``"those of the parameter
        W2"``; empty if all values are finite.
    """
    with network.backend.active(), np.errstate(all="ignore"):
        for name, param in network.params.items():
            if not _finite(param):
                return f"those of the parameter {name}"
        twin = copy.deepcopy(network)
        signal = network.backend.xp.astype(x, network.compute_dtype)
        for i, layer in enumerate(twin.layers):
            signal = layer.forward(signal, True)
            if not _finite(signal):
                return f"the output of layers[{i}], {layer!r}"
        return "" if _finite(network.loss(x, t)) else "the loss"


def _finite(values: Array) -> bool:
    backend = backend_of(values)
    with backend.active():
        return bool(to_host(backend.xp.all(backend.xp.isfinite(values))))
