"""Execution plans: padding stays 0, and a plan is only reused for its own arrays."""

import contextlib
import copy
import gc
import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills import SGD, AdaGrad, Adam, Momentum, Parameters, engine, to_host
from dlskills.arrays.parameters import STEP
from dlskills.formulas import threads
from dlskills.formulas.table import Table
from dlskills.optimizers.overlap import in_disjoint_parts

every_kind = pytest.mark.parametrize("kind", [dict, Parameters])
SHAPES = {"W": (3, 4), "b": (4,), "scale": (), "none": (0,), "V": (STEP,), "c": (2,)}


def parameters(backend, value, dtype="float32"):
    made = Parameters.from_shapes(SHAPES, dtype=dtype, device=backend.device, xp=backend.xp)
    for name in made:
        made[name] += value
    return made


def padding_of(params):
    """Return the elements of the buffer between the arrays."""
    flat = to_host(params.flat)
    mask = np.ones(flat.shape, bool)
    for start, stop, _ in params.runs():
        mask[start:stop] = False
    return flat[mask]


# Padding


@pytest.mark.parametrize("kind", ["one group", "groups"])
def test_padding_stays_0_under_a_rule_that_divides_0_by_0(backend, engine_names, kind):
    for name in engine_names(backend):
        params, grads = parameters(backend, 1.0), parameters(backend, 2.0)
        optimizer = AdaGrad(lr=0.5, epsilon=0.0)
        if kind == "groups":
            optimizer.rates = {"b": 1.0}
        with engine(name):
            for _ in range(2):
                optimizer.update(params, grads)
        for entries in (params, optimizer.state["h"]):
            assert len(padding_of(entries)) == 3 * STEP - 17
            assert not padding_of(entries).any()
        assert np.isfinite(to_host(params.flat)).all()
        np.testing.assert_allclose(to_host(params["c"]), 1 - 0.5 - 0.5 / 2**0.5, rtol=1e-6)


# Reuse of plans


def arrays(backend, value, kind=dict, dtype="float32"):
    """Return a mapping of arrays filled with one number."""
    values = {key: np.full(shape, value) for key, shape in SHAPES.items()}
    return kind({key: backend.asarray(array, dtype) for key, array in values.items()})


def assert_all(params, value):
    for name, array in params.items():
        np.testing.assert_allclose(to_host(array), value, rtol=1e-6, err_msg=name)


@every_kind
@pytest.mark.parametrize("new", [False, True], ids=["the same gradients", "new ones"])
def test_tables_are_reused_from_step_to_step(backend, kind, new, monkeypatch):
    tables, make = [], Table.__init__
    monkeypatch.setattr(
        Table, "__init__", lambda table, *args: tables.append(table) or make(table, *args)
    )
    params, optimizer = arrays(backend, 0.0, kind), SGD(lr=1.0)
    grads = arrays(backend, 1.0, kind)
    for _ in range(4):
        if new:
            grads = arrays(backend, 1.0, kind)
        optimizer.update(params, grads)
    assert_all(params, -4.0)
    assert len(tables) == 1


@every_kind
def test_neither_parameters_nor_gradients_are_kept_alive(backend, engine_names, kind):
    for name in engine_names(backend):
        optimizer = Adam()
        params, grads = arrays(backend, 1.0, kind), arrays(backend, 1.0, kind)
        with engine(name):
            for _ in range(2):
                optimizer.update(params, grads)
        alive = [weakref.ref(a) for of in (params, grads) for a in of.values()]
        if kind is Parameters:
            alive += [weakref.ref(of.flat) for of in (params, grads)]
        del params, grads
        gc.collect()
        assert not any(ref() is not None for ref in alive)


def test_reset_releases_the_slots_immediately(backend):
    optimizer, params = Momentum(), arrays(backend, 1.0)
    optimizer.update(params, params)
    slot = weakref.ref(optimizer.state["v"]["W"])
    gc.disable()
    try:
        optimizer.reset()
        assert slot() is None  # without the garbage collector
    finally:
        gc.enable()


