"""Rules as CUDA C++: what is written down, what it computes, and what can't be written so."""

import operator
import re

import numpy as np
import pytest

from dlskills import SGD, Adam, Optimizer, engine, to_host
from dlskills.optimizers import OPTIMIZERS, modifiers
from dlskills.symbolic import Symbol, Trace, UnsuitedRuleError, traced

# What is written


def kernel_text(rule, arrays, numbers):
    """The inputs, the outputs and the body of a kernel for an update."""
    names = ["param", "grad", *(f"slot{i}" for i in range(arrays - 2))]
    coefficients = [f"c{i}" for i in range(numbers)]
    trace = Trace()
    loaded = [trace.load(f"{name}_in") for name in names]
    given = [trace.load(name) for name in coefficients]
    as_tuple = lambda results: results if isinstance(results, tuple) else (results,)  # noqa: E731
    results = traced(lambda *v: as_tuple(rule(trace.namespace)(*v)), [*loaded, *given])
    written = [name for name in names if name != "grad"]
    stores = [f"{n} = {trace.value(result)};" for n, result in zip(written, results, strict=True)]
    inputs = ", ".join(f"T {name}" for name in [f"{n}_in" for n in names] + coefficients)
    outputs = ", ".join(f"T {name}" for name in written)
    return inputs, outputs, "\n".join([*trace.lines, *stores])


def test_the_text_of_a_kernel():
    inputs, outputs, body = kernel_text(SGD.rule, 2, 1)

    assert inputs == "T param_in, T grad_in, T c0"
    assert outputs == "T param"
    assert body.splitlines() == [
        "const T v0 = param_in;",
        "const T v1 = grad_in;",
        "const T v2 = c0;",
        "const T v3 = v2 * v1;",
        "const T v4 = v0 - v3;",
        "param = v4;",
    ]


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_each_array_is_named_once_to_load_it_and_once_to_store_it(rule):
    optimizer = rule(weight_decay=0.1, clip_value=1.0, grad_scale=0.5)
    formula, numbers = optimizer._rule_and_numbers({})
    inputs, outputs, body = kernel_text(formula, 2 + len(rule.slots), len(numbers))
    arrays = [argument.removeprefix("T ") for argument in inputs.split(", ")]
    stored = [argument.removeprefix("T ") for argument in outputs.split(", ")]
    lines = body.splitlines()
    loads, rest, stores = (
        lines[: len(arrays)],
        lines[len(arrays) : -len(stored)],
        lines[-len(stored) :],
    )

    assert [line.split(" = ")[1] for line in loads] == [f"{name};" for name in arrays]
    assert [line.split(" = ")[0] for line in stores] == stored
    assert len(stored) == 1 + len(rule.slots)
    words = " ".join(rest).replace("(", " ").replace(";", " ").split()
    assert not set(words) & {*arrays, *stored}


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (2, "T(2.0)"),
        (0.1, "T(0.1)"),
        (-1e-30, "T(-1e-30)"),
        (True, "T(1.0)"),
        (np.float64(0.5), "T(0.5)"),
        (float("inf"), "T(1.0 / 0.0)"),
        (-float("inf"), "T(-1.0 / 0.0)"),
        (float("nan"), "T(0.0 / 0.0)"),
    ],
)
def test_numbers(number, written):
    assert Trace().value(number) == written


# What it computes

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.3, -1e-30, 3e30]


def called(name):
    return lambda xp, *operands: getattr(xp, name)(*operands)


def chosen(compare):
    return lambda xp, a, b: xp.where(compare(a, b), a, 7.0)


def chosen_by(name):
    return lambda xp, a, b: xp.where(getattr(xp, name)(a, b), 5.0, b)


def plain(function):
    return lambda xp, *operands: function(*operands)


ELEMENTARY = ("sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
              "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil",
              "trunc", "round", "abs", "square", "reciprocal", "sign", "negative")  # fmt: skip
OF_TWO = ("maximum", "minimum", "pow", "add", "subtract", "multiply", "divide", "atan2",
          "copysign", "hypot", "logaddexp")  # fmt: skip
