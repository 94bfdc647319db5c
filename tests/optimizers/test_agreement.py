"""Every engine agrees with the `plain` engine in float64 on NumPy."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from textbook import RULES

from dlskills import Optimizer, Parameters, engine, get_backend, make_optimizer, to_host
from dlskills.formulas import threads
from dlskills.formulas.engines import blocked

NUMPY = get_backend("cpu")
MODIFIERS = {
    "weight_decay": 0.1, "grad_scale": -0.5, "clip_value": 0.6, "clip_norm": 2.0,
    "bounds": (-1.5, 1.25), "max_weight_norm": 2.0,
}  # fmt: skip
every_rule = pytest.mark.parametrize("name", RULES)


@contextlib.contextmanager
def small_blocks():
    """Split even small arrays into blocks and across threads, as is done with large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "BLOCK", 16)
        patch.setattr(threads, "SHARE_FROM", 32)
        patch.setattr(threads, "SHARE", 24)
        yield


def settings_of(name, seed):
    """Draw hyperparameters over their whole range; random digits keep sign() away from 0."""
    rng = np.random.default_rng(seed)
    ranges = {
        "lr": lambda: 10 ** rng.uniform(-3, 0),
        "epsilon": lambda: 10 ** rng.uniform(-8, -1),
        "momentum_decay": lambda: rng.uniform(0, 0.1),
        "epsilon_mode": lambda: str(rng.choice(["tutorial", "paper"])),
        "bias_correction": lambda: bool(rng.integers(2)),
        "centered": lambda: bool(rng.integers(2)),
        "momentum": lambda: rng.choice([0.0, share()]),
        "initial_accumulator": lambda: rng.uniform(0, 1),
    }

    def share():  # at least 0.5: faster decay amplifies rounding, as in 1 + 1e-8 - 1
        return rng.choice([rng.uniform(0.5, 1), 1 - 10 ** rng.uniform(-3, -1)])

    fields = {field for settings in RULES[name][1] for field in settings}
    return {field: ranges.get(field, share)() for field in sorted(fields)}


def values_of(seed, shape, steps):
    """Return a start and gradients of few distinct float32 values: none differ by rounding only."""
    rng = np.random.default_rng(seed)
    table = np.float32(rng.standard_normal((steps + 1, 8)))
    return [np.asarray(row[rng.integers(0, 8, shape)], "float64") for row in table]


def unchanged(array):
    return array


def fortran(array):
    return np.asfortranarray(array)


def transposed(array):
    return np.ascontiguousarray(array.T).T


def strided(array):
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 1] = array
    return wide[..., 1]


def backwards(array):
    turn = (..., *[slice(None, None, -1)] * array.ndim)
    return array[turn].copy()[turn]


LAYOUTS = [unchanged, fortran, transposed, strided, backwards]


def walk(optimizer, start, gradients, backend, dtype="float64", layout=unchanged, kind=dict):
    """Run updates; return the final parameter and slots, and the largest step and slot values."""

    def place(values):
        placed = backend.asarray(values.copy(), dtype)
        return kind({"w": layout(placed) if backend.name == "numpy" else placed})

    params, steps = place(start), [0.0]
    array, sizes = params["w"], dict.fromkeys(optimizer.slots, 0.0)
    for gradient in gradients:
        before = to_host(array).copy()
        optimizer.update(params, place(gradient))
        steps.append(np.max(abs(to_host(array) - before), initial=0))
        state = optimizer.state_dict()
        slots = {slot: state[f"{slot}/w"] for slot in optimizer.slots}
        sizes = {slot: np.max(abs(slots[slot]), initial=size) for slot, size in sizes.items()}
    assert params["w"] is array
    assert array.dtype == backend.dtype(dtype)
    return SimpleNamespace(w=to_host(array), slots=slots, sizes=sizes, step=max(steps))


def assert_follows(actual, expected, dtype, steps, allowed=0.0):
    """Compare up to rounding in a dtype, accumulated over `steps`, plus the error `allowed`."""
    unit = 32 * np.finfo(dtype).eps
    size = np.max(abs(expected.w), initial=0) + steps * expected.step
    np.testing.assert_allclose(actual.w, expected.w, rtol=unit, atol=unit * size + allowed)
    for slot, value in expected.slots.items():
        # relative to its largest value so far, since the current one may have decayed
        size = expected.sizes[slot] * steps**0.5
        np.testing.assert_allclose(actual.slots[slot], value, rtol=unit, atol=unit * size)