def with_the_id(wanted, size):
    """Return a new array that has the id of a dead one."""
    kept = []
    for _ in range(1000):
        kept.append(np.empty(size))
        if id(kept[-1]) == wanted:
            return kept[-1]
    pytest.skip("the id was not reused")


def test_a_gradient_with_the_id_of_a_dead_one_is_noticed():
    params, grads, optimizer = {"w": np.zeros(5000)}, {"w": np.ones(5000)}, SGD(lr=1.0)
    optimizer.update(params, grads)
    before = id(grads.pop("w"))
    grads["w"] = with_the_id(before, 5000)
    grads["w"][:] = 2.0
    optimizer.update(params, grads)
    assert (params["w"] == -3).all()
    before = id(grads.pop("w"))
    grads["w"] = with_the_id(before, 6000)
    with pytest.raises(ValueError, match=r"its parameter's shape \(5000,\), got \(6000,\)"):
        optimizer.update(params, grads)


def test_a_parameter_with_the_id_of_a_dead_one_is_noticed():
    params, grads, optimizer = {"w": np.zeros(5000)}, {"w": np.ones(5000)}, SGD(lr=1.0)
    optimizer.update(params, grads)
    before = id(params.pop("w"))
    params["w"] = with_the_id(before, 6000)
    with pytest.raises(ValueError, match=r"its parameter's shape \(6000,\), got \(5000,\)"):
        optimizer.update(params, grads)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, g: g.pop("b"), KeyError, "a gradient for each parameter; 'b' is missing"),
        (lambda p, g: g.update(b=g["W"]), ValueError, "the gradient of 'b' must have its .* shape"),
        (lambda p, g: g.update(b=1.0), ValueError, "the gradient of 'b' must have its .* shape"),
        (lambda p, g: g.update(scale=1.0), TypeError, "'scale' and the parameter must both be"),
        (lambda p, g: p.update(extra=p["b"]), KeyError, "each parameter; 'extra' is missing"),
        (lambda p, g: p.update(b=p["b"] + 0, W=g["b"]), ValueError, "the gradient of 'W' must"),
    ],
)
def test_new_arrays_are_checked(backend, change, error, message):
    params, grads = arrays(backend, 0.0), arrays(backend, 1.0)
    optimizer = SGD(lr=1.0)
    optimizer.update(params, grads)
    same = params["c"]
    change(params, grads)
    with pytest.raises(error, match=message):
        optimizer.update(params, grads)
    assert to_host(same).tolist() == [-1, -1]


def test_a_gradient_of_another_dtype_is_refused_after_the_first_update(backend):
    params, optimizer = arrays(backend, 0.0), SGD(lr=1.0)
    optimizer.update(params, arrays(backend, 1.0))
    with pytest.raises(TypeError, match="the gradient of 'W' must have its parameter's dtype"):
        optimizer.update(params, arrays(backend, 1.0, dtype="float64"))
    assert_all(params, -1.0)


def test_swapped_parameters_are_noticed(backend):
    a, b = backend.zeros((3,), "float32"), backend.zeros((3,), "float32")
    grads = {"a": a + 1, "b": b + 2}
    optimizer = SGD(lr=1.0)
    for params in ({"a": a, "b": b}, {"a": b, "b": a}, {"b": b, "a": a}):
        optimizer.update(params, grads)
    assert to_host(a).tolist() == [-4, -4, -4]
    assert to_host(b).tolist() == [-5, -5, -5]


def test_an_optimizer_without_state_may_alternate_between_mappings(backend):
    one, two, optimizer = arrays(backend, 0.0), arrays(backend, 0.0, Parameters), SGD(lr=1.0)
    for _ in range(2):
        for params in (one, two):
            optimizer.update(params, arrays(backend, 1.0))
            optimizer.update(params, arrays(backend, 1.0, Parameters))
    assert_all(one, -4.0)
    assert_all(two, -4.0)


