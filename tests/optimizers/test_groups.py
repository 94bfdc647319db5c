"""Parameter groups: the result is as if each parameter had its own optimizer."""

import pickle
from contextlib import nullcontext

import numpy as np
import pytest
from textbook import RULES

from dlskills import (
    SGD,
    Adam,
    AdamW,
    Momentum,
    Optimizer,
    Parameters,
    clip_factor,
    engine,
    make_optimizer,
    to_host,
)
from dlskills.formulas import engines
from dlskills.optimizers.groups import Group, assign_groups
from dlskills.optimizers.schedules import CosineDecay

every_rule = pytest.mark.parametrize("name", RULES)
every_kind = pytest.mark.parametrize("kind", [dict, Parameters])
SHAPES = {"W1": (3, 4), "b1": (4,), "W2": (4, 32), "b2": (32,), "scale": (), "none": (0,)}


def is_weight(name):
    return name.startswith("W")


def arrays(backend, seed, kind=dict, dtype="float64"):
    rng = np.random.default_rng(seed)
    return kind({k: backend.asarray(rng.standard_normal(s), dtype) for k, s in SHAPES.items()})


def hosts(params):
    return {name: to_host(value).copy() for name, value in params.items()}


def assert_close(actual, expected):
    for key, value in hosts(actual).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-11, atol=1e-13, err_msg=key)


def walk(optimizer, params, backend, kind, steps=range(3)):
    for step in steps:
        optimizer.update(params, arrays(backend, 100 + step, kind))
    return params


@every_rule
@every_kind
def test_each_parameter_is_updated_as_by_its_own_optimizer(backend, engine_names, name, kind):
    settings = RULES[name][1][-1] | {"weight_decay": 0.2}
    groups = {"decay": is_weight, "rates": {"W1": 0.5, "b1": 0.25, "scale": 0}, "frozen": ("W2",)}
    for engine_name in engine_names(backend):
        params = arrays(backend, 0, kind)
        with engine(engine_name):
            walk(make_optimizer(name, **settings, **groups), params, backend, kind)
        expected = hosts(arrays(backend, 0))
        for key in set(SHAPES) - {"W2"}:
            own = dict(settings)
            own["weight_decay"] = 0.2 if is_weight(key) else 0.0
            optimizer = make_optimizer(name, **own)
            optimizer.lr = optimizer.lr * groups["rates"].get(key, 1)
            for step in range(3):
                gradient = to_host(arrays(backend, 100 + step)[key])
                optimizer.update({key: expected[key]}, {key: gradient})
        assert_close(params, expected)


@every_kind
def test_groups_are_updated_in_a_single_pass(backend, kind, monkeypatch):
    passes = []
    update = engines.update
    monkeypatch.setattr(engines, "update", lambda table: (passes.append(table), update(table)))
    optimizer = Adam(decay=is_weight, weight_decay=0.1, rates={"b1": 2})
    walk(optimizer, arrays(backend, 0, kind), backend, kind, [0])
    (table,) = passes
    # W1, b1, W2, b2, scale, none; b2 and scale are adjacent and of one group, and none is empty
    assert table.groups == ([0, 1, 0, 2, 2, 2] if kind is dict else [0, 1, 0, 2])
    assert len(table.numbers) == 3


def test_plain_numbers_support_groups():
    params = {"x": 1.0, "y": 1.0, "z": 1.0, "u": 1.0}
    optimizer = SGD(1.0, rates={"y": 0.5}, frozen={"z"}, weight_decay=0.5, decay=["x", "y"])
    optimizer.update(params, {"x": 0.25, "y": 0.25, "u": 0.25})
    assert params == {"x": 0.25, "y": 0.625, "z": 1.0, "u": 0.75}


def test_a_rate_applies_to_schedules_and_custom_coefficients():
    seen = []

    class Own(Optimizer):
        lr: float = 1.0

        def coefficients(self, step):
            seen.append(self.lr)
            return (self.lr**2,)

        @staticmethod
        def rule(xp):
            return lambda param, grad, rate: param - rate * grad

    optimizer = Own(CosineDecay(1.0, steps=2), rates={"y": 0.5})
    params = {"x": 0.0, "y": 0.0}
    for _ in range(2):
        optimizer.update(params, {"x": 1.0, "y": 1.0})
    assert seen == [1.0, 0.5, 0.5, 0.25]
    assert params == {"x": -1.25, "y": -0.3125}
    assert optimizer.lr == 0.0


