"""CuPy without a GPU: builds and activates hipemu, the stand-in for ROCm's libraries.

The real CuPy (its wheel for ROCm) then runs on the CPU. `nox -s tests_cupy` does all of this;
to run single tests by hand, in an environment that has `cupy-rocm-7-0`:

    eval "$(python tests/cupy_stand_in.py)"     # builds it, the first time, and names the build
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
    """The folder of hipemu's sources, whether it exists or not."""
    return Path(os.environ.get("DLSKILLS_HIPEMU") or ROOT.parent / "shared" / "hipemu")


def obstacle() -> str | None:
    """Why the stand-in cannot be used here, or None if it can."""
    if not (source() / "build.sh").is_file():
        return "the stand-in for ROCm is not there: DLSKILLS_HIPEMU names its folder"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the stand-in for ROCm needs Linux on x86-64"
    if shutil.which(compiler()) is None:
        return f"the stand-in for ROCm needs a C++ compiler, and {compiler()!r} is not found"
    return None


def compiler() -> str:
    return os.environ.get("CXX") or "g++"


def cache() -> Path:
    """The user's folder for builds and for the kernels compiled while testing."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlskills-tests"


def build() -> Path:
    """The folder of the built stand-in, which takes half a minute to build, once."""
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
        # build.sh hands on the permissions of its sources, which may be read-only: hence a copy.
        sources, result = Path(temporary, "sources"), Path(temporary, "build")
        for file in files:
            copy = sources / file.relative_to(source())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        subprocess.run(["sh", sources / "build.sh", result], check=True, stdout=sys.stderr)
        (sources / "python").rename(result / "python")
        try:
            result.rename(finished)  # at once: an interrupted build never has this name
        except OSError:
            if not finished.is_dir():  # else another process was faster, with the same result
                raise
    return finished


def environment() -> dict[str, str]:
    """The variables under which the tests run on the stand-in; builds it first, if need be."""
    return {
        "DLSKILLS_HIPEMU_BUILD": str(build()),
        # Compiled kernels are kept; the names of both caches' entries depend on the build.
        "CUPY_CACHE_DIR": str(cache() / "cupy-kernels"),
        "HIPEMU_CACHE_DIR": str(cache() / "hipemu-programs"),
        "HIPEMU_POISON": "1",  # fresh memory holds NaN, so that reading it shows
    }


def activate(folder: str) -> ModuleType:
    """The module `hipemu` of a build, in force from now on; CuPy must not be imported yet."""
    sys.path.insert(0, str(Path(folder, "python")))
    import hipemu

    hipemu.activate(folder)
    return hipemu


if __name__ == "__main__":
    if problem := obstacle():
        sys.exit(problem)
    for variable, value in environment().items():
        print(f"export {variable}='{value}'")
