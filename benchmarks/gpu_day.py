"""The day a GPU is there: all that could not be executed without one, in one command.

    nox -s gpu                       # installs what is needed, then this
    python -m benchmarks.gpu_day     # in an environment that has it

Examines the device, runs the tests on CuPy, compares trainings on CPU and CUDA step by step, runs
the experiments on both, and times the benchmarks with device events beside PyTorch's. Writes
results/gpu-<device>.json and a page beside it. A step that fails does not keep the others from
running.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
PYTHON = sys.executable
DLSKILLS = [PYTHON, "-m", "dlskills.cli"]
KEPT = 6000  # characters of a step's output, its last


def steps(device: str, folder: Path, quick: bool) -> dict[str, list[str]]:
    """Commands, by what they show."""
    both = ["--device", "cpu", "--device", device]
    shortened = ["--quick"] if quick else []
    tests = ["tests/test_launches.py"] if quick else ["-m", ""]
    experiments = [*DLSKILLS, "run", "--all", "--seeds", "1" if quick else "3", *shortened]
    return {
        "the device": [*DLSKILLS, "info", "--device", device],
        "tests on CuPy": [PYTHON, "-m", "pytest", "-q", *tests],
        "compiled kernels": [PYTHON, "-m", "pytest", "-q", "tests/gpu"],
        "CPU and CUDA, SGD": [*DLSKILLS, "compare", *both, "--batchnorm", "--dropout", "0.2"],
        "CPU and CUDA, Adam": [*DLSKILLS, "compare", *both, "--optimizer", "adam"],
        "CPU and CUDA, float64": [*DLSKILLS, "compare", *both, "--dtype", "float64"],
        "experiments on the CPU": [*experiments, "--out", str(folder / "cpu")],
        "experiments on CUDA": [
            *experiments, "--device", device, "--jobs", "1", "--out", str(folder / "cuda"),
        ],
        "benchmarks": [
            PYTHON, "-m", "benchmarks", "--device", "cuda", *shortened,
            "--json", str(folder / "benchmarks.json"),
        ],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_day", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="to see that all steps run")
    options = parser.parse_args()

    name = _device_name(options.device)
    folder = RESULTS / "scratch" / f"gpu-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "device": name, "quick": options.quick, "Python": platform.python_version(),
        "commit": _output(["git", "rev-parse", "--short", "HEAD"]).strip(), "steps": {},
    }  # fmt: skip
    for what, command in steps(options.device, folder, options.quick).items():
        print(f"===== {what}: {' '.join(command[1:])}", flush=True)
        document["steps"][what] = step = _run(command)
        print(f"{'ok' if step['status'] == 0 else 'FAILED'} after {step['seconds']} s", flush=True)
    document["claims"] = _claims(folder)
    timed = folder / "benchmarks.json"
    document["benchmarks"] = json.loads(timed.read_text()) if timed.exists() else None
    target = folder if options.quick else RESULTS
    path = target / f"gpu-{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(_page(document), encoding="utf-8")
    print(f"wrote {path} and {path.with_suffix('.md')}")
    if any(step["status"] for step in document["steps"].values()):
        sys.exit(1)


def _device_name(device: str) -> str:
    code = (
        "import cupy, dlskills; d = dlskills.get_backend('%s').device; "
        "print(cupy.cuda.runtime.getDeviceProperties(d.id)['name'].decode())"
    )
    name = _output([PYTHON, "-c", code % device]).strip() or "none"
    return re.sub(r"\W+", "-", name).strip("-").lower()


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def _run(command: list[str]) -> dict[str, Any]:
    start = time.monotonic()
    environment = os.environ | {"DLSKILLS_TEST_BACKENDS": "cupy", "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return {
        "command": " ".join(command[1:]),
        "status": done.returncode,
        "seconds": round(time.monotonic() - start, 1),
        "output": done.stdout[-KEPT:],
    }


def _claims(folder: Path) -> list[dict[str, Any]]:
    """Each claim with what was measured on both devices."""
    claims = []
    for path in sorted((folder / "cpu").glob("*.json")):
        twin = folder / "cuda" / path.name
        if not twin.exists():
            continue
        here, there = (json.loads(file.read_text(encoding="utf-8")) for file in (path, twin))
        seconds = [sum(run["seconds"] for run in side["runs"]) for side in (here, there)]
        for cpu, cuda in zip(here["claims"], there["claims"], strict=True):
            claims.append(
                {
                    "experiment": path.stem,
                    "claim": cpu["claim"],
                    "cpu": cpu["confirmed"],
                    "cuda": cuda["confirmed"],
                    "values": [[m["value"] for m in side["measured"]] for side in (cpu, cuda)],
                    "seconds": seconds,
                }
            )
    return claims


def _page(document: dict[str, Any]) -> str:
    lines = [f"# {document['device']}, commit {document['commit']}", ""]
    if document["quick"]:
        lines += ["A quick run: to see that all steps run.", ""]
    lines += ["| step | | seconds |", "| --- | --- | --- |"]
    for what, step in document["steps"].items():
        verdict = "ok" if step["status"] == 0 else "**failed**"
        lines.append(f"| {what} | {verdict} | {step['seconds']} |")
    lines += ["", "| experiment | claim | CPU | CUDA |", "| --- | --- | --- | --- |"]
    for claim in document["claims"]:
        words = ["confirmed" if claim[side] else "not confirmed" for side in ("cpu", "cuda")]
        lines.append(f"| {claim['experiment']} | {claim['claim']} | {words[0]} | {words[1]} |")
    for what, step in document["steps"].items():
        lines += ["", f"## {what}", "", f"    {step['command']}", "", "```text"]
        lines += [step["output"].replace("```", "'''").rstrip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
