"""Mathematical functions for Numba that LLVM can vectorize.

Numba compiles ``math.exp``, ``log`` and ``tanh`` to one library call per element. The versions here
are branch-free arithmetic, so a loop over contiguous arrays becomes SIMD code and runs several
times as fast. :func:`functions` returns them with all other functions that a formula may use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike

Function = Callable[..., Any]

OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": {"contract"}}
"""Options of ``numba.njit`` for these functions and for the kernels that call them.

``contract`` fuses products with sums. A kernel must not allow ``reassoc``, which breaks the
rounding in ``exp``, nor ``nnan``.
"""


class _Constants(NamedTuple):
    """Constants of exp, log and tanh for one dtype."""

    word: type[np.unsignedinteger[Any]]  # the unsigned integer type of the same size
    ln2: tuple[float, float]  # a high part whose product with any exponent is exact, and the rest
    exp_range: tuple[float, float]  # exp(x) is 0 below and infinite above
    tanh_limit: float  # tanh(x) rounds to 1 above
    exp: tuple[float, ...]
    log: tuple[float, ...]


# Polynomials, highest power first. They are near-minimax fits by mpmath.chebyfit, 60 digits, of
#   (exp(r) - 1 - r) / r**2                   in r, for |r| <= 1.0005 * log(2) / 2
#   ((log1p(s) - log1p(-s)) / s - 2) / s**2   in s**2, for 0 <= s**2 <= 0.02945
_CONSTANTS = {
    np.dtype(np.float32): _Constants(
        word=np.uint32,
        ln2=(0.693145751953125, 1.42860682030941723e-06),
        exp_range=(-104.0, 89.0),
        tanh_limit=10.0,
        exp=(
            0.0013926213466332444,
            0.008363202971575855,
            0.04166655443768594,
            0.16666576845993977,
            0.5,
        ),
        log=(0.2958039828148471, 0.39988770673510876, 0.6666668506375033),
    ),
    np.dtype(np.float64): _Constants(
        word=np.uint64,
        ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
        exp_range=(-746.0, 710.0),
        tanh_limit=20.0,
        exp=(
            2.5100424157005067e-08,
            2.7620138719733994e-07,
            2.7557268378684192e-06,
            2.480152119021773e-05,
            0.00019841269863105968,
            0.0013888888917281794,
            0.008333333333330051,
            0.04166666666662399,
            0.16666666666666669,
            0.5000000000000001,
        ),
        log=(
            0.1461703754879165,
            0.1533167403016786,
            0.18182890556695602,
            0.2222221111514416,
            0.2857142862609589,
            0.3999999999989924,
            0.666666666666667,
        ),
    ),
}


def functions(dtype: DTypeLike) -> dict[str, Function]:
    """Return the functions that a kernel in float32 or float64 may call, by name.

    All arguments must be of this dtype, constants included: next to a float32, a Python number
    widens the result to float64. Results are of the same dtype, conditions are bool. Outside a
    function's domain the result is NaN or infinite as in NumPy; nothing raises an exception.

    ``exp`` and ``log`` are accurate to 2 ulp and ``tanh`` to 6 ulp, also where an argument or a
    result is subnormal. ``maximum`` and ``minimum`` return NaN if either argument is NaN. ``plus``
    is an addition that LLVM may reorder, which lets it vectorize a sum; ``add`` keeps the order.
    """
    return {**_OTHERS, **_exp_log_tanh(np.dtype(dtype))}


@functools.cache
def _exp_log_tanh(dtype: np.dtype[Any]) -> dict[str, Function]:
    """Return the functions whose constants depend on the dtype."""
    number, limits, constants = dtype.type, np.finfo(dtype), _CONSTANTS[dtype]
    zero, one, two, half = map(number, (0, 1, 2, 0.5))
    infinity, nan = map(number, (np.inf, np.nan))
    log2_e = number(1 / math.log(2))
    ln2_high, ln2_low = map(number, constants.ln2)
    lowest, highest = map(number, constants.exp_range)
    tanh_limit = number(constants.tanh_limit)
    exp_terms, log_terms = (tuple(map(number, c)) for c in (constants.exp, constants.log))

    # Integer arithmetic on the bits of a number reads and writes its exponent. Adding `magic` to a
    # number rounds it to an integer, which is then in the lowest bits of the sum.
    word, digits = constants.word, limits.nmant
    shift, bias, twice_bias = word(digits), word(limits.maxexp - 1), word(2 * limits.maxexp - 2)
    magic = number(1.5 * 2.0**digits)
    magic_bits = magic.view(word)
    smallest, normalize = limits.smallest_normal, number(2.0**digits)
    sqrt_half = number(math.sqrt(0.5)).view(word)
    from_sqrt_half, fraction = one.view(word) - sqrt_half, word(2**digits - 1)
    log_bias = number(magic + bias)
    log_bias_subnormal = number(log_bias + digits)

    @_compiled
    def reduced(x: Any) -> Any:
        """Return q and the bits of n + magic such that exp(x) = (1 + q) * 2**n."""
        shifted = x * log2_e + magic
        n = shifted - magic
        r = (x - n * ln2_high) - n * ln2_low
        p = exp_terms[0]
        for term in exp_terms[1:]:
            p = p * r + term
        return r + r * r * p, number(shifted).view(word)

    @_compiled
    def exp(x: Any) -> Any:
        x = lowest if x < lowest else x
        x = highest if x > highest else x
        q, n = reduced(x)
        # Two factors, since 2**n itself may be infinite or subnormal.
        n = word(n + twice_bias)
        first = word(n >> word(1))
        second = word(n - first)
        return (one + q) * word(first << shift).view(number) * word(second << shift).view(number)

    @_compiled
    def log(x: Any) -> Any:
        # x = m * 2**n with m between sqrt(1/2) and sqrt(2), where n goes up by a carry
        subnormal = x < smallest
        bits = number(x * normalize if subnormal else x).view(word)
        bits = word(bits + from_sqrt_half)
        n = word((bits >> shift) + magic_bits).view(number)
        n -= log_bias_subnormal if subnormal else log_bias
        f = word((bits & fraction) + sqrt_half).view(number) - one
        # log(1 + f) = 2 * artanh(s) = f - h + s * (h + z * p(z))
        s = f / (two + f)
        z, h = s * s, half * f * f
        p = log_terms[0]
        for term in log_terms[1:]:
            p = p * z + term
        y = n * ln2_high - ((h - (s * (h + z * p) + n * ln2_low)) - f)
        y = y if x < infinity else x  # also where x is NaN
        y = y if x != zero else -infinity
        return nan if x < zero else y

    @_compiled
    def tanh(x: Any) -> Any:
        a = abs(x)
        a = tanh_limit if a > tanh_limit else a
        q, n = reduced(a + a)
        scale = word((n + bias) << shift).view(number)
        expm1 = scale * q + (scale - one)
        return np.copysign(expm1 / (expm1 + two), x)

    return {"exp": exp, "log": log, "tanh": tanh}


def _compiled(function: Function) -> Function:
    dispatcher: Function = nb.njit(**OPTIONS)(function)
    return dispatcher


def _extremum(name: str) -> Function:
    """Return LLVM's intrinsic maximum or minimum, whose reductions LLVM can vectorize."""

    def typed(context: Any, a: Any, b: Any) -> Any:
        if a != b or not isinstance(a, types.Float):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = arguments[0].type
            function = ir.FunctionType(kind, [kind, kind])
            return builder.call(builder.module.declare_intrinsic(name, [kind], function), arguments)

        return a(a, b), generate

    extremum: Function = intrinsic(typed)
    return extremum