OPERATORS = ("add", "sub", "mul", "truediv", "pow", "iadd", "isub", "imul", "itruediv", "ipow")
COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
UNARY = {
    "-a": plain(operator.neg),
    "+a": plain(operator.pos),
    "abs(a)": plain(abs),
    "a**2": plain(lambda a: a**2),
    "a**1.5": plain(lambda a: a**1.5),
    "a**-1": plain(lambda a: a**-1),
    "2**a": plain(lambda a: 2**a),
    "2 + a": plain(lambda a: 2 + a),
    "1 - a": plain(lambda a: 1 - a),
    "3 * a": plain(lambda a: 3 * a),
    "1 / a": plain(lambda a: 1 / a),
    "isnan": lambda xp, a: xp.where(xp.isnan(a), 7.0, a),
    "isinf": lambda xp, a: xp.where(xp.isinf(a), 7.0, a),
    "isfinite": lambda xp, a: xp.where(xp.isfinite(a), 7.0, a),
    "clip": lambda xp, a: xp.clip(a, -2.0, 1.5),
    "clip below": lambda xp, a: xp.clip(a, min=0.5),
    "constants": lambda xp, a: xp.pi * a + xp.e,
} | {f"xp.{name}": called(name) for name in ELEMENTARY}
BINARY = (
    {name: plain(getattr(operator, name)) for name in OPERATORS}
    | {f"xp.{name}": called(name) for name in OF_TWO}
    | {name: chosen(getattr(operator, name)) for name in ("lt", "le", "gt", "ge", "eq", "ne")}
    | {f"xp.{name}": chosen_by(name) for name in COMPARISONS}
    | {
        "literals": lambda xp, a, b: xp.where(a > 0, xp.maximum(b, 0.5), xp.minimum(-1, b)),
        "and": lambda xp, a, b: xp.where((a > -1) & (b < 1), a, b),
        "or": lambda xp, a, b: xp.where((a > 1) | (b != b), a, b),
        "xor": lambda xp, a, b: xp.where((a > 0) ^ (b > 0), a, b),
        "not": lambda xp, a, b: xp.where(~(a > b), a, b),
        "where of conditions": lambda xp, a, b: xp.where(
            xp.where(a > 0, b > 0, b < -1) & (a != b), a, b
        ),
        "logical": lambda xp, a, b: xp.where(
            xp.logical_or(
                xp.logical_and(a > 0, xp.logical_not(b > 0)), xp.logical_xor(a > 1, b > 1)
            ),
            a,
            b,
        ),
        "bool": lambda xp, a, b: (a > 1) * b - (b <= 1) * a,
        "where in where": lambda xp, a, b: xp.where(a < b, xp.where(a == 0, 1, a), -b),
    }
)
# Of these, the sign of a 0 is the library's own business.
SIGN_OF_ZERO_IS_FREE = {"xp.maximum", "xp.minimum", "xp.sign"}
FUNCTIONS = [(name, f, 1) for name, f in UNARY.items()] + [(n, f, 2) for n, f in BINARY.items()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.backends("cupy")
def test_functions_are_numpys(backend, dtype):
    """Each result is a slot of its own: one kernel for all."""
    a, b = (grid.ravel().astype(dtype) for grid in np.meshgrid(ODD, ODD))

    class All(Optimizer):
        lr: float = 1.0
        slots = tuple(f"s{i}" for i in range(len(FUNCTIONS)))

        def coefficients(self, step):
            return ()

        @staticmethod
        def rule(xp):
            def update(param, grad, *slots):
                operands = param, grad
                return param, *(call(xp, *operands[:count]) for _, call, count in FUNCTIONS)

            return update

    optimizer, params = All(), {"w": backend.asarray(a)}
    with engine("cuda"):
        optimizer.update(params, {"w": backend.asarray(b)})
    slots = optimizer.state_dict()["slots"]
    for (name, call, count), slot in zip(FUNCTIONS, All.slots, strict=True):
        actual = slots[slot]["w"]
        with np.errstate(all="ignore"):
            operands = a.copy(), b.copy()  # which the operators in place change
            expected = np.asarray(call(np, *operands[:count]), dtype)
        rtol = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=rtol, err_msg=name)
        if name not in SIGN_OF_ZERO_IS_FREE:
            zeros = expected == 0
            signs = np.signbit(actual[zeros]), np.signbit(expected[zeros])
            np.testing.assert_array_equal(*signs, err_msg=name)


