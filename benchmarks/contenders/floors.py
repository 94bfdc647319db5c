"""Lower bounds: the memory traffic of an update, and the matrix products of a step."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import dlskills
from benchmarks.contenders import Work
from benchmarks.tasks import BATCH, TrainStep, Update

# Rules that read and write as many arrays as an optimizer, but only add; by number of slots.
RULES = (
    lambda xp: lambda param, grad: param + grad,
    lambda xp: lambda param, grad, a: (param + grad, a + grad),
    lambda xp: lambda param, grad, a, b: (param + grad, a + grad, b + grad),
    lambda xp: lambda param, grad, a, b, c: (param + grad, a + grad, b + grad, c + grad),
)


def _in_place(slots: int, arrays: list[Any]) -> Callable[[], None]:
    """Return a function that runs a rule on dlskills' engine. Uses internals of dlskills."""
    from dlskills.formulas import engines
    from dlskills.formulas.formula import rule_of
    from dlskills.formulas.table import Table

    table = Table([arrays])
    table.rule, table.numbers = rule_of(RULES[slots]), [()]
    return lambda: engines.update(table)


def update(task: Update, device: str) -> Work:
    """Add only, on the default engine: `numba` or `cuda`."""
    backend = dlskills.get_backend(device)
    size = sum(math.prod(shape) for shape in task.shapes.values())
    slots = len(dlskills.make_optimizer(task.optimizer).slots)
    arrays = [backend.empty((size,), "float32") for _ in range(slots + 2)]
    for array in arrays:
        array[...] = 1  # pages that were never written are not backed by memory
    return _in_place(slots, arrays), lambda: None


def train_step(task: TrainStep, device: str) -> Work:
    """Compute the products alone, forward and backward, into preallocated arrays."""
    rng = np.random.default_rng(0)
    draw = functools.partial(rng.standard_normal, dtype=np.float32)
    calls: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for i, (rows, columns) in enumerate(itertools.pairwise(task.sizes)):
        x, w, dout = draw((BATCH, rows)), draw((rows, columns)), draw((BATCH, columns))
        calls.append((x, w, np.empty_like(dout)))
        calls.append((x.T, dout, np.empty_like(w)))
        if i:  # the gradient of the images is not needed
            calls.append((dout, w.T, np.empty_like(x)))

    def step() -> None:
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return step, lambda: None
