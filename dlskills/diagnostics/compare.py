"""Step-by-step comparison of the same training on two devices, dtypes or engines."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count, check_number
from dlskills.data import load_mnist
from dlskills.layers import Layer
from dlskills.networks import MultiLayerNetExtend
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import Optimizer, engine, make_optimizer
from dlskills.training.callbacks import Batch, Callback
from dlskills.training.loop import Loop

Tensors: TypeAlias = dict[str, np.ndarray[Any, Any]]
"""The tensors of one step by name, in the order of computation."""


@dataclass(frozen=True)
class Way:
    """How training is computed.

    Attributes
    ----------
    device : str, default "cpu"
    dtype : str, default "float32"
    engine : str, optional
        Engine of the updates; by default chosen by the arrays.
    """

    device: str = "cpu"
    dtype: str = "float32"
    engine: str | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.device, self.dtype, self.engine)))


@dataclass(frozen=True)
class Difference:
    """The difference of two tensors that should be equal.

    Attributes
    ----------
    step : int
        Training step, counted from 1.
    tensor : str
        Name of the tensor.
    ulp : float
        The largest elementwise difference, in units in the last place of `largest` in the less
        precise of the two dtypes. (Relative to each element itself, it would be large wherever a
        sum cancels to nearly 0.) Infinite if an element is not finite in one tensor and different
        in the other; NaN equals NaN, and infinity equals infinity of the same sign.
    largest : float
        The largest finite absolute value of the tensor. For gradients and for parameters, the
        largest of all of them at this step, since the gradient of a bias before Batch Norm
        consists of rounding errors only.
    """

    step: int
    tensor: str
    ulp: float
    largest: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.tensor}: {self.ulp:.3g} ulp of the largest value, "
            f"{self.largest:.3g}"
        )


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes
    ----------
    first : Difference or None
        The first difference above the tolerance, where the comparison ended; None if there is
        none.
    largest : Difference
        The largest difference.
    steps : int
        Number of steps compared.
    """

    first: Difference | None
    largest: Difference
    steps: int


def compare(
    left: Way,
    right: Way,
    *,
    steps: int = 50,
    tolerance: float = 1024,
    optimizer: str = "SGD",
    use_batchnorm: bool = False,
    dropout_ratio: float = 0.0,
    activation: str = "relu",
    seed: int = 0,
    subset: str = "sample",
    on_step: Callable[[], None] = lambda: None,
) -> Comparison:
    """Train the tutorial's 5-layer network in two ways and compare every tensor of every step.

    Both runs use the same initial weights, batches of 100 digits, and Dropout masks. The tensors
    are compared in the order of computation: the output of each layer, the loss, the gradients,
    and the parameters after the update.

    Parameters
    ----------
    left, right : Way
    steps : int, default 50
    tolerance : float, default 1024
        In ulp. Rounding errors accumulate: in float32, a different order of summation causes
        dozens of ulp in 50 steps, and more with Batch Norm or an adaptive optimizer.
    optimizer : str, default "SGD"
    use_batchnorm : bool, default False
    dropout_ratio : float, default 0
    activation : str, default "relu"
        ReLU turns rounding into a large difference when an input is so close to 0 that its sign
        differs between the runs. A smooth activation, such as ``"tanh"``, does not.
    seed : int, default 0
    subset : str, default "sample"
        Part of MNIST.
    on_step : callable, optional
        Called after each step, for example to show progress.

    Returns
    -------
    Comparison
    """
    check_count("steps", steps)
    check_number("tolerance", tolerance, at_least=0)
    (x, t), _ = load_mnist(subset=subset)
    batches = stream(seed, "batches").integers(x.shape[0], size=(steps, 100))
    sides = []
    for way in (left, right):
        network = MultiLayerNetExtend(
            784, [100] * 4, 10, activation=activation, use_batchnorm=use_batchnorm,
            use_dropout=dropout_ratio > 0, dropout_ratio=dropout_ratio,
            seed=seed, device=way.device, dtype=way.dtype,
        )  # fmt: skip
        sides.append(_training(network, make_optimizer(optimizer), way.engine, x, t, batches))
    epsilon = max(np.finfo(way.dtype).eps for way in (left, right))
    largest = Difference(1, "nothing", 0.0, 0.0)
    for step, (ours, theirs) in enumerate(zip(*sides, strict=True), 1):
        scales = _scales(ours, theirs)
        for name, values in ours.items():
            found = _difference(step, name, values, theirs[name], scales[name], float(epsilon))
            largest = max(largest, found, key=lambda difference: difference.ulp)
            if found.ulp > tolerance:
                return Comparison(found, largest, step)
        on_step()
    return Comparison(None, largest, steps)


