"""JavaScript for formulas: in a browser, every operation gives what NumPy gives."""

import itertools
import json
import math

import numpy as np
import pytest
from browser import needs_chromium, result_of

from dlskills.formulas.javascript import EXPRESSIONS, RUNTIME, function_source
from dlskills.formulas.operators import OPERATORS
from dlskills.formulas.trace import Trace

VALUES = (-math.inf, -2.5, -1.5, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 37.0, math.inf, math.nan)
CONDITIONS = {"logical_and", "logical_or", "logical_xor", "logical_not"}


def traced(op):
    """The graph of one operation on numbers; conditions are the numbers' signs."""

    def formula(xp):
        def apply(*operands):
            if op in CONDITIONS:
                operands = [operand > 0 for operand in operands]
            if op == "where":
                operands = [operands[0] > 0, *operands[1:]]
            if op == "astype":
                return xp.astype(operands[0] > 0, operands[0].dtype)
            return getattr(xp, op)(*operands)

        return apply

    return Trace(formula, ("",) * OPERATORS[op].operands, dims="")


def expected(op, operands):
    operands = [np.float64(operand) for operand in operands]
    if op in CONDITIONS:
        operands = [operand > 0 for operand in operands]
    if op == "where":
        operands[0] = operands[0] > 0
    if op == "astype":
        return float(operands[0] > 0)
    with np.errstate(all="ignore"):
        return float(getattr(np, op)(*operands))


@pytest.mark.slow
@needs_chromium
def test_every_operation_gives_what_numpy_gives(tmp_path):
    assert set(EXPRESSIONS) == set(OPERATORS)
    cases = [
        (op, operands)
        for op, operator in OPERATORS.items()
        for operands in itertools.product(VALUES, repeat=operator.operands)
        # NumPy computes a root where C, as JavaScript, says that the power is infinite
        if (op, *operands) != ("pow", -math.inf, 0.5)
    ]
    functions = ",\n".join(f"{op}: {function_source(traced(op))}" for op in OPERATORS)
    told = json.dumps([(op, [repr(number) for number in operands]) for op, operands in cases])
    script = f"""(() => {{
    {RUNTIME}
    const functions = {{ {functions} }};
    const read = (text) => ({{ inf: Infinity, "-inf": -Infinity, nan: NaN }}[text] ?? Number(text));
    return {told}.map(([op, operands]) => String(Number(functions[op](...operands.map(read))[0])));
    }})()"""
    found = [float(text.replace("Infinity", "inf")) for text in result_of(script, tmp_path)]
    assert len(found) == len(cases)
    for (op, operands), value in zip(cases, found, strict=True):
        np.testing.assert_allclose(
            value, expected(op, operands), rtol=1e-14, atol=1e-300, err_msg=f"{op}{operands}"
        )


def test_a_function_of_numbers():
    trace = Trace(lambda xp: lambda x, y: (x - 2.0 * y, xp.sqrt(y)), ("", ""), dims="")
    assert function_source(trace) == (
        "(v0, v1) => {\n"
        "  const v3 = (2.0 * v1);\n"
        "  const v4 = (v0 - v3);\n"
        "  const v5 = Math.sqrt(v1);\n"
        "  return [v4, v5];\n"
        "}"
    )


def test_what_no_result_needs_is_left_out():
    def formula(xp):
        def apply(x):
            xp.exp(x)
            return x + math.inf

        return apply

    assert "exp" not in function_source(Trace(formula, ("",), dims=""))
    assert "Infinity" in function_source(Trace(formula, ("",), dims=""))
