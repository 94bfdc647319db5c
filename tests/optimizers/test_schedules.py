"""Learning-rate schedules: against their formulas and PyTorch, and their use by optimizers."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import textbook
from textbook import RULES

from dlskills import SGD, Adam, Momentum, NAdam, Optimizer, make_optimizer
from dlskills.optimizers.schedules import (
    Chain,
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseSqrt,
    InverseTimeDecay,
    Linear,
    OneCycle,
    Polynomial,
    StepDecay,
    Warmup,
)

ALL = [
    StepDecay(0.1, every=10, factor=0.5),
    ExponentialDecay(0.1, rate=0.9, every=4),
    InverseTimeDecay(0.1, rate=0.25),
    InverseTimeDecay(0.1, rate=0.25, every=3, staircase=True),
    InverseSqrt(0.1, flat=4),
    Linear(0.1, 0.02, steps=20),
    Polynomial(0.1, steps=20, end=0.01, power=2.0),
    Polynomial(0.1, steps=6, cycle=True),
    CosineDecay(0.1, steps=20, end=0.01),
    CosineRestarts(0.1, steps=5, growth=1.5, factor=0.5),
    Warmup(5, CosineDecay(0.1, steps=20)),
    Warmup(5, 0.1),
    OneCycle(0.1, steps=20),
    Chain((5, 0.1), (10, StepDecay(0.1, every=2)), (1, 0.001)),
]
every_schedule = pytest.mark.parametrize("schedule", ALL, ids=repr)


# Values


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (StepDecay(0.8, every=3), {0: 0.8, 2: 0.8, 3: 0.08, 5: 0.08, 6: 0.008, 30: 0.8e-10}),
        (StepDecay(0.8, every=1, factor=0.5), {0: 0.8, 1: 0.4, 3: 0.1}),
        (StepDecay(0.8, every=2, factor=0), {0: 0.8, 1: 0.8, 2: 0, 9: 0}),
        (ExponentialDecay(0.8, rate=0.25), {0: 0.8, 1: 0.2, 2: 0.05}),
        (ExponentialDecay(0.8, rate=0.25, every=2), {0: 0.8, 1: 0.4, 2: 0.2, 3: 0.1}),
        (InverseTimeDecay(0.8, rate=0.5), {0: 0.8, 1: 0.8 / 1.5, 2: 0.4, 6: 0.2, 1998: 8e-4}),
        (ExponentialDecay(0.8, rate=0.25, end=0.1), {0: 0.8, 1: 0.2, 2: 0.1, 99: 0.1}),
        (
            InverseTimeDecay(0.8, 0.5, every=4, staircase=True),
            {0: 0.8, 3: 0.8, 4: 0.8 / 1.5, 7: 0.8 / 1.5, 8: 0.4},
        ),
        (InverseTimeDecay(0.8, 0.5, every=4), {0: 0.8, 2: 0.64, 8: 0.4}),
        (InverseSqrt(0.6), {0: 0.6, 3: 0.3, 8: 0.2, 99: 0.06}),
        (InverseSqrt(0.6, flat=4), {0: 0.6, 3: 0.6, 15: 0.3, 35: 0.2}),
        (Polynomial(0.9, 4, end=0.1), {0: 0.9, 1: 0.7, 4: 0.1, 99: 0.1}),
        (Polynomial(0.8, 4, power=2), {0: 0.8, 1: 0.45, 2: 0.2, 4: 0}),
        (
            Polynomial(0.8, 4, cycle=True),
            {0: 0.8, 2: 0.4, 4: 0, 5: 0.3, 6: 0.2, 8: 0, 9: 0.2},
        ),
        (CosineRestarts(0.8, 4), {0: 0.8, 2: 0.4, 4: 0.8, 6: 0.4, 400: 0.8}),
        (
            CosineRestarts(0.9, 2, end=0.1, growth=2, factor=0.5),
            {0: 0.9, 1: 0.5, 2: 0.5, 4: 0.3, 6: 0.3, 10: 0.2, 14: 0.2},
        ),
        (Linear(0.2, 0.6, steps=4), {0: 0.2, 1: 0.3, 2: 0.4, 3: 0.5, 4: 0.6, 5: 0.6, 99: 0.6}),
        (Linear(0.6, 0, steps=3), {0: 0.6, 1: 0.4, 2: 0.2, 3: 0, 4: 0}),
        (CosineDecay(0.8, steps=4), {0: 0.8, 2: 0.4, 4: 0, 5: 0, 8: 0}),
        (CosineDecay(0.8, 6, end=0.2), {0: 0.8, 2: 0.65, 3: 0.5, 4: 0.35, 6: 0.2, 9: 0.2}),
        (Warmup(4, 0.8), {0: 0.2, 1: 0.4, 3: 0.8, 4: 0.8, 100: 0.8}),
        (Warmup(1, 0.8), {0: 0.8, 1: 0.8}),
        (Warmup(4, Linear(0.8, 0, 2)), {0: 0.2, 3: 0.8, 4: 0.8, 5: 0.4, 6: 0}),
        (Warmup(2, Warmup(2, 0.8)), {0: 0.2, 1: 0.4, 2: 0.4, 3: 0.8, 4: 0.8}),
        (OneCycle(0.5, 11, rise=0.5, start_divisor=5, end_divisor=2), {4.5: 0.5, 10: 0.05}),
        (OneCycle(0.5, 10, rise=0.5), {0: 0.02, 2: 0.26, 4: 0.5, 9: 2e-6, 10: 2e-6, 99: 2e-6}),
        (OneCycle(0.5, 10, rise=0.1), {0: 0.5, 9: 2e-6}),
        (OneCycle(0.5, 3), {2: 2e-6}),  # the peak is before the first step
        (OneCycle(0.5, 1), {0: 2e-6, 1: 2e-6}),
        (Chain((2, 0.4), (3, Linear(0.2, 0, 2)), (1, 0.1)), {0: 0.4, 1: 0.4, 2: 0.2, 4: 0, 5: 0.1}),
        (Chain((2, Chain((1, 0.4), (9, 0.3))), (1, 0.2)), {0: 0.4, 1: 0.3, 2: 0.2, 99: 0.2}),
        (Chain((3, lambda step: step / 10)), {0: 0, 2: 0.2, 50: 5}),
    ],
    ids=lambda value: repr(value).split(" at 0x")[0] if callable(value) else "",
)
def test_schedules_follow_their_formulas(schedule, values):
    for step, value in values.items():
        rate = schedule(step)
        assert type(rate) is float
        assert rate == pytest.approx(value, rel=1e-12), step


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (StepDecay(0.1, 7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
        (ExponentialDecay(0.1, 0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
        (CosineDecay(0.1, 40, 0.01), lambda s, o: s.CosineAnnealingLR(o, 40, 0.01)),
        (
            CosineRestarts(0.1, 7, 0.01, growth=2),
            lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 2, 0.01),
        ),
        (CosineRestarts(0.1, 7), lambda s, o: s.CosineAnnealingWarmRestarts(o, 7)),
        (Polynomial(0.1, 25, power=1.7), lambda s, o: s.PolynomialLR(o, 25, power=1.7)),
        (Linear(0.02, 0.08, 25), lambda s, o: s.LinearLR(o, 0.2, 0.8, 25)),
        (OneCycle(0.1, 40), lambda s, o: s.OneCycleLR(o, 0.1, 40)),
        (
            OneCycle(0.1, 40, 0.4, 10, 100),
            lambda s, o: s.OneCycleLR(
                o, 0.1, 40, pct_start=0.4, div_factor=10, final_div_factor=100
            ),
        ),
        (
            Chain((8, 0.1), (30, ExponentialDecay(0.1, 0.9))),
            lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 1), s.ExponentialLR(o, 0.9)], [8]),
        ),
    ],
    ids=lambda value: repr(value) if not callable(value) or not hasattr(value, "__code__") else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_schedules_agree_with_torch(ours, theirs):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = theirs(torch.optim.lr_scheduler, optimizer)
    for step in range(40):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        if step < 39:
            scheduler.step()


@every_schedule
def test_schedules_are_immutable_values(schedule):
    pickled = pickle.loads(pickle.dumps(schedule))
    for twin in (copy.deepcopy(schedule), pickled, eval(repr(schedule))):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert [twin(step) for step in range(40)] == [schedule(step) for step in range(40)]
    with pytest.raises(AttributeError):
        schedule.lr = 1.0


@every_schedule
def test_rates_stay_finite_and_not_negative(schedule):
    rates = [schedule(step) for step in [*range(50), 10**6, 10**9]]

    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepDecay(0.1, every=0), ValueError, "every must be at least 1, got 0"),
        (lambda: StepDecay(0.1, every=2.5), TypeError, "every must be a whole number, got 2.5"),
        (lambda: StepDecay(-0.1, every=1), ValueError, "lr must be at least 0, got -0.1"),
        (lambda: StepDecay(0.1, 1, factor=-1), ValueError, "factor must be at least 0, got -1"),
        (lambda: StepDecay("0.1", 1), TypeError, "lr must be a number, got '0.1'"),
        (lambda: ExponentialDecay(0.1, float("nan")), ValueError, "rate must be finite"),
        (lambda: ExponentialDecay(0.1, 0.9, every=-1), ValueError, "every must be at least 1"),
        (lambda: InverseTimeDecay(0.1, -0.1), ValueError, "rate must be at least 0"),
        (lambda: Linear(0.1, -0.1, 5), ValueError, "end must be at least 0, got -0.1"),
        (lambda: Linear(float("inf"), 0, 5), ValueError, "start must be finite"),
        (lambda: Linear(0.1, 0.2, True), TypeError, "steps must be a whole number, got True"),
        (lambda: CosineDecay(0.1, 0), ValueError, "steps must be at least 1, got 0"),
        (lambda: InverseSqrt(0.1, 0), ValueError, "flat must be at least 1, got 0"),
        (lambda: Polynomial(0.1, 5, power=0), ValueError, "power must be .*greater than 0, got 0"),
        (lambda: CosineRestarts(0.1, 5, growth=0.5), ValueError, "growth must be at least 1"),
        (lambda: CosineRestarts(0.1, 0), ValueError, "steps must be at least 1, got 0"),
        (lambda: ExponentialDecay(0.1, 0.9, end=-1), ValueError, "end must be at least 0, got -1"),
        (lambda: Warmup(0, 0.1), ValueError, "steps must be at least 1, got 0"),
        (lambda: Warmup(5, -0.1), ValueError, "schedule must be at least 0, got -0.1"),
        (lambda: Warmup(5, "fast"), TypeError, "schedule must be a number, got 'fast'"),
        (lambda: OneCycle(0.1, 10, rise=0), ValueError, "rise must be .*greater than 0"),
        (lambda: OneCycle(0.1, 10, rise=1), ValueError, "rise must be .*less than 1, got 1"),
        (lambda: OneCycle(0.1, 10, start_divisor=0), ValueError, "start_divisor must be greater"),
        (lambda: OneCycle(0.1, 10, end_divisor=-1), ValueError, "end_divisor must be greater"),
        (lambda: Chain(), ValueError, "Chain must have at least one part .*, got none"),
        (lambda: Chain((0, 0.1)), ValueError, "steps must be at least 1, got 0"),
        (lambda: Chain((1, None)), TypeError, "schedule must be a number, got None"),
    ],
)
def test_invalid_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# In epochs


@pytest.mark.parametrize(
    ("in_epochs", "in_steps"),
    [
        (StepDecay(0.1, every=30), StepDecay(0.1, every=150)),
        (ExponentialDecay(0.1, 0.9), ExponentialDecay(0.1, 0.9, every=5)),
        (InverseTimeDecay(0.1, 0.5), InverseTimeDecay(0.1, 0.5, every=5)),
        (InverseSqrt(0.1), InverseSqrt(0.1, flat=5)),
        (OneCycle(0.1, 10), OneCycle(0.1, 50)),
        (Warmup(5, CosineDecay(0.1, 20)), Warmup(25, CosineDecay(0.1, 100))),
        (Warmup(5, abs), Warmup(25, abs)),
        (
            Chain((2, 0.1), (3, Linear(0.1, 0, 3)), (1, abs)),
            Chain((10, 0.1), (15, Linear(0.1, 0, 15)), (5, abs)),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_steps_can_be_epochs(in_epochs, in_steps):
    assert in_epochs.in_epochs(5) == in_steps
    assert in_epochs.in_epochs(1) == in_epochs


def test_steps_per_epoch_have_to_be_a_count():
    for schedule in (CosineDecay(0.1, 5), Chain((1, 0.1))):
        with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
            schedule.in_epochs(0)


# Other hyperparameters


@pytest.mark.parametrize("name", RULES)
def test_every_number_of_a_rule_takes_a_schedule(name):
    """A scheduled hyperparameter gives what setting it by hand before each update gives."""
    for field, value in RULES[name][1][-1].items():
        if not isinstance(value, float) or field == "lr":
            continue
        if (name, field) == ("nadam", "beta1"):
            continue  # looks ahead in the schedule: see the test of its product
        schedule = Linear(value, value / 2, steps=5)
        scheduled = make_optimizer(name, **RULES[name][1][-1] | {field: schedule})
        by_hand = make_optimizer(name, **RULES[name][1][-1])
        params, twin = {"w": np.arange(5.0)}, {"w": np.arange(5.0)}
        for step in range(8):
            setattr(by_hand, field, schedule(step))
            assert getattr(scheduled, field) == schedule(step)
            grads = {"w": np.sin(np.arange(5.0) + step)}
            scheduled.update(params, grads)
            by_hand.update(twin, grads)
        np.testing.assert_allclose(params["w"], twin["w"], rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [("weight_decay", 0.0, 0.1), ("grad_scale", 1.0, 0.1), ("clip_value", 1.0, 0.1),
     ("clip_norm", 1.0, 0.1), ("max_weight_norm", 3.0, 1.0)],
)  # fmt: skip
def test_every_modifier_takes_a_schedule(field, start, end):
    schedule = Linear(start, end, steps=5)
    scheduled, by_hand = Adam(0.1, **{field: schedule}), Adam(0.1)
    params, twin = {"w": np.arange(6.0).reshape(3, 2)}, {"w": np.arange(6.0).reshape(3, 2)}
    for step in range(8):
        setattr(by_hand, field, schedule(step))
        grads = {"w": np.sin(np.arange(6.0).reshape(3, 2) + step)}
        scheduled.update(params, grads)
        by_hand.update(twin, grads)
    np.testing.assert_array_equal(params["w"], twin["w"])
    assert not np.array_equal(params["w"], np.arange(6.0).reshape(3, 2))


def test_nadams_product_follows_a_schedule_of_beta1():
    schedule, gradients = Linear(0.5, 0.9, steps=4), [np.sin(np.arange(3.0) + i) for i in range(8)]
    optimizer = NAdam(0.1, beta1=schedule, epsilon=1e-8, momentum_decay=0.004)
    params = {"w": np.ones(3)}
    path = textbook.nadam(
        np.ones(3), gradients, 0.1, lambda t: schedule(t - 1), 0.999, 1e-8, momentum_decay=0.004
    )
    for gradient, expected in zip(gradients, path, strict=True):
        optimizer.update(params, {"w": gradient})
        np.testing.assert_allclose(params["w"], expected, rtol=1e-12)


def test_a_schedule_may_have_an_attribute_params():
    class Halving:
        params = (0.5,)

        def __call__(self, step):
            return self.params[0] ** step

    assert SGD(lr=Halving()).lr == 1


def test_a_number_replaces_a_schedule_and_vice_versa():
    optimizer = Momentum(momentum=Linear(0.5, 0.9, steps=4))
    twin = copy.copy(optimizer)
    optimizer.momentum = 0.25
    assert (optimizer.momentum, twin.momentum) == (0.25, 0.5)
    optimizer.momentum = Linear(0.5, 0.9, steps=2)
    optimizer.step = 1
    assert optimizer.momentum == 0.7
    assert pickle.loads(pickle.dumps(optimizer)).momentum == 0.7
    assert Momentum().momentum == Momentum.momentum == 0.9
    assert repr(optimizer) == ("Momentum(lr=0.01, momentum=Linear(start=0.5, end=0.9, steps=2))")


class Own(Optimizer):
    """A rule of a user's own, with a required number and an optional one."""

    lr: float = 1.0
    _: dataclasses.KW_ONLY
    speed: float
    limit: float | None = None

    def coefficients(self, step):
        return self.lr * self.speed * (self.limit or 1.0)

    @staticmethod
    def rule(xp):
        def update(param, grad, rate):
            param -= rate * grad
            return param

        return update