def compare(name, modifiers, backend, names, shape, dtype, seed, layout=unchanged):
    settings = settings_of(name, seed) | modifiers
    start, *gradients = values_of(seed + 1, shape, 3)
    with engine("plain"):
        expected = walk(make_optimizer(name, **settings), start, gradients, NUMPY)
    for engine_name in names:
        with engine(engine_name):
            optimizer = make_optimizer(name, **settings)
            actual = walk(optimizer, start, gradients, backend, dtype, layout)
        assert_follows(actual, expected, dtype, 3)


shapes = st.sampled_from([(), (0,), (1,), (15,), (16,), (17,), (31,), (32,), (33,), (100,)]) | (
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
)
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)


@every_rule
@pytest.mark.parametrize("modifiers", [{}, MODIFIERS], ids=["unmodified", "all modifiers"])
@given(shape=shapes, dtype=dtypes, seed=seeds, layout=st.sampled_from(LAYOUTS))
@small_blocks()
def test_every_engine_agrees(
    backend, engine_names, name, modifiers, shape, dtype, seed, layout
):  # fmt: skip
    compare(name, modifiers, backend, engine_names(backend), shape, dtype, seed, layout)


@pytest.mark.slow  # compiles one kernel per case
@every_rule
@pytest.mark.parametrize("modifier", MODIFIERS)
@given(shape=shapes, dtype=dtypes, seed=seeds)
@small_blocks()
def test_every_engine_agrees_with_each_modifier(
    backend, engine_names, name, modifier, shape, dtype, seed
):  # fmt: skip
    modifiers = {modifier: MODIFIERS[modifier]}
    compare(name, modifiers, backend, engine_names(backend), shape, dtype, seed)


@pytest.mark.parametrize("name", ["sgd", "amsgrad"])
@pytest.mark.parametrize("limit", [blocked.BLOCK, threads.SHARE_FROM])
@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.backends("numpy", "cupy")
def test_engines_agree_for_sizes_around_block_and_thread_limits(
    backend, engine_names, name, limit, more
):
    names, shape = engine_names(backend), (limit + more,)
    compare(name, {"clip_value": 0.3}, backend, names, shape, "float32", 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(40_000,), (2, 20_000), (2000, 20)], ids=str)
@pytest.mark.backends("numpy")
def test_engines_agree_for_large_arrays_of_any_layout(backend, engine_names, layout, shape):
    compare("adam", {}, backend, engine_names(backend), shape, "float32", 1, layout)


@pytest.mark.parametrize(
    ("of_param", "of_grad"),
    [(fortran, strided), (strided, fortran), (unchanged, fortran), (fortran, unchanged)],
)
@pytest.mark.backends("numpy")
def test_parameter_and_gradient_may_differ_in_layout(backend, engine_names, of_param, of_grad):
    start, gradient = values_of(0, (300, 200), 1)
    expected = walk(make_optimizer("momentum"), start, [gradient], backend)
    for name in engine_names(backend):
        params, optimizer = {"w": of_param(start.copy())}, make_optimizer("momentum")
        with engine(name):
            optimizer.update(params, {"w": of_grad(gradient)})
        np.testing.assert_array_equal(params["w"], expected.w)


@every_rule
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("float32", Parameters), pytest.param("float64", dict, marks=pytest.mark.slow)],
)
@pytest.mark.backends("numpy", "cupy")
@small_blocks()
def test_engines_agree_over_a_thousand_steps(backend, engine_names, name, dtype, kind):
    steps, settings = 1000, RULES[name][1][-1] | {"lr": 0.01}
    start, *gradients = values_of(3, (40,), steps)
    with engine("plain"):
        expected = walk(make_optimizer(name, **settings), start, gradients, NUMPY)
    for engine_name in engine_names(backend):
        with engine(engine_name):
            optimizer = make_optimizer(name, **settings)
            actual = walk(optimizer, start, gradients, backend, dtype, kind=kind)
        # If rounding flips the sign of Lion's momentum, the parameter is off by two steps.
        allowed = 2 * settings["lr"] if name == "lion" and dtype == "float32" else 0.0
        assert_follows(actual, expected, dtype, steps, allowed)


