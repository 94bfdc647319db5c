"""Dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from dlskills.arrays.backend import Array
from dlskills.arrays.random import MaskStream, resolve_seed
from dlskills.checks import check_number, known_keywords
from dlskills.formulas import elementwise
from dlskills.layers.base import Layer, saved


class Dropout(Layer):
    """Dropout: sets randomly chosen units to 0 during training.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), "Dropout: a simple way to
    prevent neural networks from overfitting". Each forward pass in training draws a new mask,
    whose elements are 0 with probability `dropout_ratio`. The two forms agree in expectation:

    ====================  ===================================  =======================
    ..                    training                             inference
    ====================  ===================================  =======================
    tutorial              ``x * mask``                         ``x * (1 - ratio)``
    ``inverted=True``     ``x * mask / (1 - ratio)``           ``x``
    ====================  ===================================  =======================

    (The tutorial's text multiplies the output by the *drop* ratio at inference; its code and this
    class multiply by the keep ratio.) The two forms do not train alike: the tutorial's form shrinks
    the signal and the gradient in every layer, which counteracts He initialization.

    Parameters
    ----------
    dropout_ratio : float, default 0.5
        Fraction of units to drop, ``0 <= dropout_ratio < 1``.
    inverted : bool, default False
        Whether to scale during training, as most libraries do, instead of at inference.
    seed : int, optional
        Seed of the masks. By default, the network's seed is used, or a fresh one outside of a
        network.
    """

    @known_keywords({"p": "dropout_ratio=...", "rate": "dropout_ratio=..."})
    def __init__(
        self, dropout_ratio: float = 0.5, *, inverted: bool = False, seed: int | None = None
    ) -> None:
        self.dropout_ratio = dropout_ratio
        self.inverted = inverted
        self._seed = seed
        self._masks = MaskStream(resolve_seed(seed), "dropout")

    @property
    def dropout_ratio(self) -> float:
        """Fraction of units to drop. It can be changed between passes."""
        return self._dropout_ratio

    @dropout_ratio.setter
    def dropout_ratio(self, dropout_ratio: float) -> None:
        self._dropout_ratio = check_number("dropout_ratio", dropout_ratio, at_least=0, below=1)

    def seed(self, seed: int, name: str) -> None:
        if self._seed is None:
            self._masks = MaskStream(seed, "dropout", name)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        kept = 1.0 - self.dropout_ratio
        if not train_flg or self.dropout_ratio == 0:
            self._saved = None, 1.0 if self.inverted else kept
            return x * self._saved[1]
        mask = self._masks.draw(x, self.dropout_ratio)
        self._saved = mask, 1 / kept if self.inverted else 1.0
        return _masked(x, *self._saved)

    def backward(self, dout: Array) -> Array:
        mask, factor = saved(self)
        return dout * factor if mask is None else _masked(dout, mask, factor)

    def get_state(self) -> dict[str, Any]:
        return self._masks.position

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._masks.position = state

    def settings(self) -> dict[str, Any]:
        return {
            "dropout_ratio": self.dropout_ratio, "inverted": self.inverted, "seed": self._seed
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Dropout({self.dropout_ratio:g}{', inverted=True' if self.inverted else ''})"


@elementwise
def _masked(xp: ModuleType) -> Callable[..., Array]:
    return lambda x, mask, factor: x * mask * factor
