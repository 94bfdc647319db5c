"""Training that has left the finite numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dlskills.arrays.backend import to_host
from dlskills.networks.sequential import Sequential


class DivergedError(ArithmeticError):
    """The loss, or a parameter, is no longer a finite number."""


class DivergenceCheck:
    """Stops training where a loss or a parameter is not finite.

    Parameters
    ----------
    network : Sequential
    optimizer : Optimizer
        Named in the error.
    """

    def __init__(self, network: Sequential, optimizer: Any) -> None:
        self._network, self._optimizer = network, optimizer
        self._checked = 0

    def losses(self, losses: Sequence[float]) -> None:
        """Refuse losses that are not finite; those of earlier calls are known to be.

        Raises
        ------
        DivergedError
        """
        for step in range(self._checked, len(losses)):
            if not math.isfinite(losses[step]):
                before = losses[step - 1] if step else None
                self._stop(f"the loss is {losses[step]} at step {step + 1} (before it: {before})")
        self._checked = len(losses)

    def parameters(self, step: int) -> None:
        """Refuse parameters that are not finite, as the last update may have left them.

        Raises
        ------
        DivergedError
        """
        backend = self._network.backend
        with backend.active():
            finite = backend.xp.all(backend.xp.isfinite(self._network.params.flat))
        if not to_host(finite):
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