def test_an_error_in_coefficients_keeps_the_learning_rate():
    class Failing(SGD):
        def coefficients(self, step):
            raise ZeroDivisionError

    optimizer = Failing(1.0, rates={"x": 0.5})
    with pytest.raises(ZeroDivisionError):
        optimizer.update({"x": 1.0}, {"x": 1.0})
    assert optimizer.lr == 1.0


# Frozen parameters


def test_no_frozen_parameters_may_be_none():
    params = {"x": 1.0}
    SGD(1.0, frozen=None).update(params, {"x": 1.0})
    assert params == {"x": 0.0}


@every_kind
@pytest.mark.parametrize("frozen", [("W1", "b2"), lambda name: name in ("W1", "b2")])
def test_frozen_parameters_and_their_slots_do_not_change(backend, kind, frozen):
    params, optimizer = arrays(backend, 0, kind), Adam(0.1)
    walk(optimizer, params, backend, kind, range(2))
    before, slots = hosts(params), optimizer.state_dict()
    optimizer.frozen = frozen
    walk(optimizer, params, backend, kind, range(2, 4))
    after = optimizer.state_dict()
    for key in SHAPES:
        same = key in ("W1", "b2", "none")
        assert np.array_equal(to_host(params[key]), before[key]) is same
        for slot in ("m", "v"):
            assert np.array_equal(after[f"{slot}/{key}"], slots[f"{slot}/{key}"]) is same


@every_kind
def test_freezing_and_unfreezing_keep_the_state(backend, kind):
    params, optimizer = arrays(backend, 0, kind), Momentum(0.1)
    expected = hosts(params)
    twins = {key: Momentum(0.1) for key in SHAPES}
    for step, frozen in enumerate([(), ("W1",), ("W1", "b1"), (), ("b2",)]):
        optimizer.frozen = frozen
        walk(optimizer, params, backend, kind, [step])
        for key in set(SHAPES) - set(frozen):
            gradient = to_host(arrays(backend, 100 + step)[key])
            twins[key].update({key: expected[key]}, {key: gradient})
    assert_close(params, expected)


def test_a_predicate_is_evaluated_at_every_update():
    epoch = 0
    optimizer, params = SGD(1.0, frozen=lambda name: name == "x" and epoch < 1), {"x": 0.0, "y": 0}
    for epoch in range(3):  # noqa: B007
        optimizer.update(params, {"x": 1.0, "y": 1.0})
    assert params == {"x": -2, "y": -3}


def test_rates_changed_in_place_take_effect(backend):
    optimizer, params = SGD(1.0, rates={"W1": 0.5}), arrays(backend, 0)
    before = hosts(params)
    grads = arrays(backend, 1)
    optimizer.update(params, grads)
    optimizer.rates["W1"] = 0.25
    optimizer.rates["b1"] = 2.0
    optimizer.update(params, grads)
    moved = {key: before[key] - to_host(params[key]) for key in SHAPES}
    for key, factor in {"W1": 0.75, "b1": 3.0, "W2": 2.0}.items():
        np.testing.assert_allclose(moved[key], factor * to_host(grads[key]), rtol=1e-11, atol=1e-13)


def test_frozen_parameters_need_no_gradient_and_may_have_any_dtype(backend):
    params = {"w": backend.asarray([1.0]), "table": backend.asarray([1, 2], "int64")}
    optimizer = SGD(1.0, frozen=["table"])
    for _ in range(2):
        optimizer.update(params, {"w": backend.asarray([0.25])})
    assert to_host(params["w"]).tolist() == [0.5]
    assert to_host(params["table"]).tolist() == [1, 2]
    optimizer.frozen = ()
    with pytest.raises(KeyError, match="a gradient for each parameter; 'table' is missing"):
        optimizer.update(params, {"w": backend.asarray([0.25])})


