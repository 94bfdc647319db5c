"""dlskills on a plain dict of NumPy arrays, as the tutorial's scripts have it."""

import numpy as np

import dlskills
from benchmarks.contenders import Work
from benchmarks.tasks import Update


def update(task: Update, engine: str) -> Work:
    params, grads = task.params(), task.grads()
    optimizer = dlskills.Adam()

    def step() -> None:
        with dlskills.engine(engine):
            optimizer.update(params, grads)

    return step, lambda: np.concatenate([p.ravel()[:1000] for p in params.values()])[:1000]
