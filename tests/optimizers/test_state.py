"""Saving and loading the state of an optimizer: training continues as if never interrupted."""

import copy
import json
import pickle

import numpy as np
import pytest
from textbook import RULES

from dlskills import (
    Adam,
    AMSGrad,
    Momentum,
    NAdam,
    Parameters,
    RMSprop,
    backend_of,
    get_backend,
    make_optimizer,
    to_host,
)
from dlskills.arrays.tensors_file import read_tensors, split_state, write_tensors
from dlskills.optimizers import OPTIMIZERS, schedules
from dlskills.optimizers.schedules import CosineDecay, Warmup

every_rule = pytest.mark.parametrize("name", RULES)
SHAPES = {"W": (3, 4), "b": (4,), "scale": (), "none": (0,)}
NUMPY = get_backend("cpu")
WITH_SLOTS = [name for name, rule in OPTIMIZERS.items() if rule.slots]


def make(name, **more):
    return make_optimizer(name, **RULES[name][1][-1] | {"clip_norm": 3.0} | more)


def as_arrays(backend, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {key: backend.asarray(rng.standard_normal(s), dtype) for key, s in SHAPES.items()}


def as_parameters(backend, seed, dtype="float64"):
    return Parameters(as_arrays(backend, seed, dtype))


def as_numbers(backend, seed, dtype="float64"):
    return {key: float(value) for key, value in zip("xyz", np.sin([seed, 2.0 * seed, 7.0]))}  # noqa: B905


def as_fortran(backend, seed, dtype="float64"):
    return {"W": np.asfortranarray(np.random.default_rng(seed).standard_normal((3, 4)))}


KINDS = {"arrays": as_arrays, "Parameters": as_parameters, "numbers": as_numbers}


def walk(optimizer, params, kind, backend, steps, dtype="float64"):
    for step in steps:
        optimizer.update(params, kind(backend, 100 + step, dtype))
    return params


def moved(params, kind, backend, dtype="float64"):
    """Return a copy of the parameters on a backend."""
    if kind is as_numbers:
        return dict(params)
    kind = Parameters if kind is as_parameters else dict
    return kind({key: backend.asarray(to_host(v).copy(), dtype) for key, v in params.items()})


def assert_equal(actual, expected, **tolerance):
    assert list(actual) == list(expected)
    for key, value in actual.items():
        compare = np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
        compare(to_host(value), to_host(expected[key]), **tolerance)


@every_rule
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resumed_training_is_bit_identical(backend, name, kind, dtype):
    first = make(name)
    params = walk(first, kind(backend, 0, dtype), kind, backend, range(4), dtype)
    state, later = first.state_dict(), moved(params, kind, backend, dtype)
    walk(first, params, kind, backend, range(4, 8), dtype)
    second = make(name)
    second.load_state_dict(state)
    assert second.step == 4
    walk(second, later, kind, backend, range(4, 8), dtype)

    assert_equal(later, params)
    assert second.step == first.step == 8
    assert_equal_states(second.state_dict(), first.state_dict())


def assert_equal_states(actual, expected):
    assert_equal(slots_of(actual), slots_of(expected))
    assert split_state(actual)[1] == split_state(expected)[1]


def slots_of(state):
    """What a state has for each slot and parameter."""
    return {name: value for name, value in state.items() if "/" in name}


@every_rule
@pytest.mark.backends("numpy")
def test_resumed_training_is_bit_identical_in_fortran_order(backend, name):
    first, second = make(name), make(name)
    params = walk(first, as_fortran(backend, 0), as_fortran, backend, range(3))
    second.load_state_dict(first.state_dict())
    later = {"W": params["W"].copy(order="K")}
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_fortran, backend, range(3, 6))

    assert_equal(later, params)


@every_rule
@pytest.mark.parametrize("kind", [as_arrays, as_parameters])
@pytest.mark.parametrize("there", [True, False], ids=["there", "and back"])
@pytest.mark.backends("strict", "torch", "cupy")
def test_a_state_moves_to_another_backend(backend, name, kind, there):
    old, new = (NUMPY, backend) if there else (backend, NUMPY)
    first, second = make(name), make(name)
    params = walk(first, kind(old, 0), kind, old, range(3))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    later = walk(second, moved(params, kind, new), kind, new, range(3, 6))
    walk(first, params, kind, old, range(3, 6))

    assert_equal(later, params, rtol=1e-12, atol=1e-14)
    for slot in second.slots:
        values = second.state[slot].values()
        assert all(backend_of(value) == new for value in values)


