"""Modifiers of an update (decay, scaling, clipping): against NumPy and PyTorch."""

import inspect
import os
from pathlib import Path

import numpy as np
import pytest
from textbook import RULES

from dlskills import (
    SGD,
    Adam,
    AdamW,
    Parameters,
    engine,
    get_backend,
    make_optimizer,
    to_host,
)
from dlskills.optimizers import modifiers

every_rule = pytest.mark.parametrize("name", RULES)
every_kind = pytest.mark.parametrize("kind", [dict, Parameters])
SHAPES = {"W": (7, 5), "b": (5,), "scale": (), "none": (0,)}


def values(seed, factor=1.0):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(factor * rng.standard_normal(s)) for name, s in SHAPES.items()}


def norm_of(grads):
    return np.sqrt(sum(float(np.sum(grad**2)) for grad in grads.values()))


def follow(optimizer, backend, kind=dict, changed=lambda grads: grads, steps=4):
    """Run an optimizer on gradients changed beforehand, and check that it leaves them unchanged."""
    params = kind({key: backend.asarray(value) for key, value in values(0).items()})
    for step in range(steps):
        given = changed(values(1 + step, 3.0))
        grads = kind({key: backend.asarray(value.copy()) for key, value in given.items()})
        optimizer.update(params, grads)
        for key, value in given.items():
            np.testing.assert_array_equal(to_host(grads[key]), value)
    return {key: to_host(value) for key, value in params.items()}


def assert_close(actual, expected):
    assert actual.keys() == expected.keys()
    for key, value in actual.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-11, atol=1e-13, err_msg=key)


def scaled(factor):
    return lambda grads: {key: factor * grad for key, grad in grads.items()}


def cut(limit):
    return lambda grads: {key: np.clip(grad, -limit, limit) for key, grad in grads.items()}


def clipped(limit):
    return lambda grads: scaled(min(1.0, limit / norm_of(grads)))(grads)


# One modifier at a time: the same as without it on gradients changed beforehand


@every_rule
@every_kind
@pytest.mark.parametrize(
    ("modifier", "changed"),
    [
        ({"grad_scale": 0.25}, scaled(0.25)),
        ({"grad_scale": -2.0}, scaled(-2.0)),
        ({"grad_scale": 0.0}, scaled(0.0)),
        ({"clip_value": 0.7}, cut(0.7)),
        ({"clip_norm": 2.0}, clipped(2.0)),
        ({"clip_norm": 1e6}, clipped(1e6)),
    ],
    ids=lambda value: (
        str(value) if isinstance(value, dict) else ""
    ),  # the repr of a function contains an address
)
def test_a_modifier_equals_changing_the_gradients_beforehand(
    backend, name, kind, modifier, changed
):
    settings = RULES[name][1][-1]
    actual = follow(make_optimizer(name, **settings | modifier), backend, kind)

    assert_close(actual, follow(make_optimizer(name, **settings), backend, kind, changed))


@every_rule
@every_kind
def test_decoupled_weight_decay_shrinks_all_parameters_first(backend, name, kind):
    settings = RULES[name][1][-1] | {"weight_decay": 0.0}
    actual = follow(make_optimizer(name, **settings | {"weight_decay": 0.3}), backend, kind)
    expected, optimizer = values(0), make_optimizer(name, **settings)
    for step in range(4):
        for value in expected.values():
            value *= 1 - optimizer.lr * 0.3
        optimizer.update(expected, values(1 + step, 3.0))

    assert_close(actual, expected)


@every_kind
def test_modifiers_apply_in_the_order_scale_norm_value_decay(backend, kind):
    optimizer = SGD(0.5, grad_scale=-2.0, clip_norm=3.0, clip_value=0.4, weight_decay=0.1)
    expected = values(0)
    for step in range(4):
        grads = cut(0.4)(clipped(3.0)(scaled(-2.0)(values(1 + step, 3.0))))
        for key, value in expected.items():
            value -= 0.5 * 0.1 * value
            value -= 0.5 * grads[key]
    assert_close(follow(optimizer, backend, kind), expected)
    # another order gives another result
    other = SGD(0.5, weight_decay=0.1)
    swapped = follow(other, backend, kind, lambda g: clipped(3.0)(cut(0.4)(scaled(-2.0)(g))))
    assert abs(swapped["W"] - expected["W"]).max() > 1e-3


def test_modifiers_apply_to_plain_numbers():
    params = {"x": 3.0, "y": -1.0}
    optimizer = SGD(1.0, grad_scale=0.5, clip_norm=2.5, clip_value=1.75, weight_decay=0.5)
    optimizer.update(params, {"x": 6.0, "y": -8.0})  # norm 10, halved to 5, clipped to 2.5

    assert params == {"x": 1.5 - 1.5, "y": -0.5 + 1.75}
    optimizer.update({}, {})


def test_modifiers_may_change_between_updates():
    params, optimizer = {"x": 0.0}, SGD(1.0)
    for modifier, value, step in (
        ("clip_value", 2.0, 2), ("clip_value", None, 8), ("clip_norm", 3.0, 3),
        ("grad_scale", 0.25, 2), ("clip_norm", None, 2), ("grad_scale", 1.0, 8),
    ):  # fmt: skip
        setattr(optimizer, modifier, value)
        params["x"] = 0.0
        optimizer.update(params, {"x": -8.0})
        assert params["x"] == step, (modifier, value)