# Values that are not finite


@every_rule
@pytest.mark.parametrize("clip_value", [None, 0.5])
@small_blocks()
def test_nan_and_infinity_propagate(backend, engine_names, name, clip_value):
    settings = RULES[name][1][-1] | {"clip_value": clip_value}
    start, first, second = values_of(4, (50,), 2)
    first[[3, 20, 45]] = np.nan, np.inf, -np.inf
    with engine("plain"), np.errstate(all="ignore"):
        expected = walk(make_optimizer(name, **settings), start, [first, second], NUMPY)
    touched = np.flatnonzero(~np.isfinite([expected.w, *expected.slots.values()]).all(axis=0))
    assert touched.tolist() == ([3] if clip_value else [3, 20, 45])
    for engine_name in engine_names(backend):
        with engine(engine_name), np.errstate(all="ignore"):
            optimizer = make_optimizer(name, **settings)
            actual = walk(optimizer, start, [first, second], backend)
        np.testing.assert_allclose(actual.w, expected.w, rtol=1e-9, atol=1e-12)
        for slot, value in expected.slots.items():
            np.testing.assert_allclose(actual.slots[slot], value, rtol=1e-9, atol=1e-12)


@small_blocks()
def test_a_division_by_zero_gives_nan_without_an_error(backend, engine_names):
    start = np.arange(-20.0, 20.0)
    for name in engine_names(backend):
        with engine(name), np.errstate(all="ignore"):
            # h = 0, and no epsilon: 0 / 0
            actual = walk(make_optimizer("adagrad", epsilon=0.0), start, [0 * start], backend)
        assert np.isnan(actual.w).all()


# Custom rules


def softened(xp, limit):
    def soft(x, by):
        return xp.sign(x) * xp.maximum(xp.abs(x) - by * limit, 0.0)

    return soft


class InPlace(Optimizer):
    """A rule that uses everything allowed: a helper function, literals and conditions."""

    lr: float = 0.1
    slots = ("v", "m")

    def coefficients(self, step):
        return self.lr, 1 / step

    @staticmethod
    def rule(xp):
        soft = softened(xp, 0.25)

        def update(param, grad, v, m, lr, share):
            v += share * (0.5 * grad * grad - v) + 1e-3
            m = xp.where(grad * m < 0, 0.0, m)
            m += xp.minimum(grad, 1) - m / 4
            rate = 2 * lr / (1 + xp.sqrt(v))
            param -= rate * m
            param = soft(param, rate)
            return param, v, m

        return update


class Pure(InPlace):
    @staticmethod
    def rule(xp):
        soft = softened(xp, 0.25)

        def update(param, grad, v, m, lr, share):
            new_v = v + (share * (0.5 * grad * grad - v) + 1e-3)
            kept = xp.where(grad * m < 0, 0.0, m)
            new_m = kept + (xp.minimum(grad, 1) - kept / 4)
            rate = 2 * lr / (1 + xp.sqrt(new_v))
            return soft(param - rate * new_m, rate), new_v, new_m

        return update


def by_hand(start, gradients, lr):
    """Compute the same element by element in Python."""
    params, states = list(start), [(0.0, 0.0)] * len(start)
    for step, gradient in enumerate(gradients, start=1):
        for i, g in enumerate(gradient):
            v, m = states[i]
            v += (0.5 * g * g - v) / step + 1e-3
            m = 0.0 if g * m < 0 else m
            m += min(g, 1) - m / 4
            rate = 2 * lr / (1 + v**0.5)
            w = params[i] - rate * m
            params[i] = np.sign(w) * max(abs(w) - rate / 4, 0.0)
            states[i] = v, m
    return np.asarray(params)


@pytest.mark.parametrize("rule", [InPlace, Pure])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [dict, Parameters])
@small_blocks()
def test_custom_rules_agree_on_every_engine(backend, engine_names, rule, dtype, kind):
    start, *gradients = values_of(5, (50,), 6)
    expected = by_hand(start, gradients, 0.1)
    for name in engine_names(backend):
        with engine(name):
            actual = walk(rule(), start, gradients, backend, dtype, kind=kind)
        np.testing.assert_allclose(actual.w, expected, rtol=0, atol=64 * np.finfo(dtype).eps)
