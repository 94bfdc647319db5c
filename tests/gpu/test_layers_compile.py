"""The kernels of layers, losses and masks compile for CUDA, and keep all they work on in registers.

Networks and losses run on NumPy, where it is noted which formulas they call with what; each one
becomes a kernel of CuPy, whose source is compiled by NVRTC for the compute capabilities 8.0 and
9.0 as in test_ptx.py. Arrays are taken for contiguous, or for broadcast where they have fewer
elements than the first. What the kernels compute is tested on the backend cupy.
"""

from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

from dlskills import MultiLayerNet, MultiLayerNetExtend, SoftmaxWithLoss, fusion, gradients
from dlskills.arrays import philox
from dlskills.arrays.parameters import Parameters
from dlskills.layers import ACTIVATIONS, BatchNormalization, MeanSquaredError
from dlskills.symbolic import _COMPARISONS, _CONDITIONS, _FUNCTIONS

FLOATS = ("float16", "float32", "float64")
ARCHITECTURES = ("80", "90")


class Call(NamedTuple):
    formula: fusion.elementwise
    operands: tuple  # for each an array's dtype and whether it is broadcast, None for a number
    ndim: int


def train(dtype):
    """Everything that has a kernel: with labels and one-hot targets, on vectors and images."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 5)).astype("float32"), np.arange(8) % 3
    dtypes = {"compute_dtype": dtype} if dtype == "float16" else {"dtype": dtype}
    for activation in ACTIVATIONS:
        network = MultiLayerNet(5, [4], 3, activation, seed=0, **dtypes)
        network.gradient(x.astype(network.params.dtype), labels)
    extended = MultiLayerNetExtend(
        5, [4], 3, use_batchnorm=True, use_dropout=True, seed=0, **dtypes
    )
    extended.gradient(x.astype(extended.params.dtype), np.eye(3, dtype="float32")[labels])
    scores = x.astype(dtype)
    SoftmaxWithLoss().forward(scores, labels)
    for targets in labels, np.eye(5, dtype=dtype)[labels]:
        SoftmaxWithLoss(1e-7).forward(scores, targets)
    MeanSquaredError().forward(scores, scores)
    images, layer = rng.standard_normal((2, 3, 4, 4)).astype(dtype), BatchNormalization(3)
    params = Parameters.from_shapes({"gamma": (3,), "beta": (3,)}, dtype=dtype)
    layer.bind(params, params.zeros_like())
    layer.backward(layer.forward(images))
    if dtype != "float16":  # whose norm is computed in single precision
        gradients._factor(gradients._squares(scores, axis=1), 1.0, 2.0, 2.0)


def calls():
    """The calls of formulas while everything is trained, by a name for each kernel."""
    found = {}

    def noted(call):
        def noting(formula, *operands, **options):
            first = operands[0]
            given = tuple(
                (operand.dtype.name, operand.size < first.size)
                if hasattr(operand, "dtype")
                else None
                for operand in operands
            )
            dtypes = "-".join(operand[0] if operand else "number" for operand in given)
            name = f"{formula.__name__}-{dtypes}-{first.ndim}d"
            found[name] = Call(formula, given, first.ndim)
            return call(formula, *operands, **options)

        return noting

    with (
        mock.patch.object(fusion.elementwise, "__call__", noted(fusion.elementwise.__call__)),
        mock.patch.object(fusion.summed, "__call__", noted(fusion.summed.__call__)),
    ):
        for dtype in FLOATS:
            train(dtype)
    return found


CALLS = calls()


def info(dtype, ndim, contiguous=True):
    import cupy
    from cupy._core import _kernel

    ndarray = 1  # CuPy's number of that kind of argument
    return _kernel._ArgInfo(ndarray, cupy.ndarray, np.dtype(dtype), ndim, contiguous, True)


def scalar(dtype):
    from cupy._core import _kernel, _scalar

    return _kernel._ArgInfo(3, _scalar.CScalar, np.dtype(dtype), 0, True, True)


def index(ndim):
    from cupy._core import _carray, _kernel

    return _kernel._ArgInfo(2, _carray.Indexer, None, ndim, True, True)


def source(call):
    """The text that CuPy compiles when the formula is called so."""
    from cupy._core import _kernel, _reduction

    dtype = call.operands[0][0]
    kinds = "".join("a" if operand else "n" for operand in call.operands)
    inputs = [
        info(operand[0], call.ndim, not operand[1]) if operand else scalar(dtype)
        for operand in call.operands
    ]
    if not isinstance(call.formula, fusion.summed):
        kernel = fusion._elementwise_kernel(call.formula.formula, kinds)
        outputs = [info(dtype, call.ndim)] * kernel.nout
        given = tuple(np.dtype(operand[0]) if operand else None for operand in call.operands)
        *_, types = kernel._decide_params_type(given, (np.dtype(dtype),) * kernel.nout)
        return _kernel._get_elementwise_kernel_code(
            (*inputs, *outputs, index(call.ndim)), types,
            kernel.params, kernel.operation, kernel.name, kernel.preamble,
        )  # fmt: skip
    kernel, count = fusion._sum_kernel(call.formula.formula, kinds)
    letters = zip(fusion._LETTERS, call.operands, strict=False)
    types = {letter: np.dtype(operand[0]).type for letter, operand in letters if operand}
    types = _kernel._TypeMap((*sorted(types.items()), ("IndexT", np.int32)))
    inputs += [scalar(dtype)] * (kernel.nin - len(inputs))
    arguments = (*inputs, *[info(dtype, 1)] * count, index(call.ndim), index(1), scalar("int32"))
    return _reduction._ReductionKernel_get_cached_function_code(
        kernel.nin, kernel.nout, kernel._params, arguments, types, kernel.name, 512,
        kernel.reduce_type, kernel.identity, kernel.map_expr, kernel.reduce_expr,
        kernel.post_map_expr, kernel.preamble, kernel.options,
    )  # fmt: skip


def check(compiled, text):
    for arch in ARCHITECTURES:
        ptx, log = compiled(text, arch)
        assert f".target sm_{arch}" in ptx
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log


def test_all_formulas_are_called():
    """Each formula in the layers' modules and of the norm, in each precision."""
    from dlskills.layers import activations, losses, normalization

    there = {
        value.__name__
        for module in (activations, losses, normalization, gradients)
        for value in vars(module).values()
        if isinstance(value, fusion.elementwise)
    }
    assert len(there) > 10
    for dtype in FLOATS[1:]:  # where Batch Norm and the loss don't compute in half precision
        assert {
            call.formula.__name__ for call in CALLS.values() if call.operands[0][0] == dtype
        } == there


