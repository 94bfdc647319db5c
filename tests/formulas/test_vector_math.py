"""Accuracy, special values and vectorization of the mathematical functions for Numba."""

import importlib.util
import itertools
import re
import subprocess
import sys
from functools import cache

import mpmath
import numpy as np
import pytest

nb = pytest.importorskip("numba")

from dlskills.formulas.vector_math import OPTIONS, functions  # noqa: E402

DTYPES = [np.float32, np.float64]
ULP = {"exp": 2, "log": 2, "tanh": 6}
REFERENCE = {  # for functions that NumPy lacks under this name
    "plus": np.add,
    "round": np.rint,
    "where": lambda a, b: np.where(a > b, a, b),
}
CONDITIONS = {"isfinite", "isinf", "isnan"}
BINARY = {"add", "atan2", "copysign", "hypot", "logaddexp", "maximum", "minimum", "plus", "pow"}
BINARY |= {"where"}  # tested as a binary function


@cache
def loop(name, dtype):
    function = functions(dtype)[name]

    @nb.njit(**OPTIONS)
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


def applied(name, x):
    y = np.empty_like(x)
    loop(name, x.dtype.type)(x, y)
    return y


@cache
def reduction(name, dtype, start):
    function, start = functions(dtype)[name], dtype(start)

    @nb.njit(**OPTIONS)
    def reduction(x):
        total = start
        for i in range(x.size):
            total = function(total, x[i])
        return total

    return reduction


def special_numbers(dtype):
    limits = np.finfo(dtype)
    positive = [0, 1, 0.3, 0.5, 1.5, 2, 2.5, 3, 77.7, np.inf, limits.eps, limits.max]
    positive += [limits.smallest_subnormal, limits.smallest_normal, limits.smallest_normal / 3]
    x = np.array(positive, dtype)
    return np.concatenate([x, -x, np.array([np.nan], dtype)])


def random_bits(dtype, size):
    word = {np.float32: np.uint32, np.float64: np.uint64}[dtype]
    return np.random.default_rng(1).integers(0, 2 ** (8 * word().nbytes), size, word).view(dtype)


def arguments(dtype):
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    top, bottom = np.log(limits.max), np.log(float(limits.smallest_subnormal))
    boundaries = np.arange(-60, 60) * np.log(2) / 2  # of the reduced range of exp
    boundaries = [*boundaries, top, bottom, bottom - np.log(2), np.sqrt(0.5), np.sqrt(2)]
    boundaries = np.array(boundaries, dtype)
    ordinary = [
        rng.normal(size=500),
        rng.uniform(bottom - 2, top + 1, 500),
        rng.uniform(-10, 10, 250),
        1 + rng.uniform(-1e-3, 1e-3, 250),
        10.0 ** rng.uniform(-5, 1, 250),
    ]
    return np.concatenate(
        [
            special_numbers(dtype),
            boundaries,
            np.nextafter(boundaries, dtype(-np.inf)),
            np.nextafter(boundaries, dtype(np.inf)),
            *(x.astype(dtype) for x in ordinary),
            random_bits(dtype, 500),
        ]
    )


def check_ulps(name, x, errors, y, reference):
    """Check that special values are equal, including the sign of 0, and others within the limit."""
    ordinary = np.isfinite(reference) & (reference != 0) & np.isfinite(y)
    np.testing.assert_array_equal(y[~ordinary], reference[~ordinary], err_msg=f"{x[~ordinary]}")
    number = ~ordinary & ~np.isnan(reference)
    np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(reference[number]))
    worst = np.argmax(np.where(ordinary, errors, 0))
    assert errors[worst] <= ULP[name], f"{name}({x[worst]!r}) is {errors[worst]} ulp off"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ULP)
def test_accuracy_against_mpmath(name, dtype):
    x = arguments(dtype)
    if name == "log":
        x = np.concatenate([np.abs(x), special_numbers(dtype)])
    y = applied(name, x)
    with np.errstate(all="ignore"):
        reference = getattr(np, name)(x)
    errors = np.zeros(len(x))
    with mpmath.workprec(200):
        for i in np.flatnonzero(np.isfinite(reference) & np.isfinite(y) & (reference != 0)):
            exact = getattr(mpmath, name)(mpmath.mpf(float(x[i])))
            difference = mpmath.mpf(float(y[i])) - exact
            errors[i] = abs(difference) / float(np.spacing(abs(dtype(exact))))
    check_ulps(name, x, errors, y, reference)


