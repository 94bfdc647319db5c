"""The same training in two ways, step by step, up to where they first differ."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count, check_number
from dlskills.data import load_mnist
from dlskills.layers import Layer
from dlskills.networks import MultiLayerNetExtend
from dlskills.networks.sequential import Sequential
from dlskills.optimizers import engine, make_optimizer


@dataclass(frozen=True)
class Way:
    """How a training is computed.

    Attributes
    ----------
    device : str, default "cpu"
    dtype : str, default "float32"
    engine : str, optional
        Of updates; the one that suits the arrays if not given.
    """

    device: str = "cpu"
    dtype: str = "float32"
    engine: str | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.device, self.dtype, self.engine)))


@dataclass(frozen=True)
class Difference:
    """The distance between two tensors that should be the same.

    Attributes
    ----------
    step : int
        Of training, from 1.
    tensor : str
    ulp : float
        The largest difference of two elements, in units in the last place of `largest` and of the
        coarser of both dtypes. (Of each element's own they would be large wherever a sum comes
        out near 0.) Infinite where an element is not finite and the other is not the same: NaN is
        the same as NaN, and infinity as infinity of its sign.
    largest : float
        The largest absolute value of the tensor that is finite; for a gradient or a parameter, of
        all of them at this step: a bias before Batch Norm has a gradient of pure rounding.
    """

    step: int
    tensor: str
    ulp: float
    largest: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.tensor}: {self.ulp:.3g} ulp of a largest value of "
            f"{self.largest:.3g}"
        )


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes
    ----------
    first : Difference or None
        The first one above the tolerance; there the comparison ended. None if there is none.
    largest : Difference
        The largest one.
    steps : int
        Compared.
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
    """Train the tutorial's 5-layer network in two ways, and compare every tensor of every step.

    Both start from the same weights, see the same batches of 100 digits, and draw the same masks.
    Compared are, in the order in which they are computed: the output of each layer, the loss, the
    gradients, the parameters after the update.

    Parameters
    ----------
    left, right : Way
    steps : int, default 50
    tolerance : float, default 1024
        In ulp. Rounding alone grows from step to step: in float32, sums in another order make
        some dozens of ulp in 50 steps, and more with Batch Norm or an adaptive optimizer.
    optimizer : str, default "SGD"
    use_batchnorm : bool, default False
    dropout_ratio : float, default 0
    activation : str, default "relu"
        ReLU turns rounding into a real difference when a unit's input lies so close to 0 that the
        two trainings see different signs. A smooth one, such as ``"tanh"``, does not.
    seed : int, default 0
    subset : str, default "sample"
        Of MNIST.
    on_step : callable, optional
        Called after each step, to show progress.

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
    optimizer: Any,
    forced: str | None,
    x: np.ndarray[Any, Any],
    t: np.ndarray[Any, Any],
    batches: np.ndarray[Any, Any],
) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """All tensors of each step, on the host."""
    asarray = network.backend.asarray
    seen: dict[str, Array] = {}
    for i, layer in enumerate(network.layers):
        layer.forward = _watched(layer, f"the output of layers[{i}], {layer!r}", seen)  # type: ignore[method-assign]
    for rows in batches:
        seen.clear()
        loss, grads = network.loss_and_gradient(asarray(x[rows]), asarray(t[rows]))
        seen["the loss"] = loss
        for name in reversed(list(grads)):
            seen[f"the gradient of {name}"] = to_host(grads[name]).copy()
        with engine(forced) if forced else contextlib.nullcontext():
            optimizer.update(network.params, grads)
        for name, param in network.params.items():
            seen[f"{name} after the update"] = to_host(param).copy()
        yield {name: to_host(values) for name, values in seen.items()}


def _watched(layer: Layer, name: str, seen: dict[str, Array]) -> Callable[..., Array]:
    forward = layer.forward

    @functools.wraps(forward)
    def watched(x: Array, train_flg: bool = True) -> Array:
        seen[name] = forward(x, train_flg)
        return seen[name]

    return watched


def _scales(*sides: dict[str, np.ndarray[Any, Any]]) -> dict[str, float]:
    """For each tensor, the value in whose last places it is compared."""
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
    """Of all values that are finite."""
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
