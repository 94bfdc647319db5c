"""The tasks: the work that is measured, and the numbers that every contender starts from.

A task knows nothing about libraries. It provides NumPy arrays that are the same in every process;
`kind` names the function in a contender's module that does the work, and `contenders` lists who
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
DROPOUT = 0.2  # ratio in the train step with Batch Norm and Dropout

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
    the batches are drawn beforehand, 128 samples with replacement per step, like
    ``np.random.choice(train_size, 128)`` in the tutorial; gathering the samples is part of the
    step. With `masked`, each hidden layer is Affine, Batch Norm, ReLU, Dropout.
    """

    width: int
    contenders: tuple[str, ...]
    steps: int  # in a turn
    wake: int = 3  # untimed steps at the start of a turn, when caches and thread pools are cold
    checked: int = 10  # steps before the contenders' results are compared
    masked: bool = False
    kind: ClassVar[str] = "train_step"
    group: ClassVar[str] = "train steps"

    @property
    def name(self) -> str:
        extra = " with Batch Norm and Dropout" if self.masked else ""
        return f"train step{extra}, width {self.width}"

    def tolerance(self, what: str) -> float:
        # 0.02: single precision, and PyTorch adds Adam's epsilon in another position
        return MASKED.get(what, 0.02)

    def masked_result(
        self, unmasked: float, losses: list[float], evaluated: float, scores: list[np.ndarray]
    ) -> Result:
        """Return the values of a step with Dropout that are compared, named as in MASKED.

        Parameters
        ----------
        unmasked : float
            Loss of the first batch at the initial weights, without Dropout, with Batch Norm in
            training mode.
        losses : list of float
            Training losses of the steps after the checked ones.
        evaluated : float
            Loss of the first 1,000 images after these steps, in evaluation mode.
        scores : list of two arrays
            Scores of the first batch from two forward passes in training mode.
        """
        first, second = scores
        change = np.sqrt(np.mean((first - second) ** 2) / np.mean(first**2))
        values = unmasked, np.median(losses), evaluated, change
        return dict(zip(MASKED, values, strict=True))

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
        """Return the indices of 1,000 batches, which contenders use in turn."""
        return np.random.default_rng(1).integers(10000, size=(1000, BATCH))

    def weights(self) -> dict[str, np.ndarray]:
        """Return He's initial weights in float64."""
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

    optimizer: str  # a name for dlskills.make_optimizer, which is used with its defaults
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
        return 0.02  # rounding of the parameters, and the position of Adam's epsilon in PyTorch

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
        pairs = zip(params, self.params().values(), strict=True)
        return self._of([self._sampled(after) - self._sampled(before) for after, before in pairs])

    def reference(self) -> Result | None:
        """Return the right result for an optimizer that no other contender has; None for others."""
        if self.optimizer != "Lion":
            return None
        # the gradients are constant, so the momentum has their signs, and each step has the size lr
        size = 1e-4 * self.checked
        return self._of([-size * np.sign(self._sampled(grad)) for grad in self.grads().values()])

    def _sampled(self, array: np.ndarray) -> np.ndarray:
        return sample(array, max(1000 // len(self.shapes), 2))

    @staticmethod
    def _of(changes: list[np.ndarray]) -> Result:
        return {"change of the parameters": np.concatenate(changes)}


# Layers made with a size, and their parameters.
NORMALIZATIONS = {
    "BatchNormalization": ("gamma", "beta"),
    "LayerNormalization": ("gamma", "beta"),
    "RMSNormalization": ("gamma",),
}


@dataclass(frozen=True)
class LayerPass:
    """A batch through a layer in float32: forward, or forward and backward."""

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
        return f"{self.layer}, {self.variant}"

    @property
    def variant(self) -> str:
        direction = "forward and backward" if self.backward else "forward"
        return f"width {self.width}, {direction}"

    def tolerance(self, what: str) -> float:
        # fractions of random masks of width 100 differ by 2 %, one standard deviation
        return 0.1 if what.startswith("fraction") else 1e-4

    @property
    def steps(self) -> int:
        return 100 if self.width < 1000 else 20

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the input and the gradient with respect to the output."""
        rng = np.random.default_rng(3)
        x, dout = rng.standard_normal((2, BATCH, self.width), dtype=np.float32)
        return x, dout

    def labels(self) -> np.ndarray:
        return np.random.default_rng(4).integers(self.width, size=BATCH)

    def result(self, work: Callable[[], list[np.ndarray]]) -> Result:
        """Run a pass and return the values that are compared.

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
        """Return values that do not depend on the masks, from two passes.

        Each pass must draw a new mask, scale the values it keeps and, if there is a backward pass,
        use the same mask for the gradient.
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
        """Return the layer's parameters, if any, under dlskills' names."""
        rng = np.random.default_rng(5)
        draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
        if self.layer == "Affine":
            scale = np.float32(self.width**-0.5)
            return {"W": scale * draw(self.width, self.width), "b": draw(self.width)}
        return {name: draw(self.width) for name in NORMALIZATIONS.get(self.layer, ())}


# Dropout's masks differ between contenders, which changes the losses. These values are compared
# instead, each within a tolerance well above its standard deviation over masks (3 %, 2 % and 3 %
# for the last three). Batch Norm in evaluation mode, missing or constant masks and another ratio
# exceed the tolerances (test_comparison.py).
MASKED = {
    "loss of the first batch without Dropout": 1e-3,
    "median of 20 training losses": 0.1,
    "loss in evaluation mode": 0.1,
    "change of the scores from mask to mask": 0.15,
}


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
ADAM_FLAT = ("dlskills", "torch-fused", "numba-loop", "memory-floor")
TRAIN = ("dlskills", "torch-fused", "torch-compile", "optax", "blas-floor")

# The other optimizers, next to PyTorch's fastest form of each.
FUSED, FOREACH = ("torch-fused",), ("torch-foreach",)
OTHERS: dict[str, tuple[str, ...]] = {
    "SGD": FUSED, "Momentum": FUSED, "Nesterov": FUSED, "AdaGrad": FUSED + FOREACH,
    "RMSprop": FOREACH, "AdaDelta": FOREACH, "AdamW": FUSED, "AMSGrad": FUSED, "NAdam": FOREACH,
    "Lion": (),
}  # fmt: skip
CPU_ONLY = {("AdaGrad, 1 x 10M", "torch-fused")}
"""Tasks with contenders that can't run them on a GPU."""
LAYERS: tuple[str, ...] = (
    "Affine", "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU", "BatchNormalization", "Dropout",
    "SoftmaxWithLoss",
    "LayerNormalization", "RMSNormalization",
)  # fmt: skip
WIDTHS = (100, 1024)
TEN_MILLION = {"shapes": _equal(1, 10_000_000), "steps": 3, "wake": 1, "checked": 3}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Update("Adam", "1 x 100k", _equal(1, 100_000), ADAM_FLAT, steps=100),
        Update("Adam", "1 x 1M", _equal(1, 1_000_000), ADAM_FLAT, steps=20),
        Update("Adam", "1 x 10M", contenders=(*ADAM, "numba-loop"), **TEN_MILLION),
        Update("Adam", "100 x 10k", _equal(100, 10_000), ADAM, steps=10),
        Update("Adam", "1,000 x 1,000", _equal(1000, 1000), ADAM, steps=10),
        Update("Adam", "network", shapes_of_network([784, 100, 100, 100, 100, 10]), ADAM, 50),
        TrainStep(100, (*TRAIN, "book", "book-decay"), steps=50),
        TrainStep(100, ("dlskills", "torch-fused"), steps=50, checked=30, masked=True),
        TrainStep(1024, TRAIN, steps=3, wake=2),
        *(
            Update(name, "1 x 10M", contenders=contenders, **TEN_MILLION)
            for name, peers in OTHERS.items()
            for contenders in [("dlskills", *peers, "memory-floor")]
        ),
        *(
            LayerPass(layer, width, backward)
            for layer in LAYERS
            for width in WIDTHS
            for backward in (False, True)
        ),
    )
}


