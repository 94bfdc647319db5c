"""Functions in formulas match NumPy's on every engine that generates code."""

import operator

import numpy as np
import pytest

from dlskills import elementwise, engine, to_host
from dlskills.formulas import ENGINES

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
    "a**0.5": plain(lambda a: a**0.5),
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
# Functions for which libraries differ in the sign of a zero.
SIGN_OF_ZERO_IS_FREE = {"xp.maximum", "xp.minimum", "xp.sign"}
FUNCTIONS = [(name, f, 1) for name, f in UNARY.items()] + [(n, f, 2) for n, f in BINARY.items()]


@elementwise
def all_functions(xp):
    return lambda a, b: tuple(f(xp, *(a, b)[:count]) for _, f, count in FUNCTIONS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.backends("numpy", "cupy")
def test_functions_match_numpy(backend, dtype):
    name = {"numpy": "numba", "cupy": "cuda"}[backend.name]
    if problem := ENGINES[name].missing():
        pytest.skip(problem)
    a, b = (grid.ravel().astype(dtype) for grid in np.meshgrid(ODD, ODD))
    with engine(name):
        results = all_functions(backend.asarray(a), backend.asarray(b))
    for (name, f, count), result in zip(FUNCTIONS, results, strict=True):
        actual = to_host(result)
        with np.errstate(all="ignore"):
            operands = a.copy(), b.copy()  # in-place operators change them
            expected = np.asarray(f(np, *operands[:count]), dtype)
        rtol = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=rtol, err_msg=name)
        if name not in SIGN_OF_ZERO_IS_FREE:
            zeros = expected == 0
            signs = np.signbit(actual[zeros]), np.signbit(expected[zeros])
            np.testing.assert_array_equal(*signs, err_msg=name)
