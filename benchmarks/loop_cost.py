"""What a `Loop` costs beyond gradient and update: ``python -m benchmarks loop``.

Steps are taken by a `Loop`, and by the two lines that it stands for: ``loss_and_gradient`` and
``update``, over the same list of batches. Both calls are replaced by functions that do nothing, so
that the difference is Python's work alone. The two take turns. A turn is two hundred steps, less
than two milliseconds, so that other processes disturb few of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dlskills
from dlskills.training import Loop

AT_MOST = 15.0  # microseconds per step
STEPS = 200
ROUNDS = 300


class _NoUpdate:
    """An optimizer that changes nothing."""

    def update(self, params: Any, grads: Any) -> None:
        pass


def _network(extended: bool) -> Any:
    """Return a network of four hidden layers whose passes are free."""
    network: Any = dlskills.MultiLayerNetExtend(
        10, [10] * 4, 10, seed=0, use_batchnorm=extended, use_dropout=extended
    )
    passed = np.float32(1.0), network.grads
    network.loss_and_gradient = lambda x, t: passed
    return network


def _after_step(trainer: Loop, batch: Any) -> None:
    """A callback that does nothing."""


def _by_loop(network: Any, batches: list[Any], callbacks: list[Any]) -> Callable[[], None]:
    loop = Loop(network, _NoUpdate(), batches, callbacks)
    return lambda: loop.run(steps=STEPS)


def _by_hand(network: Any, batches: list[Any]) -> Callable[[], None]:
    optimizer = _NoUpdate()

    def run() -> None:
        for x, t in batches:
            _, grads = network.loss_and_gradient(x, t)
            optimizer.update(network.params, grads)

    return run


def costs(rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the microseconds per step that a loop adds, one value per round, by kind of loop."""
    batch = np.zeros((1, 10), np.float32), np.zeros(1, np.int64)
    batches = [batch] * STEPS
    plain, extended = _network(False), _network(True)
    works = {
        "no callbacks": (_by_loop(plain, batches, []), _by_hand(plain, batches)),
        "Batch Norm and Dropout": (_by_loop(extended, batches, []), _by_hand(extended, batches)),
        "a callback per step": (_by_loop(plain, batches, [_after_step]), _by_hand(plain, batches)),
    }
    added: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, (loop, hand) in works.items():
            spent = 1e6 * (_seconds(loop) - _seconds(hand)) / STEPS
            if number:  # the first round warms up
                added[name].append(spent)
    return added


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(rounds: int = ROUNDS) -> None:
    print(f"Loop, microseconds per step beyond gradient and update (bar {AT_MOST:g})")
    print("median and lowest decile of all turns")
    for name, values in costs(rounds).items():
        median, low = statistics.median(values), sorted(values)[len(values) // 10]
        verdict = "reached" if median <= AT_MOST else "missed"
        print(f"  {name:<24}{median:>6.1f}{low:>6.1f}  {verdict}")