# PyTorch


@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clipping_agrees_with_torch(limit):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(value, requires_grad=True) for value in values(0).values()]
    theirs = torch.optim.SGD(tensors, lr=0.5)
    for step in range(4):
        for tensor, grad in zip(tensors, values(1 + step, 3.0).values(), strict=True):
            tensor.grad = torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_(tensors, limit)
        theirs.step()
    ours = follow(SGD(0.5, clip_norm=limit), get_backend("cpu"))
    for value, tensor in zip(ours.values(), tensors, strict=True):  # PyTorch adds 1e-6 to the norm
        np.testing.assert_allclose(value, tensor.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_decay_agrees_with_torch():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(np.arange(5.0), requires_grad=True)
    theirs = torch.optim.AdamW([tensor], lr=0.1, weight_decay=0.3)
    pairs = [
        ({"w": np.arange(5.0)}, AdamW(lr=0.1, weight_decay=0.3)),
        ({"w": np.arange(5.0)}, Adam(0.1, epsilon=1e-8, epsilon_mode="paper", weight_decay=0.3)),
    ]
    for step in range(5):
        grad = np.sin(np.arange(5.0) + step)
        tensor.grad = torch.tensor(grad)
        theirs.step()
        for params, optimizer in pairs:
            optimizer.update(params, {"w": grad})
    for params, _ in pairs:
        np.testing.assert_allclose(params["w"], tensor.detach().numpy(), rtol=1e-10)


# Values that are not finite


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clipping_by_norm_does_not_hide_nan_or_infinity(backend, engine_names, kind, bad):
    grads = values(1)
    grads["W"][2, 3] = bad
    for name in engine_names(backend):
        params = kind({key: backend.asarray(value) for key, value in values(0).items()})
        optimizer = Adam(clip_norm=1.0)
        with engine(name), np.errstate(invalid="ignore"):
            optimizer.update(
                params, kind({key: backend.asarray(value) for key, value in grads.items()})
            )
        assert np.isnan(to_host(params["W"])[2, 3])
        if np.isnan(bad):  # the norm is NaN, so no part of the step can be trusted
            assert np.isnan(to_host(params["b"])).all()


@every_kind
def test_clipping_by_value_keeps_nan_and_clips_infinity(backend, kind):
    params = kind({"w": backend.zeros((4,), "float64")})
    grads = kind({"w": backend.asarray([np.nan, np.inf, -np.inf, 0.1], "float64")})
    SGD(1.0, clip_value=2.0).update(params, grads)

    np.testing.assert_array_equal(to_host(params["w"]), [np.nan, -2, 2, -0.1])


@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_norm_spans_parameters_of_different_dtypes(backend, shape):
    dtypes = {"single": "float32", "double": "float64"}
    if backend.name != "array_api_strict":
        dtypes["half"] = "float16"
    ones = np.ones(shape)
    params, grads = (
        {key: backend.asarray(ones.copy(), dtype) for key, dtype in dtypes.items()}
        for _ in range(2)
    )
    SGD(1.0, clip_norm=0.25).update(params, grads)

    size = (len(dtypes) * np.prod(shape, dtype=int)) ** 0.5
    for key, dtype in dtypes.items():
        assert params[key].dtype == backend.dtype(dtype)
        np.testing.assert_allclose(to_host(params[key]), 1 - 0.25 / size, rtol=1e-3)


def test_clipping_leaves_zero_gradients_unchanged(backend):
    params = {"w": backend.asarray([1.0, 2.0])}
    SGD(1.0, clip_norm=1.0).update(params, {"w": backend.asarray([0.0, 0.0])})

    assert to_host(params["w"]).tolist() == [1, 2]


# On a second GPU


ON_THE_SECOND = """
    import sys
    sys.path.insert(0, {tests!r})
    import cupy_stand_in
    cupy_stand_in.activate({build!r})
    from dlskills import Adam, MultiLayerNet

    network = MultiLayerNet(3, [4], 2, device="cuda:1")
    with network.backend.active():
        network.grads.flat[...] = 1
    for settings in {{}}, {{"clip_norm": 0.5}}:
        Adam(**settings).update(network.params, network.grads)
        Adam(**settings).update(dict(network.params), dict(network.grads))
    print("done")
"""


@pytest.mark.backends("cupy")
def test_an_update_stays_on_the_second_gpu(backend, device_counters, run_python):
    """CuPy warns about work on a device that is not current, and warnings are errors here."""
    tests, build = (str(Path(__file__).parent.parent), os.environ["DLSKILLS_HIPEMU_BUILD"])
    code = ON_THE_SECOND.format(tests=tests, build=build)

    assert run_python(code, HIPEMU_DEVICES="2") == ["done"]


# Modified rules


def test_modified_rules_are_cached():
    for modify in (modifiers.scaled, modifiers.clipped, modifiers.decayed):
        assert modify(Adam.rule) is modify(Adam.rule)
        assert modify(Adam.rule) is not modify(SGD.rule)


@every_rule
def test_modifiers_are_keyword_only(name):
    parameters = inspect.signature(type(make_optimizer(name))).parameters
    for modifier in ("weight_decay", "grad_scale", "clip_value", "clip_norm"):
        assert parameters[modifier].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight_decay": -0.1}, ValueError, "weight_decay must be at least 0, got -0.1"),
        ({"clip_value": 0}, ValueError, "clip_value must be greater than 0, got 0"),
        ({"clip_norm": -1}, ValueError, "clip_norm must be greater than 0, got -1"),
        ({"clip_norm": float("nan")}, ValueError, "clip_norm must be finite and greater than 0"),
        ({"grad_scale": float("inf")}, ValueError, "grad_scale must be finite"),
        ({"grad_scale": None}, TypeError, "grad_scale must be a number, got None"),
        ({"clip_value": "1"}, TypeError, "clip_value must be a number, got '1'"),
    ],
)
def test_invalid_modifiers_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SGD(**settings)


