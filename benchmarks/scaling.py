"""Data-parallel training: images per second by the number of ranks, and a prediction for many.

    mpiexec -n 2 --bind-to core python -m benchmarks.scaling   # prints JSON
    python -m benchmarks.scaling predict RESULTS.json FIGURE.png

Ranks are pinned to a core each and run one thread. The latency and bandwidth of allreduce are
fitted to the times of several sizes by least squares, then used in the ring's cost model:
Thakur, Rabenseifner & Gropp (2005), "Optimization of collective communication operations in
MPICH", section 4.5.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, BATCH, LAYERS = 1024, 512, 4
SIZES = [2**n for n in range(10, 25, 2)]  # bytes
RANKS = [2**n for n in range(11)]
TUTORIAL = 784 * 100 + 100 * 100 * 3 + 100 * 10 + 410  # parameters of 4 hidden layers of 100
LARGE = 100_000_000


def median_time(work: Callable[[], Any], barrier: Callable[[], None], rounds: int = 9) -> float:
    """Median seconds from one barrier to the next, after a warm-up."""
    times = []
    for _ in range(rounds + 1):
        barrier()
        begun = time.perf_counter()
        work()
        barrier()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def measure() -> dict[str, Any]:
    """Times on the ranks that mpiexec started."""
    from mpi4py import MPI

    from dlskills import SGD, MultiLayerNet
    from dlskills.distributed import DataParallel, mpi

    ranks = mpi()
    rng = np.random.default_rng(ranks.rank)
    network = MultiLayerNet(784, [WIDTH] * LAYERS, 10, seed=0)
    x = rng.normal(size=(BATCH, 784)).astype("float32")
    t = rng.integers(0, 10, BATCH)
    parallel, optimizer = DataParallel(network, ranks), SGD(0.001)
    total = BATCH * ranks.size

    def step() -> None:
        optimizer.update(network.params, parallel.loss_and_gradient(x, t, total)[1])

    found: dict[str, Any] = {"ranks": ranks.size, "step_s": median_time(step, ranks.barrier)}
    found["images_per_s"] = total / found["step_s"]
    found["parameters"] = network.params.size
    found["forward_s"] = median_time(lambda: network.loss(x, t), ranks.barrier)
    found["allreduce_s"] = {}
    for size in SIZES:
        array = np.zeros(size // 4, np.float32)
        found["allreduce_s"][size] = median_time(
            lambda array=array: ranks.allreduce(array, mean=False), ranks.barrier, 21
        )
    flat = network.params.flat.copy()
    own = median_time(lambda: ranks.allreduce(flat, mean=False), ranks.barrier, 21)
    plain = median_time(
        lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, flat, op=MPI.SUM), ranks.barrier, 21
    )
    found["allreduce_to_mpi4py"] = own / plain
    return found


def fit(seconds: dict[int, float]) -> tuple[float, float]:
    """Latency in s and bandwidth in bytes/s of an allreduce of two ranks.

    Relative errors are minimized, as times span several orders of magnitude.
    """
    sizes, times = (np.array(column, float) for column in zip(*seconds.items(), strict=True))
    weighted = np.stack([1 / times, sizes / times], axis=1)
    latency, per_byte = np.linalg.lstsq(weighted, np.ones(len(times)), rcond=None)[0]
    return max(float(latency), 0.0), 1 / float(per_byte)


def allreduce_time(size: float, ranks: int, latency: float, bandwidth: float) -> float:
    """Seconds of a ring allreduce; for two ranks, what was measured.

    2 (N - 1) messages of size / N: two ranks exchange half of the array twice.
    """
    if ranks == 1:
        return 0.0
    messages = 2 * (ranks - 1)
    return messages * latency / 2 + messages / ranks * size / bandwidth


def step_time(compute: float, communication: float, overlapped: bool) -> float:
    """Seconds of a step; at best, communication hides behind the backward pass, 2/3 of a step."""
    return compute + max(communication - (2 / 3 * compute if overlapped else 0.0), 0.0)


def predict(alone: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Step times from 1 to 1,024 ranks, with the batch per rank of the measurement."""
    latency, bandwidth = fit({int(size): s for size, s in two["allreduce_s"].items()})
    per_parameter = alone["step_s"] / alone["parameters"]  # compute grows with the parameters
    found: dict[str, Any] = {"latency_s": latency, "bandwidth_bytes_per_s": bandwidth}
    for name, parameters in (("tutorial", TUTORIAL), ("100 million", LARGE)):
        compute = per_parameter * parameters
        found[name] = {
            f"{'overlapped' if overlapped else 'one after the other'}": [
                step_time(
                    compute, allreduce_time(4 * parameters, n, latency, bandwidth), overlapped
                )
                for n in RANKS
            ]
            for overlapped in (False, True)
        }
    found["efficiency_measured"] = alone["step_s"] / two["step_s"]
    found["speedup_measured"] = two["images_per_s"] / alone["images_per_s"]
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Efficiency by the number of ranks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in (("tutorial", "#0072B2"), ("100 million", "#D55E00")):
        for kind, times in found[name].items():
            line = "--" if kind == "overlapped" else "-"
            efficiency = [times[0] / time for time in times]
            axes.semilogx(RANKS, efficiency, line, base=2, color=colour, label=f"{name}, {kind}")
    axes.set(xlabel="ranks", ylabel="efficiency, same batch per rank", ylim=(0, 1.02))
    axes.legend()
    figure.savefig(path)


def main(arguments: list[str]) -> None:
    """Measure, or with `predict` read measurements of one and of two ranks."""
    if arguments[:1] == ["predict"]:
        alone, two = json.loads(Path(arguments[1]).read_text())
        found = predict(alone, two)
        draw(found, Path(arguments[2]))
        print(json.dumps(found, indent=1))
        return
    found = measure()
    if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
