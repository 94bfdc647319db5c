"""Kernels of formulas compile for CUDA, load each array once per pass, and spill no registers.

Networks and losses run on NumPy, and their formula calls are recorded. NVRTC compiles the kernels
that the engine `cuda` prepares for such calls, for the compute capabilities 8.0 and 9.0, as in
test_ptx.py. Other formulas cover all forms of kernels. Tests on the backend cupy check what the
kernels compute.
"""

import re
from collections import Counter
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import ptx
import pytest
from some_formulas import EACH, PROBLEMS, operands_for

from dlskills import (
    GELU,
    BinaryCrossEntropy,
    HuberLoss,
    LayerNormalization,
    MeanAbsoluteError,
    MultiLayerNet,
    MultiLayerNetExtend,
    RMSNormalization,
    Softmax,
    SoftmaxWithLoss,
)
from dlskills.arrays import philox
from dlskills.arrays.parameters import Parameters
from dlskills.arrays.random import Mask, MaskStream
from dlskills.formulas import cuda_lines, engines
from dlskills.formulas.engines import cuda_calls
from dlskills.formulas.formula import Formula, Rule, elementwise
from dlskills.formulas.layout import layout_of
from dlskills.formulas.operators import OPERATORS
from dlskills.layers import ACTIVATIONS, BatchNormalization, MeanSquaredError, normalization

FLOATS = ("float16", "float32", "float64")
ARCHITECTURES = ("80", "90")


class Call(NamedTuple):
    formula: Formula
    operands: Any
    axis: Any = None
    out: Any = None

    @property
    def name(self):
        kinds = "-".join(
            f"{o.dtype}{len(o.shape)}" if hasattr(o, "dtype") else type(o).__name__
            for o in self.operands
        )
        into = "" if self.out is None else "-out"
        return f"{self.formula.__name__}-{kinds}-{self.axis}{into}".replace(" ", "")


# Calls of layers


def train(dtype):
    """Run everything that has a kernel, with labels and one-hot targets, on vectors and images."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 5)).astype("float32"), np.arange(8) % 3
    dtypes = {"compute_dtype": dtype} if dtype == "float16" else {"dtype": dtype}
    for activation in ACTIVATIONS:
        network = MultiLayerNet(5, [4], 3, activation, seed=0, **dtypes)
        network.gradient(x.astype(network.params.dtype), labels)
    for layer in *(kind() for kind in ACTIVATIONS.values()), GELU(approximate=True):
        bias = np.zeros(5, dtype)
        y = layer.forward_biased(x.astype(dtype), bias)  # as a network fuses them on a GPU
        layer.backward_biased(y, bias, np.empty_like(bias))
    extended = MultiLayerNetExtend(
        5, [4], 3, use_batchnorm=True, use_dropout=True, seed=0, **dtypes
    )
    extended.gradient(x.astype(extended.params.dtype), np.eye(3, dtype="float32")[labels])
    scores = x.astype(dtype)
    SoftmaxWithLoss().forward(scores, labels)
    for targets in labels, np.eye(5, dtype=dtype)[labels]:
        SoftmaxWithLoss(1e-7).forward(scores, targets)
    weights = np.ones(8, "float32")
    for epsilon, smoothing in (0, 0.1), (1e-7, 0.1):
        loss = SoftmaxWithLoss(epsilon, label_smoothing=smoothing, class_weights=[1] * 5)
        for targets in labels, np.eye(5, dtype=dtype)[labels]:
            loss.forward(scores, targets, weights)
    for given in None, weights:
        for loss in MeanSquaredError(), MeanAbsoluteError(), HuberLoss():
            loss.forward(scores, scores, given)
        BinaryCrossEntropy().forward(scores[:, :1], labels % 2, given)
    softmax = Softmax()
    softmax.backward(softmax.forward(scores))
    free = BatchNormalization(5, affine=False)
    free.backward(free.forward(scores))
    with mock.patch.object(normalization, "_LONG", 4):
        free.forward(scores)
    extended.predict(x.astype(extended.params.dtype))
    decaying = MultiLayerNet(5, [4], 3, weight_decay_lambda=0.1, seed=0, **dtypes)
    decaying.loss(x.astype(decaying.params.dtype), labels)
    decaying.gradient(x.astype(decaying.params.dtype), labels)
    for kind in LayerNormalization, RMSNormalization:
        norm = kind(5)
        params = Parameters.from_shapes(dict.fromkeys(norm.declare(), (5,)), dtype=dtype)
        norm.bind(params, params.zeros_like())
        norm.backward(norm.forward(scores))
    images, layer = rng.standard_normal((2, 3, 4, 4)).astype(dtype), BatchNormalization(3)
    params = Parameters.from_shapes({"gamma": (3,), "beta": (3,)}, dtype=dtype)
    layer.bind(params, params.zeros_like())
    layer.backward(layer.forward(images))


def calls():
    """Return the formula calls of a training run, by a name per kernel."""
    found = {}

    def noting(formula, operands, axis=None, out=None):
        call = Call(formula, operands, axis, out)
        if not isinstance(formula, Rule):  # test_ptx.py tests rules
            found[call.name] = call
        return run(formula, operands, axis, out)

    run = engines.run
    with mock.patch.object(engines, "run", noting):
        for dtype in FLOATS:
            train(dtype)
    return found


CALLS = calls()


def test_every_formula_of_the_layers_is_covered():
    """Each formula of the layers' modules and of the norm is called in each precision."""
    from dlskills.layers import (
        binary_cross_entropy,
        cross_entropy,
        dropout,
        layer_normalization,
        softmax,
    )
    from dlskills.networks import sequential

    there = {
        value.__name__
        for module in (
            binary_cross_entropy,
            cross_entropy,
            dropout,
            layer_normalization,
            normalization,
            sequential,
            softmax,
        )
        for value in vars(module).values()
        if isinstance(value, Formula)
    }
    for dtype in FLOATS[1:]:  # Batch Norm and the loss don't compute in half precision
        assert there <= {
            call.formula.__name__ for call in CALLS.values() if call.operands[0].dtype == dtype
        }