def _plus(a: Any, b: Any) -> Any:
    return a + b


@_compiled
def _add(a: Any, b: Any) -> Any:
    return a + b


@_compiled
def _sign(x: Any) -> Any:
    return abs(x) if x == 0 else np.sign(x)  # NumPy's sign of -0.0 is 0.0, Numba's is -0.0


@_compiled
def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


_OTHERS: dict[str, Function] = {
    "add": _add,
    "maximum": _extremum("llvm.maximum"),
    "minimum": _extremum("llvm.minimum"),
    "plus": nb.njit(**OPTIONS | {"fastmath": {"contract", "reassoc"}})(_plus),
    "sign": _sign,
    "where": _where,
    "round": np.rint,
    "abs": np.abs,
    "acos": np.acos,
    "acosh": np.acosh,
    "asin": np.asin,
    "asinh": np.asinh,
    "atan": np.atan,
    "atan2": np.atan2,
    "atanh": np.atanh,
    "ceil": np.ceil,
    "copysign": np.copysign,
    "cos": np.cos,
    "cosh": np.cosh,
    "expm1": np.expm1,
    "floor": np.floor,
    "hypot": np.hypot,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logaddexp": np.logaddexp,
    "pow": np.pow,
    "reciprocal": np.reciprocal,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "trunc": np.trunc,
}
