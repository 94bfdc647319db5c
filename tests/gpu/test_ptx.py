"""Each update on a GPU loads every array once an element and stores it once: shown in its PTX.

The kernels of the engine `fused` are compiled as CuPy compiles them at a launch: from the source
that it writes for contiguous arrays, with its options, by NVRTC, for the GPUs of the compute
capabilities 8.0 and 9.0. That needs neither a GPU nor a driver. That the source is a launch's own
is seen where CuPy has a device, which may be the stand-in: `nox -s tests_cupy`.

What is shown. In the PTX, each array that a rule reads is loaded by one instruction, each that it
writes is stored by one, and nothing else touches memory but `clip_norm`, whose factor, one number
on the GPU, is loaded anew for every element. All of this is in the one loop of the kernel, the
loop over elements, so nothing runs twice for an element. Nor does the assembler add anything on
the way to machine code: it reports no stack and no register spilled to memory.

What is not shown. No GPU runs here: neither what a kernel computes nor how fast. It is computed
and compared in the other tests on the backend cupy, and timed by `nox -s bench`. Arrays that are
not contiguous, which CuPy indexes in another way, are not looked at.
"""

import functools
import itertools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from dlskills import Optimizer
from dlskills.optimizers import OPTIMIZERS, Adam, modifiers
from dlskills.optimizers.engines import fused
from dlskills.optimizers.engines.rules import Rule

# What is compiled


class Own(Optimizer):
    """A rule such as a user might write, with branches and functions of all kinds."""

    lr: float = 0.01
    slots = ("v", "m")

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        def update(param, grad, v, m, lr):
            v += xp.where(grad * v < 0, xp.sign(grad), grad)
            m = xp.maximum(m * 0.99, xp.abs(grad))
            param -= lr * xp.tanh(v / (m + 1e-8)) * xp.exp(-m) + xp.log1p(xp.abs(param)) * lr
            return param, v, m

        return update


@dataclass(frozen=True)
class Case:
    rule: Rule
    slots: int
    numbers: int
    factor: bool = False  # whether the last number is one on the GPU, as `clip_norm` makes it

    @classmethod
    def of(cls, optimizer):
        rule, numbers = optimizer._rule_and_numbers({})
        return cls(rule, len(optimizer.slots), len(numbers))

    @property
    def arrays(self):
        return 2 + self.slots

    @property
    def kernel(self):
        return fused.kernel(self.rule, self.arrays, self.numbers)

    @property
    def accesses(self):
        """The loads and the stores that there should be, with the names of the arguments."""
        slots = [f"slot{i}" for i in range(self.slots)]
        loaded = [f"{name}_in" for name in ("param", "grad", *slots)]
        if self.factor:  # for every element, yet the same number: it comes from the cache
            loaded.append(f"c{self.numbers - 1}")
        return Counter([("ld", n) for n in loaded] + [("st", n) for n in ("param", *slots)])


MODIFIERS = {"weight_decay": 0.1, "clip_value": 1.0, "grad_scale": 0.5}
CASES = {
    **{name: Case.of(rule()) for name, rule in OPTIMIZERS.items()},
    **{f"{name}-modified": Case.of(rule(**MODIFIERS)) for name, rule in OPTIMIZERS.items()},
    **{f"adam-{name}": Case.of(Adam(**{name: value})) for name, value in MODIFIERS.items()},
    "adam-clip_norm": Case(modifiers.scaled(Adam.rule), 2, Case.of(Adam()).numbers + 1, True),
    "own": Case.of(Own()),
    "own-modified": Case.of(Own(**MODIFIERS)),
}
DTYPES = ["float32", "float64"]
SIZES = [1000, 2**30, 2**32]  # in 64 bits CuPy counts bytes past 2**31, and elements past 2**31


