"""The engine ``fused``: a rule as one CUDA kernel, made for CuPy.

The rule is run once over symbols (:mod:`dlskills.symbolic`), which write down
what it computes; that becomes the body of a kernel in which each array is read once, into a
local, before any is written. (`cupy.fuse` on the same rule reads anew whatever stands behind a
store, as the memory might be the same.)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from dlskills.arrays.backend import Array
from dlskills.optimizers.engines.rules import Rule, as_tuple
from dlskills.symbolic import Trace, traced


def missing() -> str | None:
    """Why the engine is not available, None where it is."""
    from dlskills.arrays.backend import DeviceError, get_backend

    try:
        get_backend("cuda")
    except DeviceError as error:
        return str(error)
    return None


def run(rule: Rule, arrays: Sequence[Array], coefficients: Sequence[Any]) -> None:
    """Update ``[param, grad, *slots]`` in place, in one launch."""
    param, _, *slots = arrays
    if param.size:
        kernel(rule, len(arrays), len(coefficients))(*arrays, *coefficients, param, *slots)


@functools.cache
def kernel(rule: Rule, arrays: int, numbers: int) -> Any:
    """The kernel of a rule, for so many arrays and coefficients; compiled for each dtype."""
    import cupy

    inputs, outputs, body = kernel_text(rule, arrays, numbers)
    return cupy.ElementwiseKernel(inputs, outputs, body, "dlskills_update")


def kernel_text(rule: Rule, arrays: int, numbers: int) -> tuple[str, str, str]:
    """The inputs, the outputs and the body of the kernel, in CUDA C++ over a type ``T``."""
    names = ["param", "grad", *(f"slot{i}" for i in range(arrays - 2))]
    coefficients = [f"c{i}" for i in range(numbers)]
    trace = Trace()
    loaded = [trace.load(f"{name}_in") for name in names]
    given = [trace.load(name) for name in coefficients]
    results = traced(
        lambda *values: as_tuple(rule(trace.namespace)(*values), arrays - 1), [*loaded, *given]
    )
    written = [name for name in names if name != "grad"]
    stores = [
        f"{name} = {trace.value(result)};" for name, result in zip(written, results, strict=True)
    ]
    inputs = ", ".join(f"T {name}" for name in [f"{n}_in" for n in names] + coefficients)
    outputs = ", ".join(f"T {name}" for name in written)
    return inputs, outputs, "\n".join([*trace.lines, *stores])
