"""Traces: the graph of a formula, its passes, and formulas that can't be traced."""

import re

import numpy as np
import pytest

from dlskills.formulas import ENGINES
from dlskills.formulas.formula import Rule
from dlskills.formulas.trace import NotElementwiseError, Trace, UnsuitedFormulaError
from dlskills.optimizers import SGD, modifiers


def test_each_value_is_recorded_once():
    trace = Trace(lambda xp: lambda a, b: xp.exp(a * b) + xp.exp(a * b), ("B", "B"))

    assert [value.op for value in trace.values] == ["load", "load", "multiply", "exp", "add"]
    first, second, product, exponential, total = trace.values
    assert product.args == (first, second)
    assert exponential.args == (product,)
    assert total.args == (exponential, exponential)


def test_in_place_operators_rebind_the_name():
    def rule(xp):
        def update(param, grad):
            first = param
            param -= grad
            return param, first

        return update

    trace = Trace(rule, ("B", "B"))
    assert [result.op for result in trace.results] == ["subtract", "load"]


@pytest.mark.parametrize("name", ["plain", "blocked", "numba"])
def test_modified_rules_scale_then_clip_then_decay(name):
    if problem := ENGINES[name].missing():
        pytest.skip(problem)
    rule = Rule(modifiers.scaled(modifiers.clipped(modifiers.decayed(SGD.rule))))
    param, grad = np.random.default_rng(0).standard_normal((2, 50))
    lr, decay, limit, scale = 0.3, 0.02, 0.5, 0.7
    expected = param - decay * param - lr * np.clip(scale * grad, -limit, limit)
    ENGINES[name].update_row(rule, [param, grad], (lr, decay, limit, scale))

    np.testing.assert_allclose(param, expected, rtol=1e-12)


def softmax_loss(xp):
    def loss(x, t, share, axis):
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=axis, keepdims=True)
        return xp.sum((xp.log(total) - shifted) * t) * share, e / total - t

    return loss


def test_each_reduction_ends_a_pass():
    trace = Trace(softmax_loss, ("LB", "LB", ""), "LB", has_axis=True)
    highest, total = trace.reductions

    assert (highest.passes, total.passes) == (1, 2)
    assert [value.level for value in trace.results] == ["whole", "inner"]
    assert trace.passes == 3
    assert [v.op for v in trace.ends(0)[0]] == ["max"]
    assert [v.op for v in trace.ends(1)[0]] == ["sum"]
    assert [i for i, _ in trace.ends(2)[2]] == [1]
    assert [v.op for v in trace.worth_keeping] == ["exp"]
    assert "exp" not in [v.op for v in trace.inner(2, trace.worth_keeping) if v.passes == 2]


def test_levels_of_values():
    def formula(xp):
        def results(x, gamma, rate, axis):
            mean = xp.mean(x, axis=axis, keepdims=True)
            return x - mean, gamma * mean, xp.sum(x) / (1 + rate)

        return results

    trace = Trace(formula, ("AL", "L", ""), "AL", has_axis=True)
    assert [value.level for value in trace.results] == ["inner", "line", "whole"]
    assert [value.level for value in trace.loads] == ["inner", "line", "number"]


def test_a_reduction_over_all_axes_is_a_per_line_value():
    trace = Trace(
        lambda xp: lambda x, axis: x / xp.sum(x, axis=axis, keepdims=True), ("B",), "B", True
    )
    assert trace.reductions[0].level == "line"


# Formulas that can't be traced


def trial(expression, **options):
    def rule(xp):
        return lambda a, b, number: expression(xp, a, b)

    with pytest.raises(UnsuitedFormulaError) as caught:
        Trace(rule, ("B", "B", ""), **options)
    return caught


@pytest.mark.parametrize(
    "expression",
    [
        lambda xp, a, b: a if a > 0 else b,
        lambda xp, a, b: a and b,
        lambda xp, a, b: not a,
        lambda xp, a, b: max(a, b),
    ],
    ids=["if", "and", "not", "max"],
)
def test_a_branch_is_rejected_with_the_remedy(expression):
    assert str(trial(expression).value) == (
        "a formula can't branch on an element's value. Use xp.where(condition, a, b)"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda xp, a, b: xp.signbit(a), "a formula with xp.signbit can't be compiled"),
        (lambda xp, a, b: xp.astype(a, xp.int64), "a formula with xp.int64 can't be compiled"),
        (lambda xp, a, b: b * [1], r"can only compute with arrays and numbers, got \[1\]"),
        (lambda xp, a, b: a * 1j, "got 1j"),
        (lambda xp, a, b: xp.maximum(a, None), "got None"),
        (lambda xp, a, b: a & b, "xp.logical_and takes conditions, such as x > 0"),
        (lambda xp, a, b: xp.logical_not(a), "xp.logical_not takes conditions"),
        (lambda xp, a, b: a % b, "the formula can't be compiled: unsupported operand"),
        (lambda xp, a, b: a.sum(), "the formula can't be compiled: .* 'sum'"),
        (lambda xp, a, b: float(a), "the formula can't be compiled: float"),
        (lambda xp, a, b: xp.maximum(a), "xp.maximum takes 2 operands, got 1"),
        (lambda xp, a, b: xp.where(a > 0, x=a, y=b), "the formula can't be compiled"),
        (lambda xp, a, b: 1.0, "a formula's results must vary per element or per line"),
    ],
)
def test_formulas_that_cannot_be_compiled_are_rejected(expression, message):
    assert re.search(message, str(trial(expression).value))


@pytest.mark.parametrize("name", ["max", "sum", "mean", "flip", "linalg", "argmax"])
def test_an_elementwise_formula_cannot_combine_elements(name):
    caught = trial(lambda xp, a, b: a / getattr(xp, name)(a))
    assert caught.type is NotElementwiseError
    assert f"xp.{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda xp, x, axis: xp.sum(x, axis=axis), "takes axis=axis and keepdims=True"),
        (lambda xp, x, axis: xp.max(x), "takes axis=axis and keepdims=True"),
        (lambda xp, x, axis: xp.sum(x, axis=1, keepdims=True), "takes axis=axis"),
        (lambda xp, x, axis: x / xp.sum(x), "can only be combined with numbers"),
        (lambda xp, x, axis: xp.argmax(x, axis=axis), "a formula with xp.argmax can't be compiled"),
        (
            lambda xp, x, axis: xp.max(
                xp.sum(x, axis=axis, keepdims=True), axis=axis, keepdims=True
            ),
            "a value that varies per element",
        ),
    ],
)  # fmt: skip
def test_invalid_reductions_are_rejected(expression, message):
    formula = lambda xp: lambda x, axis: expression(xp, x, axis)  # noqa: E731
    with pytest.raises(UnsuitedFormulaError, match=message):
        Trace(formula, ("LB",), "LB", has_axis=True)


@pytest.mark.parametrize("number", [2, 0.1, True, np.float64(0.5), float("inf"), float("nan")])
def test_every_kind_of_number_is_recorded_as_a_float(number):
    trace = Trace(lambda xp: lambda a: a + number, ("B",))
    [value] = [value for value in trace.values if value.op == "number"]
    assert repr(value.args[0]) == repr(float(number))
