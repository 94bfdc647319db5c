"""CuPy without a GPU: builds and activates hipemu, a stand-in for ROCm's libraries.

CuPy's wheel for ROCm then runs on the CPU. `nox -s tests_cupy` does all of this. To run single
tests by hand, in an environment with `cupy-rocm-7-0`:

    eval "$(python tests/cupy_stand_in.py)"     # builds it the first time and sets variables
    DLSKILLS_TEST_BACKENDS=cupy python -m pytest tests/arrays/test_backend.py
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
CUPY = "cupy-rocm-7-0==14.2.0"  # the release whose symbols the stand-in provides


def source() -> Path:
    """Return the folder of hipemu's sources, which may not exist."""
    return Path(os.environ.get("DLSKILLS_HIPEMU") or ROOT.parent / "shared" / "hipemu")


def obstacle() -> str | None:
    """Return why the stand-in can't be used here, or None if it can."""
    if not (source() / "build.sh").is_file():
        return "the stand-in for ROCm is missing. Set DLSKILLS_HIPEMU to its folder"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the stand-in for ROCm needs Linux on x86-64"
    if shutil.which(compiler()) is None:
        return f"the stand-in for ROCm needs a C++ compiler, but {compiler()!r} was not found"
    return None


def compiler() -> str:
    return os.environ.get("CXX") or "g++"


def cache() -> Path:
    """Return the user's cache folder for builds and for kernels compiled by tests."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlskills-tests"


def build() -> Path:
    """Return the folder of the built stand-in; the first call builds it in half a minute."""
    files = sorted(
        file
        for part in ("build.sh", "bin", "include", "python", "src", "stubs")
        for file in [source() / part, *(source() / part).rglob("*")]
        if file.is_file() and "__pycache__" not in file.parts
    )
    version = subprocess.run([compiler(), "--version"], check=True, capture_output=True).stdout
    digest = hashlib.sha256(version)
    for file in files:
        name = file.relative_to(source()).as_posix()
        digest.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
    finished = cache() / f"hipemu-{digest.hexdigest()[:16]}"
    if finished.is_dir():
        return finished

    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix="unfinished-") as temporary:
        # build.sh preserves the permissions of its sources, which may be read-only: hence a copy.
        sources, result = Path(temporary, "sources"), Path(temporary, "build")
        for file in files:
            copy = sources / file.relative_to(source())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        subprocess.run(["sh", sources / "build.sh", result], check=True, stdout=sys.stderr)
        (sources / "python").rename(result / "python")
        try:
            result.rename(finished)  # atomic: an interrupted build never has this name
        except OSError:
            if not finished.is_dir():  # otherwise another process has built the same
                raise
    return finished


def environment() -> dict[str, str]:
    """Return the environment variables for tests on the stand-in, building it first if needed."""
    return {
        "DLSKILLS_HIPEMU_BUILD": str(build()),
        # Compiled kernels persist between runs; both caches key their entries by the build.
        "CUPY_CACHE_DIR": str(cache() / "cupy-kernels"),
        "HIPEMU_CACHE_DIR": str(cache() / "hipemu-programs"),
        "HIPEMU_POISON": "1",  # fills fresh memory with NaN, so that reading it shows
    }


def activate(folder: str) -> ModuleType:
    """Activate a build and return its module `hipemu`; CuPy must not be imported yet."""
    sys.path.insert(0, str(Path(folder, "python")))
    import hipemu

    hipemu.activate(folder)
    return hipemu


if __name__ == "__main__":
    if problem := obstacle():
        sys.exit(problem)
    for variable, value in environment().items():
        print(f"export {variable}='{value}'")
