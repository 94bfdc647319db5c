"""What is measured: the work, and the numbers that every contender starts from.

A task says nothing about libraries. It hands out NumPy arrays that are the same in every process,
names in `kind` the function of a contender's module that does the work, and in `contenders` who
takes part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

BATCH = 128

Shapes = dict[str, tuple[int, ...]]
Result = dict[str, np.ndarray]


def sample(array: np.ndarray, count: int = 1000) -> np.ndarray:
    """Return up to `count` evenly spaced elements, including the first and the last."""
    flat = np.ravel(array)
    return flat[np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)]


@dataclass(frozen=True)
class TrainStep:
    """Gather a batch, loss, gradients, Adam: one step of the tutorial's comparison of optimizers.

    The network has four hidden layers of one width; with 100 it is the tutorial's. The indices of
    the batches are drawn beforehand, 128 of all samples with replacement for each step, as
    ``np.random.choice(train_size, 128)`` does on the page; looking up the samples is part of the
    step.
    """

    width: int
    contenders: tuple[str, ...]
    steps: int  # in a turn
    wake: int = 3  # untimed steps at the start of a turn: caches and thread pools are cold
    checked: int = 10  # steps after which the contenders' results are compared
    kind: ClassVar[str] = "train_step"
    group: ClassVar[str] = "train steps"

    @property
    def name(self) -> str:
        return f"train step, width {self.width}"

    def tolerance(self, what: str) -> float:
        return 0.02  # single precision, and PyTorch adds Adam's epsilon elsewhere

    @property
    def sizes(self) -> list[int]:
        return [784, *[self.width] * 4, 10]

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
            for name, shape in shapes_of_network(self.sizes).items()
        }


@dataclass(frozen=True)
class Update:
    """One update of parameters of given shapes by an optimizer; the gradients stay the same."""

    optimizer: str  # as dlskills.make_optimizer has it, with its defaults
    layout: str
    shapes: Shapes = field(repr=False)
    contenders: tuple[str, ...]
    steps: int
    wake: int = 3
    checked: int = 10
    kind: ClassVar[str] = "update"

    @property
    def name(self) -> str:
        return f"{self.optimizer}, {self.layout}"

    @property
    def group(self) -> str:
        return "updates by Adam" if self.optimizer == "Adam" else "updates by other optimizers"

    def tolerance(self, what: str) -> float:
        return 0.02  # rounding of the parameters, and PyTorch adds Adam's epsilon elsewhere

    def _values(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            name: np.resize(rng.standard_normal(min(math.prod(shape), 100_000), np.float32), shape)
            for name, shape in self.shapes.items()
        }

    def params(self) -> dict[str, np.ndarray]:
        return self._values(1)

    def grads(self) -> dict[str, np.ndarray]:
        return self._values(2)

    def result(self, params: Iterable[np.ndarray]) -> Result:
        """Return the change of the parameters, sampled from all arrays.

        The change, because a few steps move parameters by less than a thousandth of their size: a
        comparison of the parameters themselves would not notice a missing update.
        """
        each = max(1000 // len(self.shapes), 2)
        pairs = zip(params, self.params().values(), strict=True)
        changes = [sample(after, each) - sample(before, each) for after, before in pairs]
        return {"change of the parameters": np.concatenate(changes)}


@dataclass(frozen=True)
class LayerPass:
    """A batch through a layer, forward or forward and backward, in float32."""

    layer: str
    width: int
    backward: bool
    contenders: tuple[str, ...] = ("dlskills", "torch-fused")
    wake: int = 3
    checked: int = 1
    kind: ClassVar[str] = "layer"
    group: ClassVar[str] = "layers"

    @property
    def name(self) -> str:
        direction = "forward and backward" if self.backward else "forward"
        return f"{self.layer}, width {self.width}, {direction}"

    def tolerance(self, what: str) -> float:
        return 0.05 if what.startswith("fraction") else 1e-4

    @property
    def steps(self) -> int:
        return 100 if self.width < 1000 else 20

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The input, and the gradient by the output."""
        rng = np.random.default_rng(3)
        x, dout = rng.standard_normal((2, BATCH, self.width), dtype=np.float32)
        return x, dout

    def labels(self) -> np.ndarray:
        return np.random.default_rng(4).integers(self.width, size=BATCH)

    def result(self, work: Callable[[], list[np.ndarray]]) -> Result:
        """Run a pass and return what is compared of it.

        Parameters
        ----------
        work : callable
            Runs a pass; returns the output and, after a backward pass, the gradients of the input
            and of the parameters, in this order.
        """
        if self.layer == "Dropout":
            return self._of_masks(work(), work())
        names = ["output", "gradient of the input", *(f"gradient of {p}" for p in self.params())]
        return {name: sample(array) for name, array in zip(names, work(), strict=False)}

    def _of_masks(self, first: list[np.ndarray], second: list[np.ndarray]) -> Result:
        """Return what is the same for all masks, from two passes.

        Each pass must draw a new mask, scale what it keeps and, if there is a backward pass, use
        the same mask for the gradient.
        """
        x, dout = self.arrays()
        kept = second[0] != 0
        result = {
            "fraction kept": np.mean(kept),
            "fraction kept in two passes": np.mean(kept & (first[0] != 0)),
            "scale of the output": (second[0] / x)[kept][:1000],
        }
        if self.backward:
            result["scale of the gradient"] = (second[1] / dout)[kept][:1000]
            result["zero gradients where the output is zero"] = np.mean(second[1][~kept] == 0)
        return result

    def params(self) -> dict[str, np.ndarray]:
        """Of those layers that have some, under dlskills' names."""
        rng = np.random.default_rng(5)
        draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
        if self.layer == "Affine":
            scale = np.float32(self.width**-0.5)
            return {"W": scale * draw(self.width, self.width), "b": draw(self.width)}
        if self.layer == "BatchNormalization":
            return {"gamma": draw(self.width), "beta": draw(self.width)}
        return {}


