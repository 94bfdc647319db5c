"""NVIDIA's run-time compiler (NVRTC), called as CuPy calls it, without a GPU or a driver."""

import functools
import importlib
import io
import os
import uuid
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest


@functools.cache
def obstacle():
    """Return why CuPy can't compile for CUDA here, or None if it can."""
    try:
        with warnings.catch_warnings(action="ignore"):  # not about our code
            cupy = importlib.import_module("cupy")
            core = importlib.import_module("cupy._core.core")
    except ImportError as error:
        return f"CuPy can't be imported: {error}"
    if cupy.cuda.runtime.is_hip:
        return "this CuPy is built for ROCm, which has no NVRTC"
    try:
        cupy.cuda.nvrtc.getVersion()
        options = core.assemble_cupy_compiler_options(())
    except (ImportError, RuntimeError) as error:
        return f"NVRTC or CUDA's headers are not installed: {error}"
    folders = [Path(option[2:]) for option in options if option.startswith("-I")]
    if not any((folder / "cuda_fp16.h").is_file() for folder in folders):
        return "CUDA's headers are not installed"
    return None


@pytest.fixture
def compiled(monkeypatch):
    """A function that compiles source for a compute capability and returns PTX and ptxas's log."""
    if problem := obstacle():
        if os.environ.get("DLSKILLS_TEST_PTX"):
            pytest.fail(problem)
        pytest.skip(problem)
    from cupy._core import core
    from cupy.cuda import compiler, function, nvrtc

    options = ("--ptxas-options=-v",)
    if nvrtc.getVersion() >= (12, 8):
        options += ("--pch",)  # parses the same headers once instead of for each kernel

    class Module(function.Module):
        def load(self, ptx):  # keeps the PTX instead of loading it onto a GPU
            self.ptx = ptx.decode()

    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    monkeypatch.setattr(compiler, "function", SimpleNamespace(Module=Module))
    # As at a launch, machine code for this capability is generated; the PTX is a by-product.
    monkeypatch.setattr(
        compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "ptx")
    )

    def compiled(text, arch):
        log = io.StringIO()
        # CUDA 13 caches compiled code across processes and then reports nothing: make it unique
        text += f"\n__device__ int unlike_others_{uuid.uuid4().hex};\n"
        module = core.compile_with_cache(text, options, arch, log_stream=log)
        return module.ptx, log.getvalue()

    return compiled
