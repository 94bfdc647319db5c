"""Optimizers as graphs: the same numbers as `update`, whatever the hyperparameters."""

import math

import numpy as np
import pytest

from dlskills import Optimizer, schedules
from dlskills.formulas import UnsuitedFormulaError
from dlskills.formulas.symbolic import evaluate
from dlskills.optimizers import OPTIMIZERS, SGD, Adam, Momentum, RMSprop
from dlskills.optimizers.traced import trace_optimizer

STEPS = 20
GRADS = np.random.default_rng(0).standard_normal(STEPS)


def path_of_graph(traced, values, start=1.0):
    """Follow the graphs; `values` of hyperparameters by name, those of schedules by step."""
    numbers = [values.get(one.name, one.value) for one in traced.hyperparameters]
    param, slots, path = start, [0.0] * traced.slots, []
    width = len(traced.coefficients.results) // (STEPS if traced.unrolled else 1)
    for step, grad in enumerate(GRADS, 1):
        now = [one[step - 1] if isinstance(one, tuple) else one for one in numbers]
        if traced.unrolled:
            found = evaluate(traced.coefficients, now)[width * (step - 1) : width * step]
        else:
            found = evaluate(traced.coefficients, [*now, step])
        param, *slots = evaluate(traced.update, [param, grad, *slots, *found])
        path.append(param)
    return path


def path_of(optimizer, start=1.0):
    params, path = {"x": start}, []
    for grad in GRADS:
        optimizer.update(params, {"x": float(grad)})
        path.append(params["x"])
    return path


def assert_same(traced, optimizer, values=None):
    np.testing.assert_allclose(
        path_of_graph(traced, values or {}), path_of(optimizer), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_the_default_hyperparameters(kind):
    assert_same(trace_optimizer(kind(), STEPS), kind())


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_other_hyperparameters_than_those_traced(kind):
    traced = trace_optimizer(kind(), STEPS)
    shares = ("momentum", "beta1", "beta2", "beta3", "rho", "decay_rate")
    values = {
        one.name: 0.3 + 0.1 * i if one.name in shares else 0.02 + i
        for i, one in enumerate(traced.hyperparameters)
    }
    assert_same(traced, kind(**values), values)


def test_a_term_that_0_leaves_out_can_be_switched_on():
    traced = trace_optimizer(RMSprop(), STEPS)
    assert [(one.name, one.value) for one in traced.hyperparameters] == [
        ("lr", 0.01), ("decay_rate", 0.99), ("epsilon", 1e-7), ("momentum", 0.0)
    ]  # fmt: skip
    assert_same(traced, RMSprop())
    assert_same(traced, RMSprop(momentum=0.8), {"momentum": 0.8})


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1}, {"clip_value": 0.5}, {"bounds": (0.0, None)}, {"grad_scale": 2.0},
        {"weight_decay": 0.1, "clip_value": 0.5, "bounds": (-1.0, 1.0), "grad_scale": 0.5},
    ],
)  # fmt: skip
def test_what_every_optimizer_takes(options):
    assert_same(trace_optimizer(Momentum(lr=0.1, **options), STEPS), Momentum(lr=0.1, **options))


def test_variants():
    for options in ({"epsilon_mode": "paper"}, {"bias_correction": False}):
        assert_same(trace_optimizer(Adam(**options), STEPS), Adam(**options))
    assert_same(trace_optimizer(RMSprop(centered=True), STEPS), RMSprop(centered=True))


def test_schedules_are_tabulated():
    def made():
        return Momentum(
            lr=schedules.CosineDecay(0.1, steps=15), momentum=schedules.Linear(0.5, 0.9, steps=10)
        )

    traced = trace_optimizer(made(), STEPS)
    assert traced.hyperparameters[1].value[:2] == (0.5, 0.54)
    assert_same(traced, made())


class Branches(Optimizer):
    """Takes branches on hyperparameters and on the step."""

    lr: float = 0.1
    warmth: float = 5.0

    def coefficients(self, step):
        lr = self.lr * min(1.0, step / self.warmth)
        if step > 12:
            lr = lr / 2 if self.lr > 0.05 else 2 * lr
        return (lr * np.exp(-0.1 * step) + math.log(step + 1, 10),)

    rule = staticmethod(SGD.rule)


def test_branches_are_followed_both_ways():
    traced = trace_optimizer(Branches(), STEPS)
    assert not traced.unrolled
    for values in ({}, {"lr": 0.01}, {"warmth": 0.5}, {"lr": 0.04, "warmth": 19.0}):
        assert_same(traced, Branches(**values), values)


class Loops(Optimizer):
    """Sums over all steps so far."""

    lr: float = 0.1

    def coefficients(self, step):
        return (sum(self.lr / i for i in range(1, step + 1)),)

    rule = staticmethod(SGD.rule)


def test_loops_over_steps_are_unrolled():
    traced = trace_optimizer(Loops(), STEPS)
    assert traced.unrolled
    assert_same(traced, Loops())
    assert_same(traced, Loops(lr=0.3), {"lr": 0.3})


def test_modules_are_left_as_they_were():
    trace_optimizer(Branches(), STEPS)
    assert math.log is __import__("math").log
    assert np is __import__("numpy")


class Counts(Optimizer):
    lr: float = 0.1
    calls = 0

    def coefficients(self, step):
        self.calls += 1
        return (self.lr / self.calls,)

    rule = staticmethod(SGD.rule)


class Floats(Optimizer):
    lr: float = 0.1

    def coefficients(self, step):
        return (float(self.lr),)

    rule = staticmethod(SGD.rule)


class Endless(Optimizer):
    lr: float = 0.1

    def coefficients(self, step):
        lr = self.lr
        while lr > 1e-9:
            lr /= 2
        return (lr,)

    rule = staticmethod(SGD.rule)


class Varies(Optimizer):
    lr: float = 0.1

    def coefficients(self, step):
        return (self.lr,) if self.lr < 1 else (self.lr, 1.0)

    rule = staticmethod(SGD.rule)


class Norm(Optimizer):
    lr: float = 0.1

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        return lambda param, grad, lr: param - lr * grad / xp.linalg.vector_norm(grad)


class Plain:
    def update(self, params, grads):
        pass


class Twice(SGD):
    def update(self, params, grads):
        super().update(params, grads)
        super().update(params, grads)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (Counts(), "coefficients of Counts can't be translated: at step 2 they depend on more"),
        (Floats(), "coefficients of Floats can't be translated: .* float"),
        (Endless(), "coefficients of Endless can't be translated: it branches more than 10 times"),
        (Varies(), "coefficients of Varies can't be translated: it returns 1 or 2 numbers"),
        (Norm(), "rule of Norm can't be translated: .* xp.linalg"),
        (Plain(), "Plain must be derived from dlskills.Optimizer"),
        (Twice(), "Twice must be derived from dlskills.Optimizer, without an update"),
        (SGD(clip_norm=1.0), "SGD with clip_norm can't be translated"),
        (SGD(rates={"x": 2.0}), "SGD with rates can't be translated"),
        (SGD(clip_value=schedules.Linear(1, 2, steps=3)), "a schedule of clip_value"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_the_reason(optimizer, message):
    with pytest.raises(UnsuitedFormulaError, match=message):
        trace_optimizer(optimizer, STEPS)