@pytest.mark.parametrize("name", WITH_SLOTS)
@pytest.mark.parametrize(("old", "new"), [(as_arrays, as_parameters), (as_parameters, as_arrays)])
def test_a_state_moves_between_arrays_and_parameters(backend, name, old, new):
    first, second = make(name), make(name)
    params = walk(first, old(backend, 0, "float32"), old, backend, range(3), "float32")
    second.load_state_dict(first.state_dict())
    later = moved(params, new, backend, "float32")
    walk(second, later, new, backend, range(3, 6), "float32")
    walk(first, params, old, backend, range(3, 6), "float32")

    assert_equal(later, params, rtol=1e-5, atol=1e-6)


def test_a_state_is_converted_to_the_parameters_dtype(backend):
    first, second = Adam(0.1), Adam(0.1)
    params = walk(first, as_arrays(backend, 0), as_arrays, backend, range(3))
    second.load_state_dict(first.state_dict())
    later = moved(params, as_arrays, backend, "float32")
    walk(second, later, as_arrays, backend, range(3, 6), "float32")
    walk(first, params, as_arrays, backend, range(3, 6))

    assert all(value.dtype == backend.dtype("float32") for value in later.values())
    assert_equal(later, params, rtol=1e-5, atol=1e-5)


# Contents


@every_rule
def test_a_state_is_plain_data_on_the_host(backend, name):
    optimizer = make(name)
    assert slots_of(optimizer.state_dict()) == {}
    walk(optimizer, as_parameters(backend, 0), as_parameters, backend, range(2))
    state = optimizer.state_dict()

    plain = ["optimizer", "step", "hyperparameters", "functions", "schedule"]
    slots = [f"{slot}/{key}" for slot in optimizer.slots for key in SHAPES]
    assert list(state) == plain + slots
    assert json.loads(json.dumps({name: state[name] for name in plain}))
    assert state["optimizer"] == type(optimizer).__name__
    assert state["step"] == 2
    for setting, value in RULES[name][1][-1].items():
        assert state["hyperparameters"][setting] == value
    assert state["hyperparameters"]["clip_norm"] == 3.0
    for name in slots:
        assert type(state[name]) is np.ndarray
        assert state[name].shape == SHAPES[name.split("/")[1]]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_state_is_a_copy_when_saved_and_when_loaded(backend, kind):
    first, second = Adam(0.1), Adam(0.1)
    params = walk(first, kind(backend, 0), kind, backend, range(2))
    state = first.state_dict()
    kept = copy.deepcopy(state)
    walk(first, params, kind, backend, range(2, 4))
    second.load_state_dict(state)
    walk(second, moved(params, kind, backend), kind, backend, range(2, 4))
    assert_equal_states(state, kept)
    state["hyperparameters"]["lr"] = 7.0
    for name in slots_of(state):
        state[name] = state[name] * 0 + 9.0
    assert first.lr == second.lr == 0.1
    assert not any((to_host(v) == 9).any() for v in slots_of(first.state_dict()).values())


@pytest.mark.parametrize("kind", [as_arrays, as_parameters])
@pytest.mark.backends("torch", "cupy")
def test_a_pickled_optimizer_needs_no_other_library_and_goes_on(backend, kind):
    optimizer, params = make("adam"), kind(backend, 0)
    walk(optimizer, params, kind, backend, range(3))
    pickled = pickle.dumps(optimizer)
    again = pickle.loads(pickled)
    if kind is as_arrays:  # Parameters name their device, to return to it
        assert backend.name.encode() not in pickled
    copies = kind(backend, 0)
    for key in copies:
        copies[key] = backend.asarray(to_host(params[key]).copy())
    walk(optimizer, params, kind, backend, range(3, 6))
    walk(again, copies, kind, backend, range(3, 6))
    for key in params:
        np.testing.assert_array_equal(to_host(params[key]), to_host(copies[key]))


