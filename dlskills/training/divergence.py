"""Detection of losses and parameters that are not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array
from dlskills.networks.sequential import Sequential
from dlskills.training.callbacks import Batch
from dlskills.training.device_numbers import DeviceNumbers
from dlskills.training.finite import all_finite


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

    def losses(self, losses: DeviceNumbers, batch: Batch | None = None) -> None:
        """Raise an error for losses that are not finite, those checked before left out.

        Parameters
        ----------
        losses : DeviceNumbers
            Of all steps so far.
        batch : tuple of array, optional
            The latest batch, to find the layer.

        Raises
        ------
        DivergedError
        """
        for step, loss in enumerate(losses.read(self._checked), self._checked + 1):
            if not math.isfinite(loss):
                self.loss(loss, step, losses.read()[: step - 1], batch)
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
        if not all_finite(self._network.params.flat):
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


def first_not_finite(network: Sequential, x: Array, t: Array, weights: Array | None = None) -> str:
    """Return where a training pass first gives a value that is not finite.

    Parameters
    ----------
    network : Sequential
        Left as it is: a copy makes the pass.
    x, t, weights : array
        A batch.

    Returns
    -------
    str
        Such as ``"the output of layers[3], ReLU()"``, ``"the loss"`` or ``"those of the parameter
        W2"``; empty if all values are finite.
    """
    with network.backend.active(), np.errstate(all="ignore"):
        for name, param in network.params.items():
            if not all_finite(param):
                return f"those of the parameter {name}"
        signal = network.backend.xp.astype(x, network.compute_dtype)
        i = first_layer_not_finite(copy.deepcopy(network), signal)
        if i is not None:
            return f"the output of layers[{i}], {network.layers[i]!r}"
        weighted = {} if weights is None else {"weights": weights}
        return "" if all_finite(network.loss(x, t, **weighted)) else "the loss"


def first_layer_not_finite(network: Sequential, x: Array) -> int | None:
    """Return the index of the first layer whose output in training is not finite; None if all are.

    Parameters
    ----------
    network : Sequential
        Its layers make the pass, so that masks are drawn and running averages change.
    x : array
        Inputs, in the dtype that the network computes in.
    """
    for i, layer in enumerate(network.layers):
        x = layer.forward(x, True)
        if not all_finite(x):
            return i
    return None