def shapes_of_network(sizes: list[int]) -> Shapes:
    shapes: Shapes = {}
    for i, (rows, columns) in enumerate(itertools.pairwise(sizes), start=1):
        shapes |= {f"W{i}": (rows, columns), f"b{i}": (columns,)}
    return shapes


def _equal(count: int, size: int) -> Shapes:
    return {f"W{i}": (size,) for i in range(1, count + 1)}


Task = TrainStep | Update | LayerPass

ADAM = (
    "dlskills", "dlskills-dict", "dlskills-blocked", "dlskills-plain",
    "torch-default", "torch-foreach", "torch-fused", "optax", "book", "memory-floor",
)  # fmt: skip
TRAIN = ("dlskills", "torch-fused", "torch-compile", "optax", "blas-floor")

# Everyone's other optimizers, beside the quickest form that torch has of them; of AdaGrad it has
# a fused one for the CPU alone.
FUSED, FOREACH = ("torch-fused",), ("torch-foreach",)
OTHERS: dict[str, tuple[str, ...]] = {
    "SGD": FUSED, "Momentum": FUSED, "Nesterov": FUSED, "AdaGrad": FUSED + FOREACH,
    "RMSprop": FOREACH, "AdaDelta": FOREACH, "AdamW": FUSED, "AMSGrad": FUSED, "NAdam": FOREACH,
    "Lion": (),
}  # fmt: skip
LAYERS = (
    "Affine", "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU", "BatchNormalization", "Dropout",
    "SoftmaxWithLoss",
)  # fmt: skip
TEN_MILLION = {"shapes": _equal(1, 10_000_000), "steps": 3, "wake": 1, "checked": 3}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Update("Adam", "1 x 10M", contenders=ADAM, **TEN_MILLION),
        Update("Adam", "100 x 10k", _equal(100, 10_000), ADAM, steps=10),
        Update("Adam", "1,000 x 1,000", _equal(1000, 1000), ADAM, steps=10),
        Update("Adam", "network", shapes_of_network([784, 100, 100, 100, 100, 10]), ADAM, 50),
        TrainStep(100, (*TRAIN, "book", "book-decay"), steps=50),
        TrainStep(1024, TRAIN, steps=3, wake=2),
        *(
            Update(name, "1 x 10M", contenders=contenders, **TEN_MILLION)
            for name, peers in OTHERS.items()
            for contenders in [("dlskills", *peers, "memory-floor")]
        ),
        *(
            LayerPass(layer, width, backward)
            for layer in LAYERS
            for width in (100, 1024)
            for backward in (False, True)
        ),
    )
}


@dataclass(frozen=True)
class Bar:
    """A contender's time on a task is to be at most so many times another's."""

    task: str
    contender: str
    at_most: float
    other: str


BARS = (
    Bar("Adam, 1 x 10M", "dlskills", 1.10, "memory-floor"),
    Bar("Adam, 1 x 10M", "dlskills", 1.05, "torch-fused"),
    Bar("Adam, 1 x 10M", "dlskills", 0.20, "torch-default"),
    Bar("Adam, 1,000 x 1,000", "dlskills", 0.05, "torch-fused"),
    Bar("Adam, 100 x 10k", "dlskills", 0.25, "torch-fused"),
    *(Bar(f"{name}, 1 x 10M", "dlskills", 1.15, "memory-floor") for name in OTHERS),
    Bar("Adam, 1 x 10M", "dlskills-blocked", 0.55, "book"),
    Bar("train step, width 100", "dlskills", 0.60, "torch-fused"),
    Bar("train step, width 100", "dlskills", 0.75, "optax"),
    Bar("train step, width 100", "dlskills", 1.50, "blas-floor"),
    Bar("train step, width 1024", "dlskills", 0.90, "torch-fused"),
    Bar("train step, width 1024", "dlskills", 1.20, "blas-floor"),
)