def test_a_state_can_be_saved_before_the_first_update():
    optimizer = Adam(0.5)
    optimizer.load_state_dict(Adam(0.25, clip_value=1.0).state_dict())

    assert repr(optimizer) == repr(Adam(0.25, clip_value=1.0))
    params = {"x": 1.0}
    optimizer.update(params, {"x": 1.0})
    assert optimizer.step == 1


def test_loading_replaces_the_previous_state():
    used, fresh = Adam(0.5, beta1=0.5), Adam()
    walk(used, as_numbers(NUMPY, 0), as_numbers, NUMPY, range(5))
    used.load_state_dict(fresh.state_dict())
    assert (used.step, repr(used)) == (0, repr(fresh))
    ends = [walk(o, as_numbers(NUMPY, 3), as_numbers, NUMPY, range(3)) for o in (used, fresh)]
    assert ends[0] == ends[1]


# Schedules, and values that depend on the step


def test_schedules_are_not_saved_but_continue_from_the_loaded_step():
    schedule = Warmup(3, CosineDecay(0.1, steps=9))
    first, second = Momentum(schedule), Momentum(schedule)
    params = walk(first, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(4))
    state = first.state_dict()
    assert "lr" not in state["hyperparameters"]
    assert state["schedule"]["name"] == "Warmup"
    later = moved(params, as_arrays, NUMPY)
    second.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert second.lr == schedule(4)
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_arrays, NUMPY, range(4, 8))
    assert_equal(later, params)


def test_loading_never_replaces_a_schedule_by_a_number_or_vice_versa():
    scheduled, fixed = Momentum(lambda step: 1 / (step + 1)), Momentum(0.25)
    scheduled.load_state_dict({**fixed.state_dict(), "step": 3})
    assert scheduled.lr == 0.25 == 1 / 4
    scheduled.step = 0
    assert scheduled.lr == 1.0
    with pytest.warns(UserWarning, match=r"under a schedule, .* continues with lr=0.25. Give it"):
        fixed.load_state_dict(scheduled.state_dict())
    assert fixed.lr == 0.25


@pytest.mark.parametrize("steps_before", [0, 2, 9])
@pytest.mark.parametrize("beta1_before", [0.3, 0.8])
def test_nadams_momentum_product_is_that_of_the_loaded_step(steps_before, beta1_before):
    first = NAdam(0.1, beta1=0.8)
    params = walk(first, as_numbers(NUMPY, 0), as_numbers, NUMPY, range(5))
    second = NAdam(0.1, beta1=beta1_before)
    walk(second, as_numbers(NUMPY, 5), as_numbers, NUMPY, range(steps_before))
    second.load_state_dict(first.state_dict())
    later = dict(params)
    walk(second, later, as_numbers, NUMPY, range(5, 8))
    walk(first, params, as_numbers, NUMPY, range(5, 8))

    assert later == params


def test_hyperparameters_changed_during_training_are_saved():
    first = NAdam(0.1)
    params = walk(first, as_numbers(NUMPY, 0), as_numbers, NUMPY, range(3))
    first.beta1, first.momentum_decay, first.lr = 0.5, 0.1, 0.05
    walk(first, params, as_numbers, NUMPY, range(3, 5))
    second, later = NAdam(), dict(params)
    second.load_state_dict(first.state_dict())
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_numbers, NUMPY, range(5, 8))

    assert later == params


OURS = [
    schedules.StepDecay(0.1, every=2),
    schedules.ExponentialDecay(0.1, rate=0.5),
    schedules.InverseTimeDecay(0.1, rate=0.1, every=2, staircase=True),
    schedules.InverseSqrt(0.1, flat=2),
    schedules.Polynomial(0.1, steps=3, power=2.0, cycle=True),
    schedules.CosineRestarts(0.1, steps=2, growth=2.0),
    schedules.Linear(0.1, 0.01, steps=5),
    CosineDecay(0.1, steps=9),
    Warmup(3, CosineDecay(0.1, steps=9)),
    schedules.OneCycle(0.1, steps=10),
    schedules.Chain((2, 0.1), (3, schedules.Linear(0.1, 0.05, steps=3)), (1, Warmup(2, 0.01))),
]