@pytest.mark.parametrize("name", ULP)
def test_accuracy_of_float32_over_all_exponents(name):
    x = np.arange(0, 2**32, 4099).astype(np.uint32).view(np.float32)
    y = applied(name, x)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.float64))
        reference = exact.astype(np.float32)
        errors = np.abs(y - exact) / np.spacing(np.abs(reference))
    check_ulps(name, x, errors, y, reference)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_of_exp(dtype):
    exp, limits = functions(dtype)["exp"], np.finfo(dtype)
    finite, infinite = {
        np.float32: (88.72283, 88.72284),
        np.float64: (709.782712893383, 709.782712893385),
    }[dtype]
    assert np.isfinite(exp(dtype(finite)))
    assert exp(dtype(infinite)) == np.inf
    assert exp(dtype(np.log(float(limits.smallest_subnormal)))) == limits.smallest_subnormal
    assert exp(dtype(-1e30)) == exp(dtype(-np.inf)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_a_tiny_number_is_exact(dtype):
    limits = np.finfo(dtype)
    x = np.array([limits.smallest_subnormal, limits.smallest_normal, limits.eps / 4, 0], dtype)
    x = np.concatenate([x, -x])
    y = applied("tanh", x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ULP)
def test_loops_are_vectorized(name, dtype):
    applied(name, np.ones(1, dtype))
    [llvm] = loop(name, dtype).inspect_llvm().values()
    kind = {np.float32: "float", np.float64: "double"}[dtype]
    assert re.search(rf"fmul .*<\d+ x {kind}>", llvm)
    assert not re.search(rf"call {kind} @\w*{name}", llvm)


@cache
def computed(binary, dtype):
    """Return the arguments, results and result types of all unary or binary functions.

    Compiling them as one kernel takes a tenth of the time.
    """
    names = [name for name in functions(dtype) if (name in BINARY) == binary]
    parameters = "a, b" if binary else "a"
    calls = [f"{name}({'a > b, ' * (name == 'where')}{parameters})" for name in names]
    kernel = eval(f"lambda {parameters}: ({', '.join(calls)})", functions(dtype))
    kernel = nb.njit(**OPTIONS)(kernel)

    x = np.concatenate([special_numbers(dtype), random_bits(dtype, 30)])
    x = np.concatenate([x, np.random.default_rng(0).normal(0, 2, 30).astype(dtype)])
    operands = np.array(list(itertools.product(x, repeat=1 + binary))).T
    columns = zip(*(kernel(*values) for values in operands.T), strict=True)
    [signature] = kernel.nopython_signatures
    columns = zip(map(np.array, columns), map(str, signature.return_type), strict=True)
    return operands, dict(zip(names, columns, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(functions(np.float32)))
def test_dtype_and_agreement_with_numpy(name, dtype):
    operands, results = computed(name in BINARY, dtype)
    result, kind = results[name]
    assert kind == ("bool" if name in CONDITIONS else np.dtype(dtype).name)
    with np.errstate(all="ignore"):
        reference = (REFERENCE.get(name) or getattr(np, name))(*operands)
    if name == "pow":  # NumPy computes x**0.5 as sqrt(x), which differs from C at -0.0 and -inf
        usual = (operands[1] != 0.5) | (operands[0] > 0)
        result, reference = result[usual], reference[usual]
    limits = np.finfo(dtype)
    np.testing.assert_allclose(
        result, reference, rtol=8 * limits.eps, atol=4 * float(limits.smallest_subnormal)
    )
    zero = reference == 0
    if name in ("maximum", "minimum"):  # LLVM orders -0.0 below 0.0
        zero &= operands[0] != operands[1]
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(reference[zero]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_division_by_zero_does_not_raise(dtype):
    divide = nb.njit(**OPTIONS)(lambda a, b: a / b)
    assert divide(dtype(1), dtype(0)) == np.inf
    assert np.isnan(divide(dtype(0), dtype(0)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_plus_allows_reordering(dtype):
    x = np.random.default_rng(0).normal(size=10_001).astype(dtype)
    ordered, free = reduction("add", dtype, 0), reduction("plus", dtype, 0)
    assert ordered(x) == np.cumsum(x)[-1]
    assert free(x) == pytest.approx(
        np.sum(x, dtype=np.float64), abs=1e5 * float(np.finfo(dtype).eps)
    )
    kind = {np.float32: "float", np.float64: "double"}[dtype]
    vector_sum = rf"fadd reassoc contract <\d+ x {kind}>"
    assert re.search(vector_sum, *free.inspect_llvm().values())
    assert not re.search(vector_sum, *ordered.inspect_llvm().values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "start"), [("maximum", -np.inf), ("minimum", np.inf)])
def test_extrema_of_an_array_propagate_nan(name, start, dtype):
    x = np.random.default_rng(0).normal(size=1001).astype(dtype)
    extremum = reduction(name, dtype, start)
    assert extremum(x) == getattr(np, name).reduce(x)
    for i in (0, 500, 1000):
        assert np.isnan(extremum(np.where(np.arange(1001) == i, dtype(np.nan), x)))


KERNEL = """
import numba
import numpy as np

from dlskills.formulas.vector_math import OPTIONS, functions

f = functions(np.float32)
exp, log, tanh, sign, where, maximum, plus = map(
    f.get, ("exp", "log", "tanh", "sign", "where", "maximum", "plus")
)
zero = np.float32(0)


@numba.njit(cache=True, **OPTIONS)
def kernel(x, y):
    total = zero
    for i in range(x.size):
        y[i] = maximum(where(x[i] > zero, exp(x[i]), tanh(x[i])), log(x[i] * x[i])) * sign(x[i])
        total = plus(total, y[i])
    return total


def run():
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    y = np.empty_like(x)
    total = kernel(x, y)
    return np.append(y, total).tobytes()
"""

SECOND_PROCESS = """
import sys
import numpy as np
from dlskills.formulas.vector_math import functions

# This compiles in another order than the first process, before and after it reads the cache.
for name in ("tanh", "log"):
    functions(np.float64)[name](1.0)
sys.path.insert(0, sys.argv[1])
import cached_kernel

result = cached_kernel.run()
assert sum(cached_kernel.kernel.stats.cache_hits.values()) == 1
assert not cached_kernel.kernel.stats.cache_misses
for name in ("log", "exp"):
    value = functions(np.float32)[name](np.float32(3))
    assert abs(value - getattr(np, name)(3.0)) < 1e-5
assert cached_kernel.run() == result
sys.stdout.write(result.hex())
"""


def test_kernels_cached_on_disk_work_in_another_process(tmp_path, monkeypatch):
    path = tmp_path / "cached_kernel.py"
    path.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location("cached_kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "cached_kernel", module)  # Numba's cache needs it
    first = module.run()
    assert sum(module.kernel.stats.cache_misses.values()) == 1

    second = subprocess.run(
        [sys.executable, "-W", "error", "-c", SECOND_PROCESS, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.hex()
