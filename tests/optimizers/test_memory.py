"""An update allocates no memory that grows with the parameters, and launches one GPU kernel."""

import gc
import importlib
import tracemalloc

import numpy as np
import pytest

from dlskills import MultiLayerNet, Parameters, engine, make_optimizer
from dlskills.formulas.engines import ENGINES
from dlskills.optimizers import OPTIMIZERS

MODIFIERS = {"weight_decay": 0.1, "grad_scale": 0.5, "clip_value": 0.5}
SETTINGS = {
    "unmodified": {},
    "modified": MODIFIERS,
    "clip_norm": {"clip_norm": 0.5},
    "all": MODIFIERS | {"clip_norm": 0.5},
}
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
on_numpy = pytest.mark.parametrize(
    "engine_name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                ENGINES[name].missing() is not None, reason=f"the engine {name} is not available"
            ),
        )
        for name in ("numba", "blocked")
    ],
)


def peak_of_a_step(engine_name, optimizer, params, grads):
    """Return the peak of the bytes allocated during the second update."""
    with engine(engine_name):
        optimizer.update(params, grads)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            optimizer.update(params, grads)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return peak - before


def million(count, number=0):
    half = {"W": np.full((1000, 500 * count), number, "float32"), "b": np.ones(500_000 * count)}
    half["b"] = half["b"].astype("float32")
    return half


@on_numpy
@every_setting
@pytest.mark.parametrize("kind", [Parameters, dict])
@pytest.mark.slow
def test_adam_allocates_little_for_ten_million_parameters(engine_name, settings, kind):
    params, grads = kind(million(10)), kind(million(10, 0.5))

    assert peak_of_a_step(engine_name, make_optimizer("adam", **settings), params, grads) < 1e6


@on_numpy
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_allocates_little(engine_name, name):
    params, grads = Parameters(million(1)), Parameters(million(1, 0.5))

    # each array has 4 MB
    assert peak_of_a_step(engine_name, make_optimizer(name, **MODIFIERS), params, grads) < 1e6


@on_numpy
@pytest.mark.parametrize(
    "view",
    [lambda a: a[::2], lambda a: a[:, ::2], lambda a: a.T[::2], lambda a: a[:, None, ::-1]],
    ids=["rows", "columns", "transposed", "3-D, backwards"],
)
def test_updates_of_strided_arrays_allocate_little(engine_name, view):
    params, grads = ({"W": view(np.ones((4, 1_000_000), "float32"))} for _ in "12")

    assert peak_of_a_step(engine_name, make_optimizer("adam"), params, grads) < 1e6


# On a GPU


@pytest.fixture
def pool():
    return importlib.import_module("cupy").get_default_memory_pool()


@pytest.fixture
def network(backend):
    net = MultiLayerNet(6, [5, 5, 5, 5], 3, device=backend.device, xp=backend.xp, seed=0)
    net.grads.flat[...] = 0.5
    return net


@pytest.mark.parametrize("name", OPTIMIZERS)
@every_setting
@pytest.mark.backends("cupy")
def test_an_update_is_one_kernel(backend, network, pool, device_counters, name, settings):
    optimizer = make_optimizer(name, **settings)
    optimizer.update(network.params, network.grads)
    gc.collect()  # what earlier tests left behind
    used = pool.used_bytes()
    with device_counters.counting() as added:
        optimizer.update(network.params, network.grads)

    # clip_norm adds the sum of squares and the factor
    assert added["kernel_launches"] <= (3 if "clip_norm" in settings else 1)
    assert added["copies_h2d"] == added["copies_d2h"] == added["copies_d2d"] == 0
    assert pool.used_bytes() == used


@every_setting
@pytest.mark.parametrize("kind", [Parameters, dict])
@pytest.mark.backends("cupy")
def test_an_update_on_a_gpu_allocates_nothing(backend, pool, settings, kind):
    params, grads = (
        kind({"w": backend.asarray(np.full(1_000_000, value, "float32"))}) for value in (1, 0.5)
    )
    optimizer = make_optimizer("adam", **settings)
    optimizer.update(params, grads)
    pool.free_all_blocks()
    held = pool.total_bytes()
    optimizer.update(params, grads)

    assert pool.total_bytes() - held < 100_000  # the pool also counts temporary allocations