def source(case, dtype, size):
    """The text that CuPy compiles when the kernel is launched over contiguous arrays."""
    import cupy
    from cupy._core import _carray, _kernel, _scalar

    ndarray, indexer, scalar = 1, 2, 3  # CuPy's kinds of arguments
    dtype = np.dtype(dtype)
    narrow = size * dtype.itemsize <= 2**31
    array = _kernel._ArgInfo(ndarray, cupy.ndarray, dtype, 1, True, narrow)
    factor = _kernel._ArgInfo(ndarray, cupy.ndarray, dtype, 1, False, narrow)
    number = _kernel._ArgInfo(scalar, _scalar.CScalar, dtype, 0, True, True)
    index = _kernel._ArgInfo(indexer, _carray.Indexer, None, 1, True, size <= 2**31)
    numbers = [number] * (case.numbers - case.factor) + [factor] * case.factor
    inputs, outputs = [array] * case.arrays + numbers, [array] * (case.arrays - 1)

    kernel = case.kernel
    dtypes = [dtype if arg.arg_kind == ndarray else None for arg in inputs]
    *_, types = kernel._decide_params_type(tuple(dtypes), (dtype,) * len(outputs))
    return _kernel._get_elementwise_kernel_code(
        (*inputs, *outputs, index), types,
        kernel.params, kernel.operation, kernel.name, kernel.preamble,
    )  # fmt: skip


# What is found


def accesses(ptx, names):
    """How often each argument is loaded and stored for an element: {(instruction, name): times}.

    Anything else that touches memory, such as `atom.global` or `ld.local`, goes by its full name.
    """
    lines = [line.strip() for line in ptx.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if line.endswith(":")}
    branches = [
        (labels[match[1]], number)
        for number, line in enumerate(lines)
        if (match := re.search(r"\bbra\S*\s+(\$?\w+);", line))
    ]
    loops = [branch for branch in branches if branch[0] <= branch[1]]
    assert len(loops) == 1  # code runs again only where a branch leads back
    assert not re.search(r"\b(call|brx)\b", ptx)
    [(start, end)] = loops

    made_of, pointers, found = defaultdict(set), {}, Counter()
    for number, line in enumerate(lines):
        match = re.fullmatch(r"(?:@!?%\w+\s+)?([a-z][\w.:]*)\s+(.+);", line)
        if match is None:
            continue
        instruction, operands = match.groups()
        result, *others = operands.split(",", 1)
        made_of[result] |= set(re.findall(r"%\w+", "".join(others)))
        if parameter := re.search(r"\[\w+_param_(\d+)\]", operands):
            pointers[result] = names[int(parameter[1])]  # the first member of CuPy's CArray
        elif re.match(r"(ld|st)\.global\b", instruction):
            assert start < number < end
            times = int((re.search(r"\.v(\d)", instruction) or "01")[1])
            address = re.search(r"\[(%\w+)", operands)[1]
            found[instruction[:2], address] += times
        elif re.match(r"(ld|st)u?\.(?!param)|atom|red\b|cp\.|tex|suld|sust", instruction):
            found[instruction, operands] += 1

    def array(address):
        """The pointer that an address is computed from."""
        reached, new = set(), {address}
        while new:
            reached |= new
            new = set().union(*(made_of[register] for register in new)) - reached
        return "+".join(sorted(pointers[register] for register in reached & set(pointers)))

    named = Counter()
    for (instruction, address), times in found.items():
        named[instruction, array(address)] += times
    return named


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_arrays_are_loaded_once_and_stored_once(name, dtype, compiled):
    case = CASES[name]
    names = [parameter.name for parameter in case.kernel.params]
    for arch, size in itertools.product(("80", "90"), SIZES):
        ptx, log = compiled(source(case, dtype, size), arch)

        assert f".target sm_{arch}" in ptx
        assert ("ld.global.f32" in ptx) == (dtype == "float32")
        assert accesses(ptx, names) == case.accesses
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["adam", "adam-clip_norm", "own-modified"])
def test_it_is_the_source_that_a_launch_compiles(name, dtype, size, backend, monkeypatch):
    import cupy

    def array(size):  # without memory: the launch ends before any is touched
        memory = cupy.cuda.UnownedMemory(2**40, size * np.dtype(dtype).itemsize, None, device_id=0)
        return cupy.ndarray((size,), dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))

    class Compiles(Exception):
        pass

    def compiles(text, *args, **kwargs):
        raise Compiles(text)

    monkeypatch.setattr(cupy.cuda.compiler, "_compile_module_with_cache", compiles)
    monkeypatch.setattr(fused, "kernel", functools.cache(fused.kernel.__wrapped__))
    cupy.clear_memo()  # of kernels that are compiled already
    case = CASES[name]
    numbers = [0.5] * (case.numbers - case.factor) + [array(1)[0]] * case.factor
    with pytest.raises(Compiles) as caught:
        fused.run(case.rule, [array(size) for _ in range(case.arrays)], numbers)

    assert str(caught.value).endswith(source(case, dtype, size))
