"""A formula as a graph of values: what is noted, and what can't be."""

import re

import numpy as np
import pytest

from dlskills.formulas.trace import NotElementwiseError, Trace, UnsuitedFormulaError
from dlskills.optimizers import SGD, modifiers


def written(trace):
    """The operations of a trace, as text."""
    names = {id(value): value.name for value in trace.values}
    lines = []
    for value in trace.values:
        args = [names.get(id(arg), repr(arg)) for arg in value.args]
        lines.append(f"{value.name} = {value.op}({', '.join(args)})")
    return lines


def test_each_value_is_recorded_once():
    trace = Trace(lambda xp: lambda a, b: xp.exp(a * b) + xp.exp(a * b), ("B", "B"))

    assert written(trace) == [
        "v0 = load(0)",
        "v1 = load(1)",
        "v2 = multiply(v0, v1)",
        "v3 = exp(v2)",
        "v4 = add(v3, v3)",
    ]


def test_in_place_operators_rebind_the_name():
    def rule(xp):
        def update(param, grad):
            first = param
            param -= grad
            return param, first

        return update

    trace = Trace(rule, ("B", "B"))
    assert [result.op for result in trace.results] == ["subtract", "load"]


def test_modified_rules_compute_what_they_say():
    rule = modifiers.scaled(modifiers.clipped(modifiers.decayed(SGD.rule)))
    trace = Trace(rule, ("B", "B", "", "", "", ""))  # lr, decay, limit, scale

    assert written(trace)[6:] == [
        "v6 = multiply(v1, v5)",  # the gradient, times the scale
        "v7 = negative(v4)",
        "v8 = maximum(v6, v7)",
        "v9 = minimum(v8, v4)",
        "v10 = multiply(v3, v0)",
        "v11 = subtract(v0, v10)",
        "v12 = multiply(v2, v9)",
        "v13 = subtract(v11, v12)",
    ]


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


# What can't be noted


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
        "a formula can't branch on an element's value: use xp.where(condition, a, b)"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda xp, a, b: xp.signbit(a), "of a formula with xp.signbit"),
        (lambda xp, a, b: xp.astype(a, xp.int64), "of a formula with xp.int64"),
        (lambda xp, a, b: b * [1], r"computes with arrays and numbers, got \[1\]"),
        (lambda xp, a, b: a * 1j, "got 1j"),
        (lambda xp, a, b: xp.maximum(a, None), "got None"),
        (lambda xp, a, b: a & b, "only conditions, such as x > 0, can be combined"),
        (lambda xp, a, b: xp.logical_not(a), "only conditions"),
        (lambda xp, a, b: a % b, "no kernel can be made of the formula: unsupported operand"),
        (lambda xp, a, b: a.sum(), "no kernel can be made of the formula: .* 'sum'"),
        (lambda xp, a, b: float(a), "no kernel can be made of the formula: float"),
        (lambda xp, a, b: xp.maximum(a), "xp.maximum takes 2 operands, got 1"),
        (lambda xp, a, b: xp.where(a > 0, x=a, y=b), "no kernel can be made of the formula"),
        (lambda xp, a, b: 1.0, "a formula's results differ from element to element"),
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
        (lambda xp, x, axis: x / xp.sum(x), "can be combined with numbers only"),
        (lambda xp, x, axis: xp.argmax(x, axis=axis), "no kernel .* xp.argmax"),
        (
            lambda xp, x, axis: xp.max(
                xp.sum(x, axis=axis, keepdims=True), axis=axis, keepdims=True
            ),
            "a value that differs from element to element",
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