def test_all_parameters_may_be_frozen(backend):
    params = arrays(backend, 0)
    before = hosts(params)
    optimizer = Adam(frozen=lambda name: True, clip_norm=1.0, weight_decay=0.1)
    optimizer.update(params, {})
    assert_close(params, before)
    assert optimizer.step == 1


@every_kind
def test_the_norm_excludes_gradients_of_frozen_parameters(backend, kind):
    params, grads = arrays(backend, 0, kind), arrays(backend, 1, kind)
    before = hosts(params)
    used = {key: to_host(grads[key]) for key in SHAPES if key != "W2"}
    factor = clip_factor(used, 0.5)
    SGD(1.0, clip_norm=0.5, frozen=("W2",)).update(params, grads)
    expected = {key: before[key] - factor * value for key, value in used.items()}
    assert_close(params, expected | {"W2": before["W2"]})


# Settings


@pytest.mark.parametrize(
    "settings",
    [{"rates": {"scal": 0.1}}, {"frozen": ("scal",)}, {"decay": {"scal"}, "weight_decay": 1}],
)
@every_kind
def test_unknown_parameter_names_are_refused(backend, kind, settings):
    params, optimizer = arrays(backend, 0, kind), SGD(**settings)
    before = hosts(params)
    what = next(iter(settings))
    message = (
        rf"^{what} must contain names of parameters, got 'scal'; did you mean 'scale'\? "
        "Choose from: W1"
    )
    with pytest.raises(ValueError, match=message):
        optimizer.update(params, arrays(backend, 1, kind))
    assert optimizer.step == 0
    assert_close(params, before)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"frozen": "W1"}, TypeError, r"frozen must be a collection .* such as \('W1',\), .*'W1'"),
        (
            {"decay": 0.9},
            TypeError,
            "decay must be a collection .*or a function of a name, got 0.9",
        ),
        ({"rates": ["W1"]}, TypeError, r"rates must be a mapping .* such as {'W1': 0.1}, got \["),
        ({"rates": {"W1": -1}}, ValueError, r"rates\['W1'\] must be at least 0, got -1"),
        ({"rates": {"W1": "x"}}, TypeError, r"rates\['W1'\] must be a number, got 'x'"),
    ],
)
def test_invalid_group_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Adam(**settings)


def test_repr_shows_only_groups_that_are_set():
    optimizer = AdamW(rates={"W1": 1}, frozen=["b1"])
    assert repr(optimizer).endswith("weight_decay=0.01, rates={'W1': 1.0}, frozen=('b1',))")
    optimizer.rates, optimizer.frozen = None, ()
    assert repr(optimizer) == repr(AdamW())


def test_names_are_saved_but_predicates_are_not():
    optimizer = Adam(decay=is_weight, rates={"W1": 0.5}, frozen=("b1",))
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    hyperparameters = state["hyperparameters"]
    assert hyperparameters["rates"] == {"W1": 0.5}
    assert hyperparameters["frozen"] == ("b1",)
    assert "decay" not in hyperparameters
    optimizer.rates["W1"] = 0.25
    assert hyperparameters["rates"] == {"W1": 0.5}
    assert state["functions"] == ["decay"]
    for own in (None, is_weight):
        other = Adam(decay=own, rates={"b2": 3})
        message = "its decay was a function, which it can't hold; this .* has decay=None"
        with nullcontext() if own else pytest.warns(UserWarning, match=message):
            other.load_state_dict(state)
        assert (other.rates, other.frozen, other.decay) == ({"W1": 0.5}, ("b1",), own)


def test_the_names_of_group_settings_are_reserved():
    with pytest.raises(
        TypeError, match="Own can't define the hyperparameter 'decay': every optimizer"
    ):

        class Own(Optimizer):
            decay: float = 0.9


def test_parameters_of_one_group_share_coefficients():
    names = ["W1", "b1", "W2", "b2"]
    assigned, groups = assign_groups(names, is_weight, {"b2": 0.5, "W2": 1.0}, ("W1",))
    assert assigned == [None, 0, 1, 2]
    assert groups == [Group(1.0, False), Group(1.0, True), Group(0.5, False)]