@pytest.mark.parametrize("layout", ["every second", "transposed", "backwards"])
@pytest.mark.backends("cupy")
def test_arrays_with_gaps(backend, device_counters, layout):
    view = {
        "every second": lambda x: x[::2, ::3],
        "transposed": lambda x: x.T,
        "backwards": lambda x: x[::-1, ::-1],
    }[layout]
    values = np.random.default_rng(0).standard_normal((3, 20, 30))
    owner, gradient = backend.asarray(values[0]), backend.asarray(values[1])
    params, grads, optimizer = {"w": view(owner)}, {"w": view(gradient)}, Adam(lr=0.5)
    optimizer.update(params, grads)
    with device_counters.counting() as added:
        optimizer.update(params, grads)
    assert added["kernel_launches"] == 1
    expected = values[0].copy()
    twin, twin_params = Adam(lr=0.5), {"w": view(expected)}
    for _ in range(2):
        twin.update(twin_params, {"w": view(values[1])})

    np.testing.assert_allclose(to_host(owner), expected, rtol=1e-12)


# What can't be written


def trial(expression):
    """The error that tracing a rule with this expression gives."""

    def rule(xp):
        return lambda param, grad, lr: expression(xp, param, grad)

    with pytest.raises(UnsuitedRuleError) as caught:
        kernel_text(rule, 2, 1)
    return str(caught.value)


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
def test_a_branch_is_refused_with_what_to_write(expression):
    assert trial(expression) == (
        "a formula can't branch on an element's value: use xp.where(condition, a, b)"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda xp, a, b: xp.signbit(a), "of a formula with xp.signbit"),
        (lambda xp, a, b: a / xp.max(a), "one element at a time, and can't use xp.max over all"),
        (lambda xp, a, b: a / xp.linalg.vector_norm(a), "can't use xp.linalg over all"),
        (lambda xp, a, b: xp.flip(a), "can't use xp.flip over all"),
        (lambda xp, a, b: xp.astype(a, xp.int64), "of a formula with xp.int64"),
        (lambda xp, a, b: b * [1], r"computes with arrays and numbers, got \[1\]"),
        (lambda xp, a, b: a * 1j, "got 1j"),
        (lambda xp, a, b: xp.maximum(a, None), "got None"),
        (lambda xp, a, b: a & b, "only conditions, such as x > 0, can be combined"),
        (lambda xp, a, b: xp.logical_not(a), "only conditions"),
        (lambda xp, a, b: a % b, "no kernel can be made of the formula: unsupported operand"),
        (lambda xp, a, b: a.sum(), "no kernel can be made of the formula: .* 'sum'"),
        (lambda xp, a, b: float(a), "no kernel can be made of the formula: float"),
        (lambda xp, a, b: xp.maximum(a), "no kernel can be made of the formula"),
        (lambda xp, a, b: xp.where(a > 0, x=a, y=b), "no kernel can be made of the formula"),
    ],
)
def test_what_no_kernel_can_be_made_of(expression, message):
    assert re.search(message, trial(expression))


def test_in_place_operators_rebind():
    trace = Trace()
    first = symbol = trace.load("x")
    symbol += 1

    assert isinstance(symbol, Symbol)
    assert symbol is not first
    assert trace.lines == ["const T v0 = x;", "const T v1 = v0 + T(1.0);"]


def test_modified_rules_take_their_numbers_in_order():
    rule = modifiers.scaled(modifiers.clipped(modifiers.decayed(SGD.rule)))
    _, _, body = kernel_text(rule, 2, 4)  # lr, decay, limit, scale

    assert [line.removeprefix("const T ") for line in body.splitlines()[6:]] == [
        "v6 = v1 * v5;",  # the gradient, times the scale
        "v7 = -v4;",
        "v8 = (v6 > v7 || v6 != v6 ? v6 : v7);",
        "v9 = (v8 < v4 || v8 != v8 ? v8 : v4);",
        "v10 = v3 * v0;",
        "v11 = v0 - v10;",
        "v12 = v2 * v9;",
        "v13 = v11 - v12;",
        "param = v13;",
    ]