@pytest.mark.parametrize("schedule", OURS, ids=lambda schedule: type(schedule).__name__)
def test_our_schedules_are_saved_by_name_and_settings(schedule):
    first, second = Momentum(schedule), Momentum(0.5)
    params = walk(first, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(4))
    state, later = json.loads(json.dumps(split_state(first.state_dict())[1])), dict(params)
    later = moved(params, as_arrays, NUMPY)
    with pytest.warns(UserWarning, match="was made under .*, which replaces lr=0.5"):
        second.load_state_dict(state | slots_of(first.state_dict()))
    assert repr(second) == repr(first)
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_arrays, NUMPY, range(4, 8))
    assert_equal(later, params)


def test_every_schedule_is_among_them():
    made = {
        value
        for value in vars(schedules).values()
        if isinstance(value, type) and issubclass(value, schedules.Described)
    }
    made.remove(schedules.Described)
    assert made == {type(schedule) for schedule in OURS} == set(schedules.SCHEDULES.values())


def test_schedules_of_any_hyperparameter_are_saved():
    first = Momentum(
        0.1, schedules.Linear(0.5, 0.9, steps=5), weight_decay=CosineDecay(0.1, steps=6)
    )
    params = walk(first, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(4))
    state = json.loads(json.dumps(split_state(first.state_dict())[1]))
    assert state["schedules"].keys() == {"momentum", "weight_decay"}
    second, later = Momentum(), moved(params, as_arrays, NUMPY)
    with pytest.warns(UserWarning, match="which replaces (momentum=0.9|weight_decay=0.0) of"):
        second.load_state_dict(state | slots_of(first.state_dict()))
    assert repr(second) == repr(first)
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_arrays, NUMPY, range(4, 8))
    assert_equal(later, params)


def test_a_function_as_a_hyperparameter_is_not_saved_but_named():
    first = Momentum(momentum=lambda step: 0.5)
    with pytest.warns(UserWarning, match="its momentum was a function, .*has momentum=0.9"):
        (second := Momentum()).load_state_dict(first.state_dict())
    assert second.momentum == 0.9
    first.load_state_dict(second.state_dict())
    assert first.momentum == 0.5


def test_a_schedule_of_something_unknown_is_refused():
    state = Momentum().state_dict()
    state["schedules"] = {"speed": {"name": "Linear", "settings": {}}}
    with pytest.raises(ValueError, match=r"schedules for \['speed'\], which are unknown"):
        Momentum().load_state_dict(state)


def test_the_slots_of_rmsprops_variants_are_loaded_with_their_settings():
    first = RMSprop(0.1, centered=True, momentum=0.5)
    params = walk(first, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(3))
    second, later = RMSprop(), moved(params, as_arrays, NUMPY)
    second.load_state_dict(first.state_dict())
    assert second.slots == ("h", "mean", "v")
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_arrays, NUMPY, range(3, 6))
    assert_equal(later, params)


def test_another_schedule_stays_with_a_warning():
    first, second = Momentum(CosineDecay(0.1, steps=9)), Momentum(CosineDecay(0.1, steps=90))
    with pytest.warns(UserWarning, match=r"steps=9, .*keeps its own, .*steps=90"):
        second.load_state_dict(first.state_dict())
    assert second.lr == 0.1


@pytest.mark.parametrize("schedule", [Warmup(3, abs), schedules.Chain((1, 0.1), (1, abs))])
def test_a_schedule_around_a_function_is_not_ours(schedule):
    assert Momentum(schedule).state_dict()["schedule"] is None


# In a file


@every_rule
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_a_file_training_goes_on_to_the_last_bit(backend, name, kind, dtype, tmp_path):
    more = {"weight_decay": 0.1, "clip_value": 0.5}
    if kind is not as_numbers:
        more |= {"rates": {"W": 0.5}, "decay": ("W",), "frozen": ("b",)}
    first, second = make(name, **more), make_optimizer(name)
    params = walk(first, kind(backend, 0, dtype), kind, backend, range(4), dtype)
    write_tensors(tmp_path / "state", *split_state(first.state_dict()))
    arrays, plain = read_tensors(tmp_path / "state")
    second.load_state_dict(plain | arrays)
    later = moved(params, kind, backend, dtype)
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, kind, backend, range(4, 8), dtype)
    assert repr(second) == repr(first)
    assert_equal(later, params)
    assert_equal_states(second.state_dict(), first.state_dict())


