"""Half-precision parameters: updates are computed, and slots stored, in float32."""

import numpy as np
import pytest
from textbook import RULES

from dlskills import AdaGrad, AdamW, Parameters, engine, make_optimizer, to_host
from dlskills.optimizers.saving import slots_of

every_rule = pytest.mark.parametrize("name", RULES)
every_kind = pytest.mark.parametrize("kind", [dict, Parameters])
SHAPES = {"W": (7, 40), "b": (40,), "scale": ()}
MODIFIERS = {
    "weight_decay": 0.1, "grad_scale": 0.5, "clip_value": 0.6, "clip_norm": 2.0,
    "rates": {"b": 0.5},
}  # fmt: skip


@pytest.fixture(params=["float16", "bfloat16"])
def dtype(backend, request):
    if not hasattr(backend.xp, request.param):
        pytest.skip(f"{backend.name} has no {request.param}")
    return request.param


def arrays(backend, seed, kind, dtype):
    rng = np.random.default_rng(seed)
    values = {key: rng.standard_normal(shape).astype("float32") for key, shape in SHAPES.items()}
    return kind({key: backend.asarray(value, dtype) for key, value in values.items()})


def as_single(params, backend):
    """Return the values in float32 on the host."""
    return {key: np.asarray(to_host(value), "float32") for key, value in params.items()}


@every_rule
@every_kind
@pytest.mark.parametrize("modifiers", [{}, MODIFIERS], ids=["unmodified", "all modifiers"])
def test_an_update_is_the_float32_update_rounded_once(
    backend, engine_names, name, kind, dtype, modifiers
):
    """Compare each step, starting from equal parameters."""
    settings = RULES[name][1][-1] | modifiers
    for engine_name in engine_names(backend):
        params, optimizer = arrays(backend, 0, kind, dtype), make_optimizer(name, **settings)
        twin = make_optimizer(name, **settings)
        twin_params = as_single(params, backend)
        for step in range(4):
            grads = arrays(backend, 1 + step, kind, dtype)
            for key, value in as_single(params, backend).items():
                twin_params[key][...] = value
            with engine(engine_name):
                optimizer.update(params, grads)
            with engine("plain"):
                twin.update(twin_params, as_single(grads, backend))
            unit = 2.0**-11 if dtype == "float16" else 2.0**-8
            for key, value in as_single(params, backend).items():
                expected = twin_params[key]
                np.testing.assert_allclose(value, expected, rtol=unit + 1e-5, atol=1e-6)
        expected = slots_of(twin.state_dict())
        for slot, saved in slots_of(optimizer.state_dict()).items():
            for key, value in saved.items():
                assert value.dtype == np.float32
                np.testing.assert_allclose(value, expected[slot][key], rtol=1e-4, atol=1e-6)


@every_kind
def test_adamw_with_a_zero_gradient_only_decays(backend, engine_names, kind, dtype):
    """Its epsilon, 1e-8, underflows to 0 in float16."""
    for engine_name in engine_names(backend):
        params = kind({"w": backend.asarray([1.0, -2.0, 0.0], dtype)})
        grads = kind({"w": backend.asarray([0.0, 0.0, 0.0], dtype)})
        optimizer = AdamW(lr=0.5, weight_decay=0.5)
        with engine(engine_name):
            optimizer.update(params, grads)
        assert to_host(params["w"]).tolist() == [0.75, -1.5, 0.0]


@every_kind
def test_adagrad_steps_have_the_size_of_the_learning_rate(backend, engine_names, kind, dtype):
    """The square of a small gradient underflows to 0 in float16."""
    for engine_name in engine_names(backend):
        params = kind({"w": backend.asarray([1.0], dtype)})
        grads = kind({"w": backend.asarray([1e-4], dtype)})
        optimizer = AdaGrad(lr=0.01)
        with engine(engine_name):
            for _ in range(3):
                optimizer.update(params, grads)
        expected = 1 - 0.01 * (1 + 2**-0.5 + 3**-0.5)
        assert float(to_host(params["w"])[0]) == pytest.approx(expected, abs=0.01)


@every_rule
@pytest.mark.parametrize(("old", "new"), [(dict, Parameters), (Parameters, dict), (dict, dict)])
def test_slots_are_saved_and_loaded_in_float32(backend, name, old, new, dtype):
    first, second = make_optimizer(name), make_optimizer(name)
    params = arrays(backend, 0, old, dtype)
    for step in range(2):
        first.update(params, arrays(backend, 1 + step, old, dtype))
    state = first.state_dict()
    slots = [value for name, value in state.items() if "/" in name]
    assert len(slots) == len(first.slots) * len(params)
    assert {value.dtype for value in slots} <= {np.dtype("float32")}
    second.load_state_dict(state)
    later = new({key: backend.asarray(value + 0, dtype) for key, value in params.items()})
    first.update(params, arrays(backend, 9, old, dtype))
    second.update(later, arrays(backend, 9, new, dtype))
    for key, value in params.items():
        np.testing.assert_array_equal(to_host(later[key]), to_host(value))
    for values in slots_of(second.state_dict()).values():
        assert {value.dtype for value in values.values()} == {np.dtype("float32")}


def test_a_table_of_many_arrays(backend, engine_names, dtype):
    for engine_name in engine_names(backend):
        params = {f"p{i}": backend.asarray([float(i)] * (i % 5), dtype) for i in range(50)}
        grads = {key: value * 0 + 1 for key, value in params.items()}
        optimizer = make_optimizer("momentum", lr=0.5)
        with engine(engine_name):
            optimizer.update(params, grads)
        for i in range(50):
            assert to_host(params[f"p{i}"]).tolist() == [i - 0.5] * (i % 5)
