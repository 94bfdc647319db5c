"""Properties of every optimizer: formula, accepted and refused arguments, state."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from textbook import CASES, RULES, reference, trajectory

import dlskills
from dlskills import (
    SGD,
    Adam,
    AMSGrad,
    MultiLayerNet,
    Optimizer,
    Parameters,
    backend_of,
    make_optimizer,
    optimizers,
    to_host,
)
from dlskills.optimizers import OPTIMIZERS, schedules

SHAPES = {"W": (3, 4), "b": (4,), "scale": (), "none": (0,), "empty": (2, 0)}
ELSEWHERE = pytest.mark.backends("strict", "torch", "cupy")
every_rule = pytest.mark.parametrize("name", RULES)
WITH_SLOTS = [name for name, rule in OPTIMIZERS.items() if rule.slots]


def make(name):
    return make_optimizer(name, **RULES[name][1][-1])


def arrays(backend, seed, dtype="float64", shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {
        name: backend.asarray(np.asarray(rng.standard_normal(shape)), dtype)
        for name, shape in shapes.items()
    }


def hosts(params):
    return {name: to_host(value).copy() for name, value in params.items()}


def assert_same(actual, expected, rtol=1e-12):
    actual, expected = hosts(actual), hosts(expected)
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], rtol=rtol, atol=1e-12, err_msg=name)


def walk(optimizer, params, backend, steps=4, first=0, dtype="float64"):
    for step in range(first, first + steps):
        optimizer.update(params, arrays(backend, 100 + step, dtype))
    return params


# The formulas


def test_every_optimizer_is_registered_and_has_a_reference():
    public = {
        value
        for module in (dlskills, optimizers)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
    }
    assert public == set(OPTIMIZERS.values())
    assert set(RULES) == set(OPTIMIZERS)
    assert {name: rule.__name__.lower() for name, rule in OPTIMIZERS.items()} == {
        name: name for name in RULES
    }


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda value: str(value))
def test_updates_agree_with_the_reference(backend, name, settings):
    actual = trajectory(make_optimizer(name, **settings), backend)

    np.testing.assert_allclose(actual, reference(name, **settings), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("SGD", "lr=0.01"),
        ("Momentum", "lr=0.01, momentum=0.9"),
        ("Nesterov", "lr=0.01, momentum=0.9"),
        ("AdaGrad", "lr=0.01, epsilon=1e-07"),
        ("RMSprop", "lr=0.01, decay_rate=0.99, epsilon=1e-07"),
        ("Adam", "lr=0.001, beta1=0.9, beta2=0.999, epsilon=1e-07, epsilon_mode='tutorial'"),
    ],
)
def test_names_and_defaults_are_the_tutorials(rule, settings):
    assert repr(getattr(dlskills, rule)()) == f"{rule}({settings})"


def test_the_tutorials_script_of_four_optimizers():
    """Minimize x**2 / 20 + y**2 from (-7, 2) with Python floats; the end points are known."""

    def df(x, y):
        return x / 10.0, 2.0 * y

    ends = {}
    params, grads = {}, {"x": 0, "y": 0}
    for optimizer in (
        dlskills.SGD(lr=0.95),
        dlskills.Momentum(lr=0.1),
        dlskills.AdaGrad(lr=1.5),
        dlskills.Adam(lr=0.3),
    ):
        params["x"], params["y"] = -7.0, 2.0
        for _ in range(30):
            grads["x"], grads["y"] = df(params["x"], params["y"])
            optimizer.update(params, grads)
        assert {type(value) for value in params.values()} == {float}
        ends[type(optimizer).__name__] = params["x"], params["y"]

    assert ends["SGD"] == pytest.approx((-7 * 0.905**30, 2 * (-0.9) ** 30))
    assert ends["Momentum"] == pytest.approx(momentum_by_hand(), rel=1e-9)
    for name in ("AdaGrad", "Adam"):
        assert np.hypot(*ends[name]) < 1.5


def momentum_by_hand():
    x, y, u, v = -7.0, 2.0, 0.0, 0.0
    for _ in range(30):
        u, v = 0.9 * u - 0.1 * x / 10, 0.9 * v - 0.1 * 2 * y
        x, y = x + u, y + v
    return x, y


# Accepted arguments


@every_rule
def test_arrays_in_a_mapping_are_changed_in_place(backend, name):
    params, optimizer = arrays(backend, 0), make(name)
    before = dict(params)
    values = hosts(params)
    for step in range(3):
        grads = arrays(backend, 1 + step)
        given_grads = hosts(grads)
        optimizer.update(params, grads)
        assert_same(grads, given_grads, rtol=0)
    assert all(params[key] is array for key, array in before.items())
    assert (to_host(params["W"]) != values["W"]).all()
    assert to_host(params["scale"]) != values["scale"]


@every_rule
@pytest.mark.parametrize("paired", [True, False], ids=["flat", "by name"])
def test_parameters_and_a_plain_mapping_give_the_same_result(backend, name, paired):
    expected = walk(make(name), arrays(backend, 0), backend)
    params, optimizer = Parameters(arrays(backend, 0)), make(name)
    flat, views = params.flat, dict(params)
    for step in range(4):
        grads = arrays(backend, 100 + step)
        optimizer.update(params, Parameters(grads) if paired else grads)

    assert_same(params, expected)
    assert params.flat is flat
    assert all(params[key] is view for key, view in views.items())
    params.flat[...] = 0.0
    assert not to_host(params["W"]).any()


@every_rule
def test_views_are_updated_in_the_array_they_belong_to(backend, name):
    if backend.name == "strict":
        pytest.skip("the standard does not promise views")
    owner = backend.asarray(np.arange(12.0).reshape(3, 4), "float64")
    params = {"middle": owner[1, 1:3]}
    make(name).update(params, {"middle": backend.asarray([1.0, -1.0], "float64")})

    changed = to_host(owner) != np.arange(12.0).reshape(3, 4)
    assert np.argwhere(changed).tolist() == [[1, 1], [1, 2]]


@every_rule
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_device_are_preserved(backend, name, dtype):
    for params in (arrays(backend, 0, dtype), Parameters(arrays(backend, 0, dtype))):
        optimizer = make(name)
        walk(optimizer, params, backend, 2, dtype=dtype)
        slots = [optimizer._state.slots[slot] for slot in optimizer.slots]
        for array in (value for mapping in (params, *slots) for value in mapping.values()):
            assert array.dtype == backend.dtype(dtype)
            assert backend_of(array) == backend


@every_rule
def test_float32_agrees_with_float64_up_to_rounding(backend, name):
    expected = walk(make(name), arrays(backend, 0), backend)
    actual = walk(make(name), arrays(backend, 0, "float32"), backend, dtype="float32")
    for key, value in hosts(actual).items():
        np.testing.assert_allclose(value, hosts(expected)[key], rtol=1e-4, atol=1e-4)


@every_rule
@pytest.mark.parametrize(
    "number", [float, np.float64, np.float32, np.asarray], ids=lambda kind: kind.__name__
)
def test_numbers_are_updated_like_arrays(name, number):
    starts, steps = [2.0, -3.0], [[0.5, 1.0], [0.25, -4.0], [0.0, 1.0]]
    array = {"w": np.asarray(starts)}
    numbers = {key: number(start) for key, start in zip("ab", starts, strict=True)}
    one, two = make(name), make(name)
    for step in steps:
        one.update(array, {"w": np.asarray(step)})
        grads = {key: number(value) for key, value in zip("ab", step, strict=True)}
        two.update(numbers, grads)

    rtol = 1e-5 if number is np.float32 else 1e-12
    np.testing.assert_allclose([numbers["a"], numbers["b"]], array["w"], rtol=rtol)
    if number is not np.asarray:
        assert isinstance(numbers["a"], np.float32 if number is np.float32 else float)


@every_rule
def test_integers_become_floats(name):
    whole, real = {"x": 3, "y": np.int64(-2)}, {"x": 3.0, "y": -2.0}
    one, two = make(name), make(name)
    for _ in range(3):
        one.update(whole, {"x": 1, "y": 0})
        two.update(real, {"x": 1.0, "y": 0.0})

    assert whole == pytest.approx(real)
    assert type(whole["x"]) is float


@every_rule
def test_an_empty_mapping_is_accepted(backend, name):
    make(name).update({}, {})
    nothing = Parameters.from_shapes({}, device=backend.device, xp=backend.xp)
    make(name).update(nothing, nothing.zeros_like())


dimensions = st.dictionaries(
    st.sampled_from("abcd"), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    min_size=1,
)  # fmt: skip


@every_rule
@given(shapes=dimensions, dtype=st.sampled_from(["float32", "float64"]), data=st.data())
def test_flat_and_by_name_agree_for_all_shapes_and_settings(backend, name, shapes, dtype, data):
    settings = {
        field: data.draw(st.floats(1e-6, 0.99), label=field)
        for field, value in RULES[name][1][-1].items()
        if isinstance(value, float)
    }
    by_name, flat = make_optimizer(name, **settings), make_optimizer(name, **settings)
    params = arrays(backend, 0, dtype, shapes)
    whole = Parameters(params)
    for step in range(2):
        grads = arrays(backend, 1 + step, dtype, shapes)
        by_name.update(params, grads)
        flat.update(whole, Parameters(grads))

    assert whole.dtype == backend.dtype(dtype)
    for key, array in params.items():
        assert array.dtype == backend.dtype(dtype)
        np.testing.assert_allclose(to_host(array), to_host(whole[key]), rtol=1e-4, atol=1e-5)


# Hyperparameters


@every_rule
def test_hyperparameters_may_change_between_updates(name):
    params, twin = {"x": 1.0}, {"x": 1.0}
    changed, still = make(name), make(name)
    for optimizer, values in ((changed, params), (still, twin)):
        optimizer.update(values, {"x": 0.5})
    changed.lr = 0
    before = params["x"]
    changed.update(params, {"x": 0.5})
    still.update(twin, {"x": 0.5})
    velocity = name in ("momentum", "nesterov")  # which keeps moving at a learning rate of 0

    assert (params["x"] == before) is not (velocity and changed.momentum > 0)
    assert twin["x"] != params["x"]
    changed.lr = np.float32(0.1)  # such as computed with NumPy
    changed.update(params, {"x": 0.5})
    assert type(params["x"]) is float


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        ("sgd", {"lr": -0.1}, "lr must be at least 0, got -0.1"),
        ("sgd", {"lr": float("nan")}, "lr must be finite and at least 0, got nan"),
        ("momentum", {"momentum": 1}, "momentum must be at least 0 and less than 1, got 1"),
        ("nesterov", {"momentum": -1}, "momentum must be at least 0 and less than 1, got -1"),
        ("rmsprop", {"decay_rate": 1.5}, "decay_rate must be at least 0 and less than 1"),
        ("adadelta", {"rho": 1}, "rho must be at least 0 and less than 1"),
        ("adam", {"beta1": 1.0}, "beta1 must be at least 0 and less than 1, got 1.0"),
        ("adam", {"beta2": 1.0}, "beta2 must be at least 0 and less than 1, got 1.0"),
        ("nadam", {"beta2": 1.0}, "beta2 must be at least 0 and less than 1, got 1.0"),
        ("lion", {"beta1": -1e-9}, "beta1 must be at least 0 and less than 1"),
        ("adagrad", {"epsilon": -1e-7}, "epsilon must be at least 0, got -1e-07"),
        ("adamw", {"weight_decay": -1}, "weight_decay must be at least 0, got -1"),
        ("nadam", {"momentum_decay": -1}, "momentum_decay must be at least 0, got -1"),
        ("amsgrad", {"epsilon_mode": "book"}, "epsilon_mode 'book' is not known"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(rule, settings, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(rule, **settings)


def test_hyperparameters_are_checked_whenever_they_are_set():
    optimizer = Adam()
    with pytest.raises(ValueError, match="beta1 must be at least 0 and less than 1, got 1.5"):
        optimizer.beta1 = 1.5
    with pytest.raises(TypeError, match="clip_norm must be a number, got 'one'"):
        optimizer.clip_norm = "one"
    optimizer.clip_norm = None

    assert repr(optimizer) == repr(Adam())


@pytest.mark.parametrize("lr", ["0.1", None, True, [0.1]])
def test_a_learning_rate_that_is_not_a_number_is_refused(lr):
    with pytest.raises(TypeError, match="lr must be a number.*, got"):
        SGD(lr)


@pytest.mark.parametrize("spelled", ["Adam", "adam", "ADAM", " adam "])
def test_make_optimizer_ignores_case_and_spaces(spelled):
    assert repr(make_optimizer(spelled, lr=0.5)) == repr(Adam(lr=0.5))


def test_an_unknown_name_is_refused_with_a_suggestion():
    message = r"optimizer 'rmsporp' is not known; did you mean 'rmsprop'\? Choose from: 'sgd', 'mom"
    with pytest.raises(ValueError, match=message):
        make_optimizer("rmsporp")


@pytest.mark.parametrize("spelled", ["rmsprpo", " RMSprpo"])
def test_the_tutorials_misspelling_is_accepted_with_a_warning(spelled):
    with pytest.warns(DeprecationWarning, match="'rmsprpo' is read as 'rmsprop'"):
        assert repr(make_optimizer(spelled, lr=0.5)) == repr(make_optimizer("rmsprop", lr=0.5))


def test_an_unknown_hyperparameter_is_refused_with_the_known_ones():
    message = r"^Momentum has no argument 'beta'.* It takes: lr, momentum, weight_decay, "
    with pytest.raises(TypeError, match=message):
        make_optimizer("momentum", beta=0.9)


# Refused arguments: nothing is changed


def refused(params, grads, error, message, rule=Adam):
    before = {key: copy.deepcopy(value) for key, value in params.items()}
    optimizer = rule()
    with pytest.raises(error, match=message):
        optimizer.update(params, grads)
    assert optimizer.step == 0
    for key, value in params.items():
        np.testing.assert_array_equal(to_host(value), to_host(before[key]))


def test_a_missing_gradient_is_named(backend):
    params, grads = arrays(backend, 0), arrays(backend, 1)
    del grads["b"]
    message = "must have a gradient for each parameter; 'b' is missing, got: W, scale, none, empty"
    refused(params, grads, KeyError, message)
    refused(Parameters(params), grads, KeyError, "'b' is missing")


@pytest.mark.parametrize("shape", [(4, 3), (1, 4), (4,), (), (3, 4, 1)])
def test_a_gradient_of_another_shape_is_refused(backend, shape):
    params = arrays(backend, 0)
    grads = arrays(backend, 1) | {"W": backend.zeros(shape, "float64")}
    message = r"the gradient of 'W' must have its parameter's shape \(3, 4\), got \(.*\)"
    refused(params, grads, ValueError, message)
    refused(Parameters(params), grads, ValueError, message)
    refused(Parameters(params), Parameters(grads), ValueError, message)


def test_a_gradient_of_another_dtype_is_refused(backend):
    params, grads = arrays(backend, 0, "float32"), arrays(backend, 1, "float64")
    message = "gradient of 'W' must have its parameter's dtype .*float32, got .*float64. Convert"
    refused(params, grads, TypeError, message)
    refused(Parameters(params), Parameters(grads), TypeError, message)


@ELSEWHERE
def test_a_gradient_from_another_library_is_refused(backend):
    params = arrays(backend, 0)
    message = "the gradient of 'W' must be on its parameter's device .*, got .*. Move one of them"
    refused(params, hosts(params), TypeError, message)
    refused(hosts(params), params, TypeError, message)
    refused(Parameters(params), Parameters(hosts(params)), TypeError, message)


@pytest.mark.backends("strict")
def test_a_gradient_on_another_device_is_refused(backend):
    params, grads = {"w": backend.zeros((2,), "float64")}, {"w": backend.xp.zeros(2)}
    refused(
        params, grads, TypeError, "must be on its parameter's device .*device1.*, got .*CPU_DEVICE"
    )


def test_read_only_arrays_are_refused():
    params = {"w": np.zeros(3)}
    params["w"].flags.writeable = False
    message = "parameter 'w' is a read-only array. Pass a copy"
    refused(params, {"w": np.ones(3)}, ValueError, message)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integer_and_boolean_arrays_are_refused(backend, dtype):
    params = {"w": backend.asarray([0, 1], dtype)}
    refused(params, params, TypeError, "parameter 'w' must have a floating-point dtype, got")


@pytest.mark.parametrize("wrong", [[1.0, 2.0], "w", None, True])
def test_values_that_are_neither_numbers_nor_arrays_are_refused(wrong):
    with pytest.raises((TypeError, ValueError), match=r"shape|expected an array|number|is None"):
        SGD().update({"w": wrong}, {"w": wrong})
    with pytest.raises((TypeError, ValueError), match=r"shape|expected an array|number|is None"):
        SGD().update({"w": 1.0}, {"w": wrong})


def test_a_number_with_an_array_as_its_gradient_is_refused(backend):
    array = backend.asarray(1.0, "float64")
    kind = type(array).__name__
    for params, grads, kinds in (
        (1.0, array, f"a gradient of type {kind} and a parameter of type float"),
        (array, 1.0, f"a gradient of type float and a parameter of type {kind}"),
    ):
        message = f"'w' and the parameter must both be numbers or both be arrays, got {kinds}"
        refused({"w": params}, {"w": grads}, TypeError, message)


def test_a_learning_rate_without_an_annotation_is_refused():
    with pytest.raises(TypeError, match=r"Own.lr must be annotated .*: lr: float = 0.1$"):

        class Own(Optimizer):
            lr = 0.1


# Ownership of the state


@pytest.mark.parametrize("name", WITH_SLOTS)
@pytest.mark.parametrize("kind", [Parameters, dict])
def test_an_optimizer_with_state_belongs_to_its_parameters(backend, name, kind):
    mine, other = kind(arrays(backend, 0)), kind(arrays(backend, 0))
    grads = kind(arrays(backend, 1))
    optimizer = make(name)
    optimizer.update(mine, grads)
    slots = " and ".join(optimizer.slots)
    with pytest.raises(
        RuntimeError, match=f"the {slots} of this .* belong to other parameters.*call reset"
    ):
        optimizer.update(other, grads)
    optimizer.update(mine, grads)
    assert optimizer.step == 2
    optimizer.reset()
    optimizer.update(other, grads)
    assert optimizer.step == 1


def test_parameters_with_other_names_are_refused(backend):
    optimizer = Adam()
    params = arrays(backend, 0)
    optimizer.update(params, arrays(backend, 1))
    params["V"] = backend.zeros((2,), "float64")
    with pytest.raises(RuntimeError, match=r"no m and v for 'V', added after .* reset\(\)"):
        optimizer.update(params, params)
    del params["V"]
    params["U"] = params.pop(next(iter(params)))
    with pytest.raises(RuntimeError, match="the m and v of this Adam belong to other parameters"):
        optimizer.update(params, params)


@pytest.mark.parametrize("name", WITH_SLOTS)
def test_the_state_of_numbers_belongs_to_their_mapping(name):
    optimizer = make(name)
    params = {"x": -7.0, "y": 2.0}
    optimizer.update(params, {"x": 1.0, "y": 1.0})
    with pytest.raises(RuntimeError, match="belong to other parameters"):
        optimizer.update({"x": -7.0, "y": 2.0}, {"x": 1.0, "y": 1.0})
    params["x"] = 3.0  # changed between updates
    optimizer.update(params, {"x": 1.0, "y": 1.0})
    optimizer.update(dict(params), {"x": 1.0, "y": 1.0})  # the same numbers, in a new dict
    assert optimizer.step == 3


@pytest.mark.parametrize("kind", [Parameters, dict])
def test_prepare_allocates_the_state_before_the_first_update(backend, kind):
    params, grads = kind(arrays(backend, 0)), kind(arrays(backend, 1))
    expected = kind(arrays(backend, 0))
    Adam().update(expected, grads)
    optimizer = Adam()
    optimizer.prepare(params)
    slots = [name for name in optimizer.state_dict() if "/" in name]
    assert slots == [f"{slot}/{name}" for slot in "mv" for name in SHAPES]
    assert optimizer.step == 0
    with pytest.raises(RuntimeError, match="belong to other parameters"):
        optimizer.update(kind(arrays(backend, 0)), grads)
    optimizer.update(params, grads)
    assert_same(params, hosts(expected))


def test_networks_of_equal_layout_are_distinguished():
    one, two = (MultiLayerNet(3, [4], 2, seed=seed) for seed in (0, 1))
    optimizer = Adam()
    optimizer.update(one.params, one.grads)
    with pytest.raises(RuntimeError, match="Create one optimizer per network"):
        optimizer.update(two.params, two.grads)


def test_sgd_may_be_shared_between_networks(backend):
    optimizer = SGD(lr=1.0)
    for shapes in (SHAPES, {"w": (2,)}):
        params, grads = arrays(backend, 0, shapes=shapes), arrays(backend, 1, shapes=shapes)
        expected = {key: to_host(params[key]) - to_host(grads[key]) for key in shapes}
        optimizer.update(params, grads)
        assert_same(params, expected)
    assert optimizer.step == 2


@pytest.mark.parametrize("name", WITH_SLOTS)
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "gone"])
def test_a_loop_over_folds_with_one_optimizer_is_refused(backend, name, keep):
    optimizer, kept = make(name), []

    def train(fold):
        params = arrays(backend, fold)  # fresh
        kept.append(params if keep else None)
        walk(optimizer, params, backend, 2)

    train(0)
    with pytest.raises(RuntimeError, match="belong to other parameters. .* or call reset"):
        train(1)
    assert optimizer.step == 2
    optimizer.reset()
    train(1)
    assert optimizer.step == 2


@pytest.mark.parametrize(
    "options",
    [{"lr": schedules.CosineDecay(0.1, steps=10)}, {"clip_value": schedules.Linear(1, 2, 10)}],
)
@pytest.mark.parametrize("kind", [Parameters, dict])
def test_a_schedule_is_not_carried_into_another_run(backend, options, kind):
    # SGD has no slots; its schedule would continue the count of the first run
    optimizer, params = SGD(**options), kind(arrays(backend, 0))
    walk(optimizer, params, backend, 2)
    message = "step count of this SGD, which its schedule follows, belongs to other parameters"
    with pytest.raises(RuntimeError, match=message):
        walk(optimizer, kind(arrays(backend, 1)), backend, 1)
    walk(optimizer, params, backend, 1)
    optimizer.reset()
    walk(optimizer, kind(arrays(backend, 1)), backend, 1)


def test_parameters_may_join_under_a_schedule():
    optimizer = SGD(lr=schedules.CosineDecay(0.1, steps=10))
    params = {"a": np.ones(3)}
    optimizer.update(params, {"a": np.ones(3)})
    params["b"] = np.ones(2)
    optimizer.update(params, {"a": np.ones(3), "b": np.ones(2)})
    with pytest.raises(RuntimeError, match="belongs to other parameters"):
        optimizer.update({"a": np.ones(3), "b": np.ones(2)}, {"a": np.ones(3), "b": np.ones(2)})


def test_a_loop_over_folds_of_plain_numbers_is_refused():
    optimizer = Adam()
    for _ in range(2):
        optimizer.update(params := {"x": 1.0, "y": 2.0}, {"x": 1.0, "y": 1.0})
        if optimizer.step == 1:
            first = dict(params)
            with pytest.raises(RuntimeError, match="belong to other parameters"):
                optimizer.update({"x": 1.0, "y": 2.0}, {"x": 1.0, "y": 1.0})
            optimizer.reset()
    assert params == first


def test_values_written_in_place_keep_the_state(backend):
    optimizer = Adam()
    expected = walk(Adam(), arrays(backend, 0), backend, 4)
    params = walk(optimizer, arrays(backend, 0), backend, 2)
    values = hosts(params)
    for key, array in params.items():
        array[...] = backend.asarray(values[key])

    assert_same(walk(optimizer, params, backend, 2, first=2), expected)


def test_replacing_one_array_keeps_the_state(backend):
    optimizer, params = Adam(), arrays(backend, 0)
    walk(optimizer, params, backend, 2)
    params["W"] = params["W"] + 1.0
    walk(optimizer, params, backend, 1)
    assert optimizer.step == 3


@every_rule
@pytest.mark.parametrize("kind", [Parameters, dict])
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_made_during_training_continues_identically(backend, name, kind, duplicate):
    optimizer, params = make(name), kind(arrays(backend, 0))
    walk(optimizer, params, backend, 3)
    twin, twin_params = duplicate((optimizer, params))
    walk(optimizer, params, backend, 3, first=3)
    assert twin.step == 3
    walk(twin, twin_params, backend, 3, first=3)

    assert repr(twin) == repr(optimizer)
    for key, value in hosts(params).items():
        np.testing.assert_array_equal(to_host(twin_params[key]), value)


def test_a_failed_update_does_not_count(backend):
    optimizer = Adam()
    params = arrays(backend, 0)
    walk(optimizer, params, backend, 1)
    with pytest.raises(KeyError):
        optimizer.update(params, {})
    assert optimizer.step == 1


# Custom rules


class InPlace(Optimizer):
    lr: float = 0.01
    momentum: float = 0.9
    slots = ("v",)

    def coefficients(self, step):
        return self.lr / step, self.momentum

    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr, momentum):
            v *= momentum
            v += grad
            param -= lr * xp.sign(v)
            return param, v

        return update


class Pure(InPlace):
    @staticmethod
    def rule(xp):
        def update(param, grad, v, lr, momentum):
            velocity = momentum * v + grad
            return param - lr * xp.sign(velocity), velocity

        return update


class NoSlots(Optimizer):
    rate: float

    def coefficients(self, step):
        return (self.rate,)

    @staticmethod
    def rule(xp):
        return lambda param, grad, rate: param - rate * grad


@pytest.mark.parametrize("rule", [InPlace, Pure])
@pytest.mark.parametrize("kind", [Parameters, dict])
def test_a_custom_rule_updates_arrays_and_numbers(backend, rule, kind):
    params = kind(arrays(backend, 0))
    before, W, v = params["W"], to_host(params["W"]).copy(), 0
    walk(rule(lr=0.5), params, backend)
    for step in range(4):
        v = 0.9 * v + to_host(arrays(backend, 100 + step)["W"])
        W = W - 0.5 / (step + 1) * np.sign(v)

    np.testing.assert_allclose(to_host(params["W"]), W, rtol=1e-12)
    assert params["W"] is before
    number = {"x": 1.0}
    rule(lr=0.5).update(number, {"x": 3.0})
    assert number == {"x": 0.5}


def test_a_custom_rule_may_be_a_single_expression(backend):
    params, grads = arrays(backend, 0), arrays(backend, 1)
    expected = {key: to_host(params[key]) - 0.5 * to_host(grads[key]) for key in params}
    NoSlots(0.5).update(params, grads)

    assert_same(params, expected)
    with pytest.raises(TypeError, match="rate must be a number"):
        NoSlots("fast")


def test_an_optimizer_must_define_rule_and_coefficients():
    with pytest.raises(NotImplementedError, match=r"Optimizer must define coefficients\(step\)"):
        Optimizer().coefficients(1)
    with pytest.raises(NotImplementedError, match=r"must define rule\(xp\)"):
        Optimizer.rule(np)


def test_slots_are_updated_in_place_even_by_a_pure_rule(backend):
    optimizer, params = AMSGrad(), arrays(backend, 0)
    walk(optimizer, params, backend, 1)
    arrays_before = {slot: optimizer._state.slots[slot]["W"] for slot in optimizer.slots}
    walk(optimizer, params, backend, 1, first=1)

    assert all(optimizer._state.slots[slot]["W"] is a for slot, a in arrays_before.items())


# Mistakes in custom rules


def rule_that(update):
    """Return an optimizer with this function as its rule."""

    class Own(Optimizer):
        lr: float = 0.5

        def coefficients(self, step):
            return self.lr  # a single number is accepted

        @staticmethod
        def rule(xp):
            return lambda param, grad, lr: update(xp, param, grad, lr)

    return Own()


def test_a_rule_must_return_what_it_updates():
    def forgetful(xp, param, grad, lr):
        param -= lr * grad

    for params in ({"w": np.ones(3)}, {"w": 1.0}):
        with pytest.raises(TypeError, match=r"must return \(param, \*slots\), 1 in all.* nothing"):
            rule_that(forgetful).update(params, {"w": params["w"]})


def test_rule_must_be_static_and_slots_a_tuple():
    with pytest.raises(TypeError, match=r"Bad.rule must be a @staticmethod"):

        class Bad(Optimizer):
            def rule(self, xp): ...

    with pytest.raises(TypeError, match=r"slots must be a tuple of names, such as \('v',\)"):

        class AlsoBad(Optimizer):
            slots = "v"


def test_the_state_is_not_reused_for_the_next_network():
    optimizer = Adam()
    for seed in range(2):  # the first network no longer exists when the second is created
        params = Parameters({"w": np.full(3, float(seed))})
        if seed == 0:
            optimizer.update(params, params.zeros_like())
            continue
        with pytest.raises(
            RuntimeError, match="the m and v of this Adam belong to other parameters"
        ):
            optimizer.update(params, params.zeros_like())


# Missing gradients, and parameters whose elements share memory


@pytest.mark.parametrize("optimizer", [SGD, Adam, lambda: Adam(clip_norm=1.0)])
def test_a_gradient_that_is_none_is_refused(backend, optimizer):
    for params in ({"w": 1.0}, {"w": backend.asarray([1.0, 2.0], "float32")}):
        with pytest.raises(TypeError, match="^the gradient of 'w' is None. Compute it before the"):
            optimizer().update(params, {"w": None})
    params = {"w": backend.asarray([1.0, 2.0], "float32")}
    known = optimizer()
    known.update(params, {"w": params["w"] * 1})
    with pytest.raises(TypeError, match="^the gradient of 'w' is None"):
        known.update(params, {"w": None})
    assert known.step == 1


@pytest.mark.backends("numpy", "torch", "cupy")
def test_a_parameter_whose_elements_share_memory_is_refused(backend):
    if backend.name == "numpy":
        array = np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))
    else:
        array = backend.xp.broadcast_to(backend.zeros((1,), "float64"), (3,))
    for optimizer in (SGD(), Adam()):
        with pytest.raises(ValueError, match="parameter 'w' has elements that share memory. Pass"):
            optimizer.update({"w": array}, {"w": backend.zeros((3,), "float64")})
        optimizer.update({"w": backend.zeros((3,), "float64")}, {"w": array})  # read only


@pytest.mark.parametrize(
    ("rule", "keyword", "remedy"),
    [
        (SGD, "learning_rate", "lr=..."),
        (SGD, "momentum", r"Momentum\(lr=..., momentum=...\)"),
        (Adam, "betas", "beta1=..., beta2=..."),
        (Adam, "eps", "epsilon=..."),
        (Adam, "params", r"update\(params, grads\)"),
        (AMSGrad, "max_norm", "clip_norm=..."),
    ],
)
def test_keywords_of_other_libraries_are_refused_with_the_name_used_here(rule, keyword, remedy):
    for make in (rule, lambda **given: make_optimizer(rule.__name__, **given)):
        with pytest.raises(TypeError, match=f"^{rule.__name__} has no argument .* Write {remedy}"):
            make(**{keyword: 0.5})


def test_parameters_passed_to_the_constructor_are_refused():
    # Python's own error would be about two values for lr
    with pytest.raises(TypeError, match=r"Parameters are passed at each update: update\(params, g"):
        Adam(iter([np.zeros(3)]), lr=0.1)
    with pytest.raises(TypeError, match="Parameters are passed at each update"):
        SGD([np.zeros(3)], 0.1)
    with pytest.raises(TypeError, match="got a MultiLayerNet. Parameters are passed at each"):
        Adam(MultiLayerNet(3, [4], 2))


def test_custom_optimizers_get_the_same_error_messages():
    class Own(Optimizer):
        lr: float = 0.1
        sharpness: float = 2.0

        def coefficients(self, step):
            return (self.lr,)

        @staticmethod
        def rule(xp):
            return lambda param, grad, lr: param

    assert Own(sharpness=3.0).sharpness == 3.0
    with pytest.raises(TypeError, match="Own has no argument 'sharpnes'; did you mean 'sharpness'"):
        Own(sharpnes=3.0)
