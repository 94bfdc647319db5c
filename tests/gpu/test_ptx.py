"""Update kernels load and store every array once per element, as their PTX shows.

The kernels of the engine `cuda` are compiled as at a launch: by NVRTC with CuPy's options, from the
source that CuPy generates for contiguous arrays, for the compute capabilities 8.0 and 9.0. This
needs neither a GPU nor a driver. Another test checks that a launch compiles this same source; it
needs a device, which may be the stand-in (`nox -s tests_cupy`).

In the PTX, each array that a rule reads is loaded by one instruction, and each array that it writes
is stored by one. The only other memory access is the factor of `clip_norm`, a number on the GPU
that is loaded for every element. All accesses are in the kernel's only loop, so none runs twice per
element. The assembler adds none: it reports no stack and no register spills.

The same holds for the kernel that updates many arrays, except that each thread first reads its row
of the table of addresses.

These tests do not run kernels. Tests on the backend cupy check what kernels compute, and
`nox -s bench` measures their speed. Arrays that are not contiguous, which CuPy indexes differently,
are not covered.
"""

import functools
import itertools
from collections import Counter
from dataclasses import dataclass
from unittest import mock

import numpy as np
import ptx
import pytest

from dlskills import Optimizer
from dlskills.formulas import engines
from dlskills.formulas.engines import cuda, cuda_calls, cuda_table
from dlskills.formulas.formula import Rule, rule_of
from dlskills.optimizers import OPTIMIZERS, Adam, modifiers

# Compiled kernels


class Own(Optimizer):
    """A custom rule with branches and various functions."""

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
    factor: bool = False  # whether the last number is on the GPU, as with `clip_norm`

    @classmethod
    def of(cls, optimizer):
        tables = []
        with mock.patch.object(engines, "update", tables.append):
            optimizer.update({"w": np.zeros(3)}, {"w": np.zeros(3)})
        return cls(tables[0].rule, len(optimizer.slots), len(tables[0].numbers[0]))

    @property
    def arrays(self):
        return 2 + self.slots

    def kernel(self, dtype):
        """Return the kernel for one row of arrays, prepared with NumPy arrays."""
        row = [np.empty(10, dtype) for _ in range(self.arrays)]
        numbers = [0.5] * (self.numbers - self.factor) + [np.empty((), dtype)] * self.factor
        param, _, *slots = row
        call = cuda_calls._prepare(self.rule, [*row, *numbers], None, [param, *slots])
        return call.__self__.kernel

    @property
    def loaded(self):
        # the factor is loaded for every element, from the cache
        return self.arrays + self.factor

    @property
    def stored(self):
        return self.arrays - 1  # all but the gradient


MODIFIERS = {"weight_decay": 0.1, "clip_value": 1.0, "grad_scale": 0.5}
CASES = {
    **{name: Case.of(rule()) for name, rule in OPTIMIZERS.items()},
    **{f"{name}-modified": Case.of(rule(**MODIFIERS)) for name, rule in OPTIMIZERS.items()},
    **{f"adam-{name}": Case.of(Adam(**{name: value})) for name, value in MODIFIERS.items()},
    "adam-clip_norm": Case(
        rule_of(modifiers.scaled(Adam.rule)), 2, Case.of(Adam()).numbers + 1, True
    ),
    "own": Case.of(Own()),
    "own-modified": Case.of(Own(**MODIFIERS)),
}
DTYPES = ["float32", "float64"]
SIZES = [1000, 2**30, 2**32]  # in 64 bits CuPy counts bytes past 2**31, and elements past 2**31


def source(case, dtype, size):
    """Return the source that CuPy compiles at a launch over contiguous arrays."""
    inputs = range(case.arrays + case.numbers)
    factor = inputs[-1:] if case.factor else ()
    numbers = set(inputs[case.arrays :]) - set(factor)
    return ptx.elementwise_text(case.kernel(dtype), numbers, factor, size=size)


# Memory accesses


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_arrays_are_loaded_once_and_stored_once(name, dtype, compiled):
    case = CASES[name]
    names = [parameter.name for parameter in case.kernel(dtype).params]
    wanted = [("ld", f"in{i}") for i in range(case.arrays)]
    wanted += [("st", f"out{i}") for i in range(case.stored)]
    if case.factor:
        wanted.append(("ld", f"in{case.arrays + case.numbers - 1}"))
    for arch, size in itertools.product(("80", "90"), SIZES):
        text, log = compiled(source(case, dtype, size), arch)

        assert f".target sm_{arch}" in text
        assert ("ld.global.f32" in text) == (dtype == "float32")
        assert ptx.accesses(text, names) == Counter(wanted)
        [loop] = ptx.loops(text)
        assert ptx.accesses("\n".join(loop), names).total() == len(wanted)
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log


@pytest.mark.parametrize("dtypes", [("float32",), ("float64",), ("float16", "float32")])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("flat", [False, True])
def test_the_kernel_for_many_arrays_loads_and_stores_each_element_once(
    name, dtypes, flat, compiled
):
    case = CASES[name]
    dtypes = [np.dtype(dtype) for dtype in (dtypes[0], dtypes[0], *[dtypes[-1]] * case.slots)]
    factors = [np.dtype("float32")] * case.factor
    count = case.numbers - case.factor
    for arch, groups in itertools.product(("80", "90"), (1, 100)):
        groups = min(groups, cuda_table.at_once(count, dtypes[0].itemsize))
        kernel = cuda_table.update_kernel(case.rule, tuple(dtypes), groups, count, factors, flat)
        text, log = compiled(kernel.code, arch)

        names = ptx.arguments_of(kernel.code)
        # the start or the addresses, the size, and the group
        table = (1 if flat else case.arrays) + 1 + (groups > 1)
        assert ptx.accesses(text, names) == Counter(
            {
                ("ld", "chunks"): table + case.arrays,
                ("st", "chunks"): case.stored,
                **({("ld", "factor"): 1} if case.factor else {}),
            }
        )
        [loop] = ptx.loops(text)
        assert ptx.accesses("\n".join(loop), names) == Counter(
            {("ld", ""): case.arrays, ("st", ""): case.stored}
        )
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["adam", "adam-clip_norm", "own-modified"])
def test_the_source_is_the_one_that_a_launch_compiles(name, dtype, size, backend, monkeypatch):
    import cupy

    def array(size):  # without memory, which the interrupted launch does not touch
        memory = cupy.cuda.UnownedMemory(2**40, size * np.dtype(dtype).itemsize, None, device_id=0)
        return cupy.ndarray((size,), dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))

    class Compiles(Exception):
        pass

    def compiles(text, *args, **kwargs):
        raise Compiles(text)

    monkeypatch.setattr(cupy.cuda.compiler, "_compile_module_with_cache", compiles)
    made = functools.cache(cuda_calls._elementwise_kernel.__wrapped__)
    monkeypatch.setattr(cuda_calls, "_elementwise_kernel", made)
    cupy.clear_memo()  # forgets kernels that are already compiled
    case = CASES[name]
    numbers = [0.5] * (case.numbers - case.factor) + [array(1)[0]] * case.factor
    param, grad, *slots = (array(size) for _ in range(case.arrays))
    rule = Rule(case.rule.function)  # has no cached kernels
    with pytest.raises(Compiles) as caught:
        cuda.ENGINE.run(rule, [param, grad, *slots, *numbers], None, [param, *slots])

    assert str(caught.value).endswith(source(case, dtype, size))