def test_repr_shows_only_modifiers_that_are_set():
    assert repr(SGD(0.1, clip_norm=1)) == "SGD(lr=0.1, clip_norm=1.0)"
    assert repr(SGD(0.1, clip_norm=None, grad_scale=1.0)) == "SGD(lr=0.1)"


# Constraints


@every_rule
@every_kind
def test_bounds_project_after_each_update(backend, name, kind):
    settings = RULES[name][1][-1] | {"bounds": (-0.4, 0.3)}
    params = follow(make_optimizer(name, **settings), backend, kind)
    for value in params.values():
        assert np.all((value >= -0.4) & (value <= 0.3))
    assert any(np.any(value == 0.3) for value in params.values())


def test_bounds_may_be_open(backend):
    free = follow(SGD(0.1), backend, steps=1)
    for bounds, low, high in (((0, None), 0, np.inf), ((None, 0), -np.inf, 0)):
        bounded = follow(SGD(0.1, bounds=bounds), backend, steps=1)
        assert_close(bounded, {key: np.clip(value, low, high) for key, value in free.items()})
    assert SGD(bounds=[0, None]).bounds == (0, None)


def test_bounds_come_after_weight_decay_and_all_else():
    params = {"x": 2.0}
    SGD(0.1, bounds=(None, 1.5), weight_decay=1.0, clip_value=1.0, grad_scale=2.0, clip_norm=9.0)\
        .update(params, {"x": 5.0})  # fmt: skip
    assert params["x"] == 1.5  # of 2 - 0.2 - 0.1


@every_rule
@every_kind
def test_max_weight_norm_limits_each_column_of_weights(backend, name, kind):
    limit, settings = 1.5, RULES[name][1][-1]
    free = follow(make_optimizer(name, **settings), backend, kind, steps=1)
    limited = follow(
        make_optimizer(name, **settings, max_weight_norm=limit), backend, kind, steps=1
    )
    norms = np.linalg.norm(free["W"], axis=0)
    assert (norms > limit).any()
    free["W"] = free["W"] * np.minimum(1, limit / norms)
    assert_close(limited, free)  # vectors and scalars are as they were


def test_columns_are_limited_in_every_engine_dtype_and_layout(backend, engine_names):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((40, 3, 7)) * [0.1, 1, 10, 0, 1, 1, 1]
    expected = start * np.minimum(1, 2 / np.maximum(np.linalg.norm(start, axis=(0, 1)), 1e-9))
    for name in engine_names(backend):
        for dtype in ("float32", "float64"):
            values = backend.asarray(start.copy(), dtype)
            if backend.name == "numpy":
                values = np.asfortranarray(values)
            with engine(name):
                SGD(max_weight_norm=2.0).update({"w": values}, {"w": 0 * values})
            np.testing.assert_allclose(to_host(values), expected, rtol=1e-5)


def test_frozen_weights_are_not_limited():
    params = {"a": np.full((4, 2), 5.0), "b": np.full((4, 2), 5.0)}
    SGD(max_weight_norm=1.0, frozen=["a"]).update(params, {"b": np.zeros((4, 2))})
    np.testing.assert_array_equal(params["a"], 5.0)
    np.testing.assert_allclose(np.linalg.norm(params["b"], axis=0), 1.0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"bounds": 1.0}, TypeError, r"bounds must be a pair \(low, high\).*, got 1.0"),
        ({"bounds": (0, 1, 2)}, TypeError, "bounds must be a pair"),
        ({"bounds": (1, 0)}, ValueError, r"low <= high, got \(1, 0\)"),
        ({"bounds": ("a", 1)}, TypeError, "the lower bound must be a number, got 'a'"),
        ({"bounds": (0, np.inf)}, ValueError, "the upper bound must be finite"),
        ({"max_weight_norm": 0}, ValueError, "max_weight_norm must be greater than 0, got 0"),
        ({"max_norm": 1}, TypeError, "Write clip_norm=... for gradients, or max_weight_norm"),
    ],
)
def test_wrong_constraints_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SGD(**settings)