@pytest.mark.parametrize("name", CALLS)
def test_a_formula_compiles(name, compiled):
    check(compiled, source(CALLS[name]))


@fusion.elementwise
def every_function(xp):
    def results(a, b):
        binary = {name for name, form in _FUNCTIONS.items() if "{1}" in form}
        of_two = [getattr(xp, name)(a, b) for name in binary]
        of_one = [getattr(xp, name)(a) for name in _FUNCTIONS if name not in binary]
        conditions = [getattr(xp, name)(a, b) for name in _COMPARISONS]
        conditions += [getattr(xp, name)(a) for name in _CONDITIONS]
        chosen = [xp.where(condition, a, -xp.inf) for condition in conditions]
        return *of_one, *of_two, *chosen, xp.clip(a, -xp.inf, xp.pi), xp.nan * a

    return results


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_function_that_a_formula_may_use_compiles(dtype, compiled):
    call = Call(every_function, ((dtype, False), (dtype, True)), 1)
    for arch in ARCHITECTURES:
        assert f".target sm_{arch}" in compiled(source(call), arch)[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_mask_compiles(dtype, compiled):
    from cupy._core import _kernel

    kernel = philox._kernel()
    inputs = [scalar(number.dtype) for number in kernel.in_params]
    types = _kernel._TypeMap((("T", np.dtype(dtype).type),))
    text = _kernel._get_elementwise_kernel_code(
        (*inputs, info(dtype, 1), index(1)), types,
        kernel.params, kernel.operation, kernel.name, kernel.preamble,
    )  # fmt: skip
    check(compiled, text)