def test_numbers_of_custom_rules_take_schedules():
    params, optimizer = {"x": 0.0}, Own(speed=Linear(0, 1, 2), limit=Linear(1, 2, 1))
    for _ in range(3):
        optimizer.update(params, {"x": -1.0})
    assert params["x"] == 0.0 * 1 + 0.5 * 2 + 1.0 * 2
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'speed'"):
        Own(1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda step: 1.5, "the momentum returned by a schedule must be .*less than 1, got 1.5"),
        (lambda step: "a", "the momentum returned by a schedule must be a number, got 'a'"),
        (lambda step: 2.0 ** (5000 + step), "the momentum of .* overflows after 0 updates"),
    ],
)
def test_a_schedule_has_to_stay_in_the_range_of_its_hyperparameter(value, message):
    params, optimizer = {"x": 1.0}, Momentum(momentum=value)
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.update(params, {"x": 1.0})
    assert params == {"x": 1.0}
    with pytest.raises(TypeError, match="momentum must be a number or a schedule, got the class"):
        Momentum(momentum=Linear)


# Use by optimizers


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("decoupled", [0.0, 0.1])
def test_every_optimizer_takes_a_schedule(name, decoupled):
    schedule, settings = CosineDecay(0.1, steps=6), RULES[name][1][-1] | {"weight_decay": decoupled}
    scheduled = make_optimizer(name, **settings | {"lr": schedule})
    by_hand = make_optimizer(name, **settings)
    params, twin = {"w": np.arange(5.0)}, {"w": np.arange(5.0)}
    for step in range(8):
        assert scheduled.lr == schedule(step)
        by_hand.lr = 0.05 * (1 + math.cos(math.pi * min(step, 6) / 6))
        grads = {"w": np.sin(np.arange(5.0) + step)}
        scheduled.update(params, grads)
        by_hand.update(twin, grads)

    np.testing.assert_allclose(params["w"], twin["w"], rtol=1e-12)


