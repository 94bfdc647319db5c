"""What an update goes over: padding is left alone, and plans belong to their arrays."""

import numpy as np
import pytest

from dlskills import AdaGrad, Parameters, engine, to_host
from dlskills.arrays.parameters import STEP

SHAPES = {"W": (3, 4), "b": (4,), "scale": (), "none": (0,), "V": (STEP,), "c": (2,)}


def parameters(backend, value, dtype="float32"):
    made = Parameters.from_shapes(SHAPES, dtype=dtype, device=backend.device, xp=backend.xp)
    for name in made:
        made[name] += value
    return made


def padding_of(params):
    """The elements of the buffer that belong to no array."""
    flat = to_host(params.flat)
    mask = np.ones(flat.shape, bool)
    for start, stop, _ in params.runs():
        mask[start:stop] = False
    return flat[mask]


# Padding


@pytest.mark.parametrize("kind", ["as it is", "groups"])
def test_a_rule_that_makes_nan_of_zeros_leaves_padding_alone(backend, engine_names, kind):
    """0 / 0, without epsilon."""
    for name in engine_names(backend):
        params, grads = parameters(backend, 1.0), parameters(backend, 2.0)
        optimizer = AdaGrad(lr=0.5, epsilon=0.0)
        if kind == "groups":
            optimizer.rates = {"b": 1.0}
        with engine(name):
            for _ in range(2):
                optimizer.update(params, grads)
        for entries in (params, optimizer._state.slots["h"]):
            assert len(padding_of(entries)) == 3 * STEP - 17
            assert not padding_of(entries).any()
        assert np.isfinite(to_host(params.flat)).all()
        np.testing.assert_allclose(to_host(params["c"]), 1 - 0.5 - 0.5 / 2**0.5, rtol=1e-6)
