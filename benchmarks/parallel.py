"""Find the number of elements at which the engine `numba` becomes faster on all cores than on one.

As in a train step, matrix products run before each update by Adam, because OpenBLAS's threads still
spin when the update begins. Both are timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np

import dlskills
from benchmarks.tasks import BATCH

SIZES = [2**k for k in range(14, 23)]
KINDS = {"one thread": 2**62, "all threads": 0}  # values of SHARE_FROM


def _settings() -> ModuleType:
    """Return the module with SHARE_FROM. Internals of dlskills are used only here."""
    from dlskills.formulas import threads

    return threads


def main(rounds: int) -> None:
    print(f"{'elements':>10}{'update: one':>13}{'all':>8}", end="")
    print(f"{'with products: one':>21}{'all':>8}{'all / one':>12}   (microseconds)")
    ahead: int | None = None
    for size in SIZES:
        of = _measure(size, rounds)
        (one, one_whole), (all_, all_whole) = of["one thread"], of["all threads"]
        ratio = all_whole / one_whole
        print(f"{size:>10,}{one:>13.0f}{all_:>8.0f}{one_whole:>21.0f}{all_whole:>8.0f}", end="")
        print(f"{ratio:>12.2f}")
        ahead = None if ratio >= 1 else ahead or size
    found = f"{ahead:,}" if ahead else f"more than {SIZES[-1]:,}"
    print(f"all threads are faster from {found} elements; ", end="")
    print(f"SHARE_FROM is {_settings().SHARE_FROM:,}")


def _measure(size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the medians of the update, and of products and update, in microseconds."""
    rng = np.random.default_rng(0)
    params, grads = (
        dlskills.Parameters({"W": rng.standard_normal(size, dtype=np.float32)}) for _ in range(2)
    )
    products = _products()
    optimizers = {kind: dlskills.Adam() for kind in KINDS}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    settings = _settings()
    before = settings.SHARE_FROM
    try:
        with dlskills.engine("numba"):
            for i in range(rounds + 1):
                for kind in KINDS:
                    settings.SHARE_FROM = KINDS[kind]  # read at an optimizer's first update
                    turn = []
                    for _ in range(20):
                        start = time.perf_counter()
                        products()
                        between = time.perf_counter()
                        optimizers[kind].update(params, grads)
                        end = time.perf_counter()
                        turn.append((end - between, end - start))
                    if i:  # the first round compiles
                        times[kind] += turn[3:]
    finally:
        settings.SHARE_FROM = before
    medians = {}
    for kind, pairs in times.items():
        update, whole = (1e6 * statistics.median(column) for column in zip(*pairs, strict=True))
        medians[kind] = (update, whole)
    return medians


def _products() -> Callable[[], None]:
    """Return a function that computes the first layer's products in the tutorial's network."""
    rng = np.random.default_rng(1)
    x, w, dout = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((BATCH, 784), (784, 100), (BATCH, 100))
    )
    y, dw = np.empty_like(dout), np.empty_like(w)

    def products() -> None:
        np.matmul(x, w, out=y)
        np.matmul(x.T, dout, out=dw)

    return products
