"""A small network with everything that has a state, and batches of several sizes."""

import numpy as np

from dlskills import Affine, BatchNormalization, Dropout, ReLU, Sequential

RNG = np.random.default_rng(0)
X = RNG.normal(size=(13, 7))
T = RNG.integers(0, 3, 13)


def make_network(backend=None, seed=3, width=9, **options):
    here = {} if backend is None else {"device": backend.device, "xp": backend.xp}
    layers = [
        Affine(7, width), BatchNormalization(width), ReLU(), Dropout(0.3),
        Affine(width, width), BatchNormalization(width), ReLU(), Dropout(0.5), Affine(width, 3),
    ]  # fmt: skip
    return Sequential(
        layers, weight_decay_lambda=0.01, seed=seed, dtype="float64", **here, **options
    )


BATCHES = [(X, T), (X[:8], T[:8]), (X[3:12], T[3:12]), (X[:2], T[:2])]
