"""Profile a training step: `python -m benchmarks profile`.

Times the parts of the step in tasks.TrainStep in one process: gathering the batch, each layer
forward and backward, the loss, and the update; and for comparison the matrix products alone, into
preallocated arrays.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

import dlskills
from benchmarks.tasks import TrainStep


def main(width: int = 100, steps: int = 2000) -> None:
    task = TrainStep(width, (), steps=50)
    x, t = task.data()
    batches = task.batches()
    network = dlskills.MultiLayerNet(784, [width] * 4, 10, seed=0)
    optimizer = dlskills.Adam()
    times: dict[str, list[float]] = defaultdict(list)
    for i in range(steps + steps // 10):
        if i == steps // 10:
            times.clear()  # caches and kernels are warm
        rows = batches[i % len(batches)]
        parts = _step(network, optimizer, x, t, rows)
        whole = 0.0
        for name, work in parts:
            start = time.perf_counter()
            work()
            taken = time.perf_counter() - start
            times[name].append(taken)
            whole += taken
        times["whole step"].append(whole)
    floor = _products(network, steps)
    print(
        f"width {width}, batch {len(rows)}, {steps} steps; microseconds, median and lowest decile"
    )
    for name, values in times.items():
        print(f"  {name:<28}{1e6 * statistics.median(values):>9.1f}{1e6 * _low(values):>9.1f}")
    print(
        f"  {'products alone':<28}{1e6 * statistics.median(floor):>9.1f}{1e6 * _low(floor):>9.1f}"
    )


def _low(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]


def _step(
    network: dlskills.Sequential,
    optimizer: dlskills.Optimizer,
    x: np.ndarray,
    t: np.ndarray,
    rows: np.ndarray,
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the parts of one step in order; each must run before the next is asked for."""
    held = {}

    def gather() -> None:
        held["x"], held["t"] = np.take(x, rows, axis=0), np.take(t, rows, axis=0)

    def loss() -> None:
        network.loss_layer.forward(held["x"], held["t"])
        held["x"] = network.loss_layer.backward()

    yield "gather", gather
    for layer in network.layers:
        yield f"{_kind(layer)} forward", lambda layer=layer: held.update(x=layer.forward(held["x"]))
    yield "loss and its gradient", loss
    for layer in reversed(network.layers):
        yield (
            f"{_kind(layer)} backward",
            lambda layer=layer: held.update(x=layer.backward(held["x"])),
        )
    yield "Adam", lambda: optimizer.update(network.params, network.grads)


def _kind(layer: dlskills.Layer) -> str:
    if isinstance(layer, dlskills.Affine):
        return f"Affine {layer.input_size}-{layer.output_size}"
    return type(layer).__name__


def _products(network: dlskills.Sequential, steps: int) -> list[float]:
    """Return the times of all the step's matrix products together."""
    batch, work = 128, []
    layers = [layer for layer in network.layers if isinstance(layer, dlskills.Affine)]
    for layer in layers:
        x = np.ones((batch, layer.input_size), np.float32)
        y = np.ones((batch, layer.output_size), np.float32)
        weight = layer.params["W"]
        work += [(x, weight, y.copy()), (x.T, y, weight.copy())]
        if layer is not layers[0]:
            work.append((y, weight.T, x.copy()))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        for a, b, out in work:
            np.matmul(a, b, out=out)
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