@pytest.mark.parametrize("schedule", [lambda step: 1 / (step + 1), StepDecay(1.0, every=2)])
def test_a_schedule_is_called_with_the_number_of_updates_done(schedule):
    asked = []

    def spy(step):
        asked.append(step)
        return schedule(step)

    params, optimizer = {"x": 0.0}, SGD(spy)
    assert optimizer.lr == schedule(0)
    assert optimizer.lr == schedule(0)  # reading changes nothing
    positions = [0.0]
    for step in range(5):
        asked.clear()
        optimizer.update(params, {"x": -1.0})
        assert set(asked) == {step}
        positions.append(params["x"])
    assert optimizer.lr == schedule(5)
    np.testing.assert_allclose(np.diff(positions), [schedule(step) for step in range(5)])
    optimizer.reset()
    assert optimizer.lr == schedule(0)


def test_lr_can_be_set_to_a_number_or_a_schedule_at_any_time():
    params, optimizer = {"x": 0.0}, SGD(0.5)
    optimizer.update(params, {"x": -1.0})
    optimizer.lr = Linear(1.0, 0.0, steps=4)
    assert optimizer.lr == 0.75  # one update is done already
    optimizer.update(params, {"x": -1.0})
    assert optimizer.lr == 0.5
    optimizer.lr = np.float32(0.25)
    assert type(optimizer.lr) is float
    optimizer.lr *= 2
    optimizer.update(params, {"x": -1.0})

    assert params == {"x": 0.5 + 0.75 + 0.5}
    for wrong in ("fast", None, -1.0):
        with pytest.raises((TypeError, ValueError), match="lr must be"):
            optimizer.lr = wrong
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), None, "fast"])
def test_a_schedule_that_returns_no_valid_rate_is_refused(wrong):
    params, optimizer = {"x": 1.0}, SGD(1.0)
    optimizer.lr = lambda step: wrong
    with pytest.raises(
        (TypeError, ValueError), match="the learning rate returned by a schedule must be"
    ):
        optimizer.update(params, {"x": 1.0})
    assert params == {"x": 1.0}
    assert optimizer.step == 0