# Compiled kernels


def prepared(call):
    """Return the engine's prepared call for NumPy arrays; None if it falls back to `plain`."""
    return getattr(cuda_calls._prepare(*call), "__self__", None)


def source(call):
    made = prepared(call)
    if not isinstance(made, cuda_calls._Elementwise):
        return made.kernel.code
    arrays = [i for i, o in enumerate(call.operands) if hasattr(o, "dtype")]
    numbers = set(range(len(call.operands))) - set(arrays)
    broadcast = [i for i in arrays if call.operands[i].shape != made.shape]
    ndim = len(made.shape) if broadcast else 1
    return ptx.elementwise_text(made.kernel, numbers, broadcast, ndim)


def check(compiled, text):
    """Compile for all architectures and return the PTX of the last one."""
    for arch in ARCHITECTURES:
        code, log = compiled(text, arch)
        assert f".target sm_{arch}" in code
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    return code


@pytest.mark.parametrize("name", CALLS)
def test_formulas_of_layers_compile_to_one_kernel(name, compiled):
    assert prepared(CALLS[name]) is not None  # otherwise it takes one launch per operation
    check(compiled, source(CALLS[name]))


def by_text(dtype):
    """Return calls of all formulas in all forms of kernels, one per kernel source."""
    found = {}
    for formula, problem in EACH:
        shape, axes = PROBLEMS[problem]
        operands = operands_for(formula, shape, axes, dtype, np.random.default_rng(0))
        call = Call(formula, operands, axes if formula.has_axis else None)
        form = "elementwise"
        if formula.has_axis:
            shapes = tuple(o.shape if hasattr(o, "shape") else None for o in operands)
            layout = layout_of(shapes, axes)
            form = (
                cuda_lines.form_of(layout, formula.trace(layout.kinds, layout.dims)) + layout.dims
            )
        found.setdefault(f"{formula.__name__}-{form}-{dtype}", call)
    return found


FORMS = {name: call for dtype in FLOATS for name, call in by_text(dtype).items()}


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_compile(name, compiled):
    check(compiled, source(FORMS[name]))


# "#pragma unroll 1" is inserted, since an unrolled loop would repeat its loads.
@pytest.mark.parametrize("name", [n for n, call in FORMS.items() if call.formula.has_axis])
def test_each_pass_loads_an_array_once(name, compiled):
    call = FORMS[name]
    shapes = tuple(o.shape if hasattr(o, "shape") else None for o in call.operands)
    layout = layout_of(shapes, call.axis)
    trace = call.formula.trace(layout.kinds, layout.dims)
    wanted = Counter()
    loads = [value for n in range(trace.passes) for value in trace.inner(n)]
    loads += [v for v in trace.loads if hasattr(call.operands[v.args[0]], "dtype")
              and v.level in ("line", "number")]  # fmt: skip
    for value in loads:
        if value.op == "load":
            wanted["ld", f"in{value.args[0]}"] += 1
    for i in range(len(trace.results)):
        wanted["st", f"out{i}"] += 1
    if trace.totals:
        wanted += Counter({(what, "partial"): len(trace.totals) for what in ("ld", "st")})
        wanted["st", "arrived"] += 1
        wanted["atom.global.add.u32", ""] += 1

    text = re.sub(r"(?=for \(\w+ (a|b|i) =)", "\n#pragma unroll 1\n", source(call))
    code, _ = compiled(text, "90")
    assert ptx.accesses(code, ptx.arguments_of(source(call))) == wanted


# Masks and functions


@elementwise
def dropped(xp):
    return lambda x, mask, scale: x * mask * scale


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_formula_with_a_mask_compiles(dtype, compiled):
    x = np.ones((100, 7), dtype)
    mask = MaskStream(0, "mask").draw(x, 0.5)
    call = Call(dropped, [x, mask, 2.0])
    text = source(call)
    assert type(mask) is Mask
    code = check(compiled, text)
    # eight elements per thread; the mask is computed and not loaded
    assert ptx.accesses(code, ptx.arguments_of(text)) == {("ld", "in0"): 8, ("st", "out0"): 8}


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_mask_kernel_compiles(dtype, compiled):
    from cupy._core import _kernel

    kernel = philox._kernel()
    inputs = [ptx.scalar(number.dtype) for number in kernel.in_params]
    types = _kernel._TypeMap((("T", np.dtype(dtype).type),))
    text = _kernel._get_elementwise_kernel_code(
        (*inputs, ptx.array(dtype), ptx.index(1)), types,
        kernel.params, kernel.operation, kernel.name, kernel.preamble,
    )  # fmt: skip
    check(compiled, text)


@elementwise
def every_function(xp):
    def results(a, b):
        found = []
        for op, operator in OPERATORS.items():
            count = operator.operands
            given = [a > 0, b > 0] if op.startswith("logical") else [a, b]
            if op == "where":
                given = [a > 0, a, b]
            value = xp.astype(a, a.dtype) if op == "astype" else getattr(xp, op)(*given[:count])
            found.append(xp.where(value, a, -xp.inf) if operator.is_condition else value)
        return *found, xp.clip(a, -xp.inf, xp.pi), xp.nan * a

    return results


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_function_available_to_formulas_compiles(dtype, compiled):
    call = Call(every_function, [np.ones((2, 3), dtype), np.ones((1, 3), dtype)])
    for arch in ARCHITECTURES:
        assert f".target sm_{arch}" in compiled(source(call), arch)[0]