def _training(
    network: Sequential,
    optimizer: Optimizer,
    forced: str | None,
    x: np.ndarray[Any, Any],
    t: np.ndarray[Any, Any],
    batches: np.ndarray[Any, Any],
) -> Iterator[Tensors]:
    """Yield all tensors of each step as host arrays."""
    asarray = network.backend.asarray
    collector = _Collector(network)
    loop = Loop(network, _Forced(optimizer, forced), callbacks=[collector])
    for rows in batches:
        loop.train_on(asarray(x[rows]), asarray(t[rows]))
        yield collector.tensors


class _Forced:
    """An optimizer whose updates run on one engine."""

    def __init__(self, optimizer: Optimizer, forced: str | None) -> None:
        self._optimizer, self._forced = optimizer, forced

    def update(self, params: Any, grads: Any) -> None:
        with engine(self._forced) if self._forced else contextlib.nullcontext():
            self._optimizer.update(params, grads)


class _Collector(Callback):
    """Keeps all tensors of the latest step, in the order of computation, on the host."""

    def __init__(self, network: Sequential) -> None:
        self.tensors: Tensors = {}
        self._outputs: dict[str, Array] = {}
        for i, layer in enumerate(network.layers):
            name = f"the output of layers[{i}], {layer!r}"
            layer.forward = _watched(layer, name, self._outputs)  # type: ignore[method-assign]

    def after_step(self, trainer: Loop, batch: Batch) -> None:
        network = trainer.network
        tensors = {**self._outputs, "the loss": trainer.loss}
        for name in reversed(list(network.grads)):
            tensors[f"the gradient of {name}"] = network.grads[name]
        for name, param in network.params.items():
            tensors[f"{name} after the update"] = param
        self.tensors = {name: to_host(values).copy() for name, values in tensors.items()}


def _watched(layer: Layer, name: str, seen: dict[str, Array]) -> Callable[..., Array]:
    forward = layer.forward

    @functools.wraps(forward)
    def watched(x: Array, train_flg: bool = True) -> Array:
        seen[name] = forward(x, train_flg)
        return seen[name]

    return watched


def _scales(*sides: Tensors) -> dict[str, float]:
    """Return for each tensor the value whose ulp is the unit of its differences."""
    own = {name: max(_largest(side[name]) for side in sides) for name in sides[0]}
    together: dict[str, float] = {}
    for name, value in own.items():
        together[_kind(name)] = max(together.get(_kind(name), 0.0), value)
    return {name: together[_kind(name)] for name in own}


def _kind(name: str) -> str:
    if name.startswith("the gradient"):
        return "gradient"
    return "parameter" if name.endswith("the update") else name


def _largest(values: np.ndarray[Any, Any]) -> float:
    """Return the largest finite absolute value."""
    return float(np.max(np.abs(values[np.isfinite(values)]), initial=0))


def _difference(
    step: int,
    name: str,
    ours: np.ndarray[Any, Any],
    theirs: np.ndarray[Any, Any],
    scale: float,
    epsilon: float,
) -> Difference:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    a, b = a[differ], b[differ]
    if not a.size:
        return Difference(step, name, 0.0, scale)
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return Difference(step, name, np.inf, scale)
    ulp = epsilon * 2.0 ** np.floor(np.log2(scale))
    return Difference(step, name, _largest(a - b) / ulp, scale)