@dataclass(frozen=True)
class Bar:
    """The longest time that a contender may take on a task, as a multiple of another's."""

    task: str
    contender: str
    at_most: float
    other: str
    vendor: str | None = None  # of the processors that the bar applies to; None for all


# Keys: with a backward pass, width.
LAYER_BARS = {(True, 100): 1.0, (True, 1024): 1.0, (False, 100): 1.5, (False, 1024): 2.0}
SLOWER_LAYERS = {"Sigmoid, width 1024, forward and backward": 1.25}

BARS = (
    *(Bar(f"Adam, 1 x {size}", "dlskills", 1.06, "numba-loop") for size in ("100k", "1M", "10M")),
    Bar("Adam, 1 x 10M", "dlskills", 1.10, "memory-floor"),
    Bar("Adam, 1 x 10M", "dlskills", 1.05, "torch-fused"),
    Bar("Adam, 1 x 10M", "dlskills", 0.20, "torch-default"),
    Bar("Adam, 1 x 10M", "dlskills-blocked", 0.55, "book"),
    Bar("Adam, 1,000 x 1,000", "dlskills-dict", 0.30, "torch-fused"),
    *(Bar(f"{name}, 1 x 10M", "dlskills", 1.15, "memory-floor") for name in OTHERS),
    Bar("train step, width 100", "dlskills", 0.75, "torch-fused", vendor="Intel"),
    Bar("train step, width 100", "dlskills", 0.60, "torch-fused", vendor="AMD"),
    Bar("train step with Batch Norm and Dropout, width 100", "dlskills", 0.60, "torch-fused"),
    Bar("train step, width 1024", "dlskills", 1.30, "blas-floor"),
    *(
        Bar(task.name, "dlskills", SLOWER_LAYERS.get(task.name, at_most), "torch-fused")
        for task in TASKS.values()
        if isinstance(task, LayerPass)
        for at_most in [LAYER_BARS[task.backward, task.width]]
    ),
)