def test_repr_shows_the_schedule():
    optimizer = SGD(Warmup(10, StepDecay(0.1, every=5)))

    inner = "StepDecay(lr=0.1, every=5, factor=0.1)"
    assert repr(optimizer) == f"SGD(lr=Warmup(steps=10, schedule={inner}))"
    optimizer.lr = 0.5
    assert repr(optimizer) == "SGD(lr=0.5)"
    assert repr(ALL[-1]).startswith("Chain((5, 0.1), (10, StepDecay(")


# Mistakes


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(lr=CosineDecay),
        lambda: Adam(CosineDecay),
        lambda: setattr(SGD(), "lr", CosineDecay),
        lambda: make_optimizer("adam", lr=CosineDecay),
        lambda: Warmup(10, CosineDecay),
        lambda: Chain((10, 0.1), (1, CosineDecay)),
    ],
)
def test_the_class_of_a_schedule_is_refused(make):
    message = r"got the class CosineDecay. Create a schedule: CosineDecay\(...\)"
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "step"),
    [
        (ExponentialDecay(0.1, rate=2.0), 5000),
        (StepDecay(0.1, every=1, factor=10.0), 400),
        (lambda step: 2.0**step, 2000),
        (Warmup(10, ExponentialDecay(0.1, rate=2.0)), 5000),
        (Chain((3, 0.1), (1, lambda step: math.exp(step))), 1000),
    ],
)
def test_a_schedule_that_overflows_is_named(schedule, step):
    optimizer = SGD(lr=schedule)
    optimizer.step = step
    message = "^the learning rate of .* overflows after .* updates. Use a schedule that decreases"
    with pytest.raises(ValueError, match=message):
        _ = optimizer.lr
    with pytest.raises(ValueError, match=message):
        optimizer.update({"x": 1.0}, {"x": 1.0})
    assert optimizer.step == step


class Module:
    """Like torch.nn.Module: callable, with parameters()."""

    def parameters(self):
        yield np.zeros(3)

    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    "params",
    [Module().parameters(), Module(), list(Module().parameters()), {"w": np.zeros(3)}, np.zeros(3)],
    ids=["generator", "module", "list", "dict", "array"],
)
def test_parameters_are_refused_as_a_learning_rate(params):
    message = r"^lr must be a number or a schedule, got a .*: update\(params, grads\)"
    for rule in (SGD, Adam):
        with pytest.raises(TypeError, match=message):
            rule(params)
