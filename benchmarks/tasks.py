"""What is measured: the work, and the numbers that every contender starts from.

A task says nothing about libraries. It hands out NumPy arrays that are the same in every process,
and names in `kind` the function of a contender's module that does the work.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

SIZES = [784, 100, 100, 100, 100, 10]  # the tutorial's network: 110,610 parameters
BATCH = 128


def shapes_of_network() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (rows, columns) in enumerate(itertools.pairwise(SIZES), start=1):
        shapes |= {f"W{i}": (rows, columns), f"b{i}": (columns,)}
    return shapes


@dataclass(frozen=True)
class TrainStep:
    """Gather a batch, loss, gradients, Adam: one step of the tutorial's comparison of optimizers.

    The indices of the batches are drawn beforehand, 128 of all samples with replacement for each
    step, as ``np.random.choice(train_size, 128)`` does on the page; looking up the samples is
    part of the step.
    """

    name: str = "train step"
    bars: dict[str, float] = field(default_factory=lambda: {"torch-fused": 1.0, "book": 0.35})
    steps: int = 50  # in a turn
    kind: ClassVar[str] = "train_step"
    tolerance: ClassVar[float] = 0.02  # of the loss: single precision, and where epsilon stands

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            from dlskills.data import load_mnist

            return load_mnist(subset="sample")[0]
        except ImportError:
            rng = np.random.default_rng(0)
            return rng.random((10000, 784), dtype=np.float32), rng.integers(10, size=10000)

    def batches(self) -> np.ndarray:
        """The indices of 1,000 batches, to be gone through again and again."""
        return np.random.default_rng(1).integers(10000, size=(1000, BATCH))

    def weights(self) -> dict[str, np.ndarray]:
        """He's initial weights, float64."""
        rng = np.random.default_rng(2)
        return {
            name: np.sqrt(2 / shape[0]) * rng.standard_normal(shape)
            if name.startswith("W")
            else np.zeros(shape)
            for name, shape in shapes_of_network().items()
        }


@dataclass(frozen=True)
class Update:
    """One update by Adam of parameters of given shapes; the gradients stay the same."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    bars: dict[str, float] = field(default_factory=dict)
    steps: int = 50
    kind: ClassVar[str] = "update"
    tolerance: ClassVar[float] = 1e-3

    def _values(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            name: rng.standard_normal(shape, dtype=np.float32)
            for name, shape in self.shapes.items()
        }

    def params(self) -> dict[str, np.ndarray]:
        return self._values(1)

    def grads(self) -> dict[str, np.ndarray]:
        return self._values(2)


def _equal(count: int, size: int) -> dict[str, tuple[int, ...]]:
    return {f"W{i}": (size,) for i in range(1, count + 1)}


Task = TrainStep | Update

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        TrainStep(),
        Update("adam 1 x 10M", _equal(1, 10_000_000), steps=3),
        Update("adam 100 x 10k", _equal(100, 10_000), steps=10),
        Update("adam 1000 x 1k", _equal(1000, 1000), steps=10),
        Update("adam network", shapes_of_network(), steps=50),
    )
}
