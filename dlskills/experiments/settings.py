"""What every experiment is told, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from dlskills.arrays.random import resolve_seed
from dlskills.data.mnist import check_subset

Numbers: TypeAlias = dict[str, Any]
"""An experiment's outcome, in plain Python numbers, strings, lists and dicts."""

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""


@dataclass(frozen=True)
class Settings:
    """What every experiment may be told.

    Attributes
    ----------
    seed : int
        Of initial values and batches; a fresh one if made with None.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    subset : str
        Of MNIST: ``"sample"``, bundled, or ``"full"``.
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