@every_kind
def test_the_engine_may_change_between_steps(backend, engine_names, kind):
    params, optimizer = arrays(backend, 0.0, kind), SGD(lr=1.0)
    grads, steps = arrays(backend, 1.0, kind), 0
    for name in [*engine_names(backend), None, *engine_names(backend)]:
        with engine(name) if name else contextlib.nullcontext():
            optimizer.update(params, grads)
        steps += 1
    assert_all(params, -float(steps))


@every_kind
def test_copies_have_their_own_plans(backend, kind):
    params, grads = arrays(backend, 0.0, kind), arrays(backend, 1.0, kind)
    optimizer = Momentum(lr=1.0, momentum=0.0)
    optimizer.update(params, grads)
    twin, twin_params = copy.deepcopy((optimizer, params))
    twin.update(twin_params, grads)
    assert_all(params, -1.0)
    assert_all(twin_params, -2.0)


# Parameters that overlap in memory


@contextlib.contextmanager
def in_threads():
    """Split even small arrays across threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE_FROM", 2)
        patch.setattr(threads, "SHARE", 16)
        yield


@in_threads()
def test_an_array_under_two_names_is_updated_twice(backend, engine_names):
    for name in engine_names(backend):
        w, other = (backend.zeros((1000,), "float64") for _ in "12")
        params = {"a": w, "b": other, "c": w}
        grads = {key: backend.zeros((1000,), "float64") + i for i, key in enumerate("abc", 1)}
        optimizer = Momentum(lr=1.0, momentum=0.5)
        with engine(name):
            for _ in range(2):
                optimizer.update(params, grads)
        assert (to_host(w) == -(1 + 3) - 1.5 * (1 + 3)).all()
        assert (to_host(other) == -2 - 3).all()


@pytest.mark.backends("numpy", "torch", "cupy")
@in_threads()
def test_overlapping_views_are_updated_one_after_another(backend, engine_names):
    for name in engine_names(backend):
        w = backend.zeros((3000,), "float64")
        params = {"a": w[:2000], "b": w[1000:]}
        grads = {key: backend.zeros((2000,), "float64") + 1 for key in params}
        with engine(name):
            for _ in range(2):
                SGD(lr=1.0).update(params, grads)
        assert to_host(w).tolist() == [-2] * 1000 + [-4] * 1000 + [-2] * 1000


@in_threads()
def test_gradients_that_are_other_parameters_are_read_in_order(backend, engine_names):
    for name in engine_names(backend):
        a, b = backend.zeros((2000,), "float64") + 1, backend.zeros((2000,), "float64") + 2
        optimizer = SGD(lr=1.0)
        with engine(name):
            optimizer.update({"a": a, "b": b}, {"a": 0 * a, "b": 0 * b})
            for _ in range(2):
                optimizer.update({"a": a, "b": b}, {"a": b, "b": a})
        # a = 1 - 2, b = 2 - (-1); a = -1 - 3, b = 3 - (-4)
        assert set(to_host(a).tolist()) == {-4.0}
        assert set(to_host(b).tolist()) == {7.0}


spans = st.tuples(st.integers(0, 40), st.integers(0, 8))


@given(st.lists(st.tuples(spans, spans), max_size=8), st.integers(1, 3))
def test_parts_are_disjoint_in_order_and_no_more_than_needed(pairs, stride):
    memory = np.zeros(60)
    cut = lambda span: memory[span[0] : span[0] + span[1] * stride : stride]  # noqa: E731
    params, grads = [cut(p) for p, _ in pairs], [cut(g) for _, g in pairs]
    parts = in_disjoint_parts(range(len(pairs)), params, grads)

    def clash(i, j):
        pairs = (params[i], params[j]), (params[i], grads[j]), (grads[i], params[j])
        return any(np.may_share_memory(a, b) for a, b in pairs)  # compares bounds only

    assert [i for part in parts for i in part] == list(range(len(pairs)))
    for part in parts:
        assert not any(clash(i, j) for i in part for j in part if i < j)
    for first, second in itertools.pairwise(parts):
        assert any(clash(i, second[0]) for i in first)
