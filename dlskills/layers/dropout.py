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
    """Sets units to 0 at random while training.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), "Dropout: a simple way to
    prevent neural networks from overfitting". Each forward pass in training draws a new mask,
    which is 0 with probability `dropout_ratio`. The two forms agree in expectation:

    ====================  ===================================  =======================
    ..                    training                             test
    ====================  ===================================  =======================
    the page's            ``x * mask``                         ``x * (1 - ratio)``
    ``inverted=True``     ``x * mask / (1 - ratio)``           ``x``
    ====================  ===================================  =======================

    (The page's text has the output multiplied by the *drop* ratio in a test; its code, and this
    one, multiply by the ratio that is kept.) They do not train alike: the page's form shrinks
    signal and gradient in every layer, and with them the effect of He's initial values.

    Parameters
    ----------
    dropout_ratio : float, default 0.5
        The share of units that is dropped, ``0 <= dropout_ratio < 1``.
    inverted : bool, default False
        Whether to scale while training, as most libraries do, in place of in a test.
    seed : int, optional
        Of the masks; a fresh one if not given. A network with a seed sets its own.
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
        """The share of units that is dropped; it may be set, for the next pass."""
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