def test_numbers_of_numpy_stay_numbers(tmp_path):
    grads = [{"x": np.float32(0.1 * i)} for i in range(8)]
    first, second, params = Adam(0.1), Adam(0.1), {"x": np.float32(1)}
    for grad in grads[:4]:
        first.update(params, grad)
    write_tensors(tmp_path / "state", *split_state(first.state_dict()))
    arrays, plain = read_tensors(tmp_path / "state")
    second.load_state_dict(plain | arrays)
    later = dict(params)
    for grad in grads[4:]:
        first.update(params, grad)
        second.update(later, grad)
    assert later == params
    assert type(later["x"]) is type(params["x"])


def test_a_state_of_an_earlier_version_loads():
    first, second = Adam(0.5), Adam(0.1)
    params = walk(first, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(3))
    state = first.state_dict()
    slots = {s: {k: state.pop(f"{s}/{k}") for k in SHAPES} for s in first.slots}
    del state["functions"], state["schedule"]
    second.load_state_dict(state | {"slots": slots})
    later = moved(params, as_arrays, NUMPY)
    for optimizer, values in ((first, params), (second, later)):
        walk(optimizer, values, as_arrays, NUMPY, range(3, 6))
    assert_equal(later, params)


def test_names_that_are_no_strings_cannot_be_saved():
    optimizer, params = Momentum(), {0: 1.0}
    optimizer.update(params, {0: 1.0})
    with pytest.raises(TypeError, match="a parameter must have a string as its name .* got 0"):
        optimizer.state_dict()


# What is refused


def used(optimizer):
    walk(optimizer, as_arrays(NUMPY, 0), as_arrays, NUMPY, range(2))
    return optimizer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update(optimizer="AMSGrad"),
            "the state must be of the optimizer Adam, got one of AMSGrad",
        ),
        (lambda s: s.pop("step"), "the state lacks step; got"),
        (lambda s: (s.pop("step"), s.pop("optimizer")), "the state lacks optimizer, step"),
        (lambda s: [s.pop(f"v/{k}") for k in SHAPES], r"slots \['m'\]; Adam .* \['m', 'v'\]"),
        (lambda s: s.update({"u/W": 0.0}), r"slots \['m', 'v', 'u'\]; Adam has"),
        (lambda s: s.pop("v/b"), "slots m, v differ in names or shapes"),
        (lambda s: s.update({"v/b": np.zeros(3)}), "slots m, v differ in names or shapes"),
        (lambda s: s.update(momentum=1), "the state has 'momentum', which is nothing of an"),
        (lambda s: s["hyperparameters"].update(clip_norm=-1), "clip_norm must be greater than 0"),
        (lambda s: s.update(schedule={"name": "Sine"}), "a schedule of no known kind"),
        (lambda s: s.update(slots=3), "slots must be a mapping, got a int"),
        (lambda s: s["hyperparameters"].update(rho=1), r"hyperparameters \[.*'rho'\].*; Adam has"),
        (lambda s: s.update(step=-1), "step must be at least 0, got -1"),
    ],
)
def test_an_invalid_state_is_refused_and_changes_nothing(change, message):
    state = used(Adam(0.5)).state_dict()
    optimizer = used(Adam(0.1))
    before = optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)

    assert_equal_states(optimizer.state_dict(), before)


@pytest.mark.parametrize(
    "params",
    [
        {"W": np.zeros((3, 4))},
        {"W": np.zeros((4, 3)), "b": np.zeros(4), "scale": np.zeros(()), "none": np.zeros(0)},
        {"U": np.zeros((3, 4)), "b": np.zeros(4), "scale": np.zeros(()), "none": np.zeros(0)},
    ],
    ids=["too few", "another shape", "another name"],
)
@pytest.mark.parametrize("kind", [dict, Parameters])
def test_parameters_that_do_not_fit_a_loaded_state_are_refused(params, kind):
    optimizer = AMSGrad()
    optimizer.load_state_dict(used(AMSGrad()).state_dict())
    with pytest.raises(
        RuntimeError, match="the m and v and v_max of this AMSGrad belong to other parameters"
    ):
        optimizer.update(kind(params), kind(params))
    assert optimizer.step == 2
    walk(optimizer, as_arrays(NUMPY, 0), as_arrays, NUMPY, [2])
    assert optimizer.step == 3
