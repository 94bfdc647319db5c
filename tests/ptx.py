"""Memory accesses and loops in PTX, and the sources that CuPy compiles at a launch."""

import re
from collections import Counter, defaultdict

import numpy as np

OTHERS = r"(ld|st)u?\.(?!param|shared|volatile\.shared)|(red|atom|cp|tex|suld|sust|call|brx)\b"
POINTERS = re.compile(r"(in|out)\d+|partial|arrived|chunks|factor")


def accesses(ptx, names):
    """Count global memory accesses: {("ld" or "st", argument): count}.

    `names` are the names of the kernel's arguments. An address that was loaded from memory counts
    for the argument that this memory belongs to. Other instructions that access memory outside of
    the block, such as `atom.global` or `ld.local`, are counted under their full names. Accesses of
    generic addresses count as global memory; the caller must check that there is no stack.
    """
    made_of, pointers, found = defaultdict(set), {}, Counter()
    for line in map(str.strip, ptx.splitlines()):
        match = re.fullmatch(r"(?:@!?%\w+\s+)?([a-z][\w.:]*)\s+(.+);", line)
        if match is None:
            continue
        instruction, operands = match.groups()
        result, *others = operands.split(",", 1)
        made_of[result] |= set(re.findall(r"%\w+", "".join(others)))
        if parameter := re.search(r"\[\w+_param_(\d+)\]", operands):
            name = names[int(parameter[1])]
            if POINTERS.fullmatch(name):
                pointers[result] = name
        elif re.match(r"(ld|st)\.(volatile\.)?(global|[usbf]\d|v\d)", instruction):
            times = int((re.search(r"\.v(\d)", instruction) or "01")[1])
            found[instruction[:2], re.search(r"\[(%\w+)", operands)[1]] += times
        elif re.match(OTHERS, instruction):
            found[instruction, ""] += 1

    def arguments(address):
        reached, new = set(), {address}
        while new:
            reached |= new
            new = set().union(*(made_of[register] for register in new)) - reached
        return "+".join(sorted({pointers[register] for register in reached & set(pointers)}))

    named = Counter()
    for (instruction, address), times in found.items():
        named[instruction, arguments(address) if address else ""] += times
    return named


def loops(ptx):
    """Return the lines of each loop, that is, of the code before each backward branch."""
    lines = [line.strip() for line in ptx.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if line.endswith(":")}
    branches = [
        (labels[match[1]], number)
        for number, line in enumerate(lines)
        if (match := re.search(r"\bbra\S*\s+(\$?\w+);", line))
    ]
    return [lines[start:end] for start, end in branches if start <= end]


def arguments_of(text):
    """Return the argument names of the kernel in a source text."""
    listed = re.search(r"__global__ void (?:__launch_bounds__\([^)]*\) )?\w+\(([^)]*)\)", text)[1]
    return [argument.split()[-1] for argument in listed.split(",")]


# The source of CuPy's elementwise kernels

NDARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's argument kinds


def array(dtype, ndim=1, contiguous=True, narrow=True):
    import cupy
    from cupy._core import _kernel

    return _kernel._ArgInfo(NDARRAY, cupy.ndarray, np.dtype(dtype), ndim, contiguous, narrow)


def scalar(dtype):
    from cupy._core import _kernel, _scalar

    return _kernel._ArgInfo(SCALAR, _scalar.CScalar, np.dtype(dtype), 0, True, True)


def index(ndim, narrow=True):
    from cupy._core import _carray, _kernel

    return _kernel._ArgInfo(INDEXER, _carray.Indexer, None, ndim, True, narrow)


def elementwise_text(kernel, numbers=(), broadcast=(), ndim=1, size=1000):
    """Return the source that CuPy compiles when an elementwise kernel is launched.

    All arrays have `ndim` dimensions and are contiguous, except the inputs in `broadcast`. The
    inputs in `numbers` are Python numbers.
    """
    from cupy._core import _kernel

    def info(dtype, contiguous=True):
        return array(dtype, ndim, contiguous, size * dtype.itemsize <= 2**31)

    given = [np.dtype(parameter.dtype) for parameter in kernel.in_params]
    made = [np.dtype(parameter.dtype) for parameter in kernel.out_params]
    inputs = [
        scalar(dtype) if i in numbers else info(dtype, i not in broadcast)
        for i, dtype in enumerate(given)
    ]
    of_arrays = tuple(None if i in numbers else dtype for i, dtype in enumerate(given))
    *_, types = kernel._decide_params_type(of_arrays, tuple(made))
    return _kernel._get_elementwise_kernel_code(
        (*inputs, *map(info, made), index(ndim, size <= 2**31)), types,
        kernel.params, kernel.operation, kernel.name, kernel.preamble,
    )  # fmt: skip
