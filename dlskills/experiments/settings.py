"""The settings that all experiments share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from dlskills.arrays.random import resolve_seed
from dlskills.data.mnist import check_subset

Numbers: TypeAlias = dict[str, Any]
"""An experiment's results: numbers, strings, lists and dicts that JSON can hold."""


@dataclass(frozen=True)
class Settings:
    """Settings that all experiments share.

    Attributes
    ----------
    seed : int
        Of initial values and batches; None draws a fresh one.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    subset : str
        Part of MNIST: ``"sample"``, which is bundled, or ``"full"``.
    verbose : bool
        Whether to show progress.
    """

    seed: int = 0
    device: str = "cpu"
    subset: str = "sample"
    verbose: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", resolve_seed(self.seed))
        check_subset(self.subset)
