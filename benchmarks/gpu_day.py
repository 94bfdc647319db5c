"""Full validation on a GPU: everything that needs one, in one command.

    nox -s gpu                       # installs the requirements and runs this
    python -m benchmarks.gpu_day     # in an environment that has them

Examines the device, runs the tests on CuPy, compares trainings on CPU and CUDA step by step, runs
the experiments on both, and times the benchmarks with device events, next to PyTorch. Rewrites
results/gpu-<device>.json and a Markdown file after each step. If a step fails or takes too long,
the others still run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.__main__ import RESULTS, SCRATCH, commit_measured
from dlskills import terminal
from dlskills.files import write_file

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
DLSKILLS = [PYTHON, "-m", "dlskills.cli"]
KEPT = 6000  # the last characters of a step's output
TIMEOUT = 3600  # seconds
TIMED_OUT = "timed out"
SIDES = ("cpu", "cuda")
# Tests of a quick run. They run on a GPU, too; tests that count launches need the stand-in.
QUICK_TESTS = ("tests/arrays/test_backend.py", "tests/training/test_samples.py",
               "tests/training/test_capture.py")  # fmt: skip


def steps(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Return the command of each step, by the step's name."""
    device, jobs = options.device, str(options.jobs)
    both = ["--device", "cpu", "--device", device]
    shortened = ["--quick"] if options.quick else []
    tests = QUICK_TESTS if options.quick else ("-m", options.marks)
    shared: tuple[str, ...] = ()
    if options.jobs > 1 and importlib.util.find_spec("xdist"):
        # pytest-benchmark warns if xdist is active, and warnings are errors
        shared = ("-n", jobs, "--dist", "worksteal", "-p", "no:benchmark")
    experiments = [
        *DLSKILLS, "run", "--all", "--seeds", "1" if options.quick else str(options.seeds),
        *shortened, "--jobs", jobs,
    ]  # fmt: skip
    rounds = [] if options.rounds is None else ["--rounds", str(options.rounds)]
    double = ["--dtype", "float64"]
    return {
        "the device": [*DLSKILLS, "info", "--device", device],
        "tests on CuPy": [PYTHON, "-m", "pytest", "-q", *tests, *shared],
        "compiled kernels": [PYTHON, "-m", "pytest", "-q", "tests/gpu", *shared],
        # Not ReLU: in float32 its input may round to either side of 0, which changes the gradient.
        "CPU and CUDA, SGD": [
            *DLSKILLS, "compare", *both, "--batchnorm", "--dropout", "0.2",
            "--activation", "sigmoid",
        ],
        "CPU and CUDA, Adam, float64": [
            *DLSKILLS, "compare", *both, *double, "--optimizer", "adam",
        ],
        "CPU and CUDA, SGD, float64": [*DLSKILLS, "compare", *both, *double],
        "experiments on the CPU": [*experiments, "--out", str(folder / "cpu")],
        "experiments on CUDA": [*experiments, "--device", device, "--out", str(folder / "cuda")],
        "benchmarks": [
            PYTHON, "-m", "benchmarks", "--device", "cuda", *shortened, *rounds,
            "--json", str(folder / "benchmarks.json"),
        ],
    }  # fmt: skip


@terminal.tolerant_streams()
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    name = _device_name(options.device)
    scratch = options.out or SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    # A new folder: experiments would reuse earlier runs, and the page earlier results.
    folder = Path(tempfile.mkdtemp(prefix=f"gpu-{name}-", dir=scratch)).resolve()
    path = (options.out or (folder if options.quick else RESULTS)) / f"gpu-{name}.json"
    commands = steps(options, folder)
    told = {key: value for key, value in vars(options).items() if key != "out"}
    document: dict[str, Any] = told | {
        "device": name, "Python": platform.python_version(), "commit": commit_measured(),
        "steps": dict.fromkeys(commands),
    }  # fmt: skip
    places = folders_here(folder)
    for what, command in commands.items():
        print(f"===== {what}: {' '.join(command[1:])}", flush=True)
        document["steps"][what] = step = run_step(
            command, folder / f"{what}.log", options.timeout, places
        )
        print(f"{_verdict(step)} after {step['seconds']} s", flush=True)
        document["claims"] = without_folders(places, _claims(folder))
        document["benchmarks"] = without_folders(places, _read(folder / "benchmarks.json"))
        # after each step, so that a crash or the loss of the machine leaves the finished ones
        write_file(path, json.dumps(document, indent=1) + "\n")
        write_file(path.with_suffix(".md"), _page(document))
    print(f"wrote {path} and {path.with_suffix('.md')}")
    if any(step["status"] != 0 for step in document["steps"].values()):
        sys.exit(1)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_day", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--device", default="cuda",
        help="device of comparisons and experiments; tests and benchmarks use the first device, "
        "which CUDA_VISIBLE_DEVICES selects; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="shorten all steps, to check that they run"
    )
    parser.add_argument(
        "--jobs", type=int, default=1,
        help="processes of the experiments, on the CPU and on CUDA alike, and of the tests if "
        "pytest-xdist is installed; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, default=3, help="runs of each experiment; default: %(default)s"
    )
    parser.add_argument(
        "--rounds", type=int, help="turns of each contender; default: that of the benchmarks"
    )
    parser.add_argument(
        "--marks",
        default="",
        help="expression for pytest -m; default: all tests, including slow ones",
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT,
        help="seconds after which a step is terminated; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="output folder; default: benchmarks/results/")
    return parser.parse_args(arguments)


def _device_name(device: str) -> str:
    code = (
        "import cupy, dlskills; d = dlskills.get_backend('%s').device; "
        "print(cupy.cuda.runtime.getDeviceProperties(d.id)['name'].decode())"
    )
    try:
        asked = subprocess.run(  # noqa: S603 - code that is written here
            [PYTHON, "-c", code % device], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:  # the steps will show the problem
        return "none"
    return re.sub(r"\W+", "-", asked.stdout).strip("-").lower() or "none"


def run_step(
    command: Sequence[str], output: Path, timeout: float, places: Mapping[str, str]
) -> dict[str, Any]:
    start = time.monotonic()
    environment = os.environ | {
        "DLSKILLS_TEST_BACKENDS": "cupy", "DLSKILLS_TEST_NAMING": "backend cupy cuda",
        "COLUMNS": "120",
    }  # fmt: skip
    # Into a file: a pipe would stay open as long as any process that the step started.
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - commands written below
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        status: int | str = TIMED_OUT
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)
    text = output.read_text(encoding="utf-8", errors="replace")
    return {
        "command": without_folders(places, " ".join(command[1:])),
        "status": status,
        "seconds": round(time.monotonic() - start, 1),
        "output": without_folders(places, text)[-KEPT:],
    }


def _end(process: subprocess.Popen[Any]) -> None:
    """Terminate a running step with its workers, which would disturb later timings."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def folders_here(folder: Path) -> dict[str, str]:
    """Return this machine's folders and their replacements in results; subfolders come first."""
    named = dict.fromkeys(map(sysconfig.get_path, ("stdlib", "platlib", "purelib")), "<python>")
    if sys.prefix != sys.base_prefix:  # otherwise it may be /usr, which holds much else
        named[sys.prefix] = "<python>"
    named |= {tempfile.gettempdir(): "<tmp>", str(Path.home()): "~", str(ROOT): "."}
    named[str(folder)] = "<scratch>"
    named = {str(Path(place).resolve()): word for place, word in named.items()} | named
    longest = sorted(named, key=len, reverse=True)
    return {place: named[place] for place in longest if len(Path(place).parts) > 1}


def without_folders(places: Mapping[str, str], value: Any) -> Any:
    """Return the value with this machine's folders replaced."""
    if isinstance(value, Mapping):
        return {key: without_folders(places, item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(places, item) for item in value]
    if isinstance(value, str):
        for place, word in places.items():
            value = re.sub(re.escape(place) + r"(?![\w-])", lambda _, word=word: word, value)
    return value


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # its step failed, or was terminated while writing
        return None


def _claims(folder: Path) -> list[dict[str, Any]]:
    """Return each claim with its measurements; None for a device without them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for i, side in enumerate(SIDES):
        for path in sorted((folder / side).glob("*.json")):
            results = _read(path)
            if results is None:
                continue
            seconds = sum(run["seconds"] for run in results["runs"])
            for verdict in results["claims"]:
                empty = {
                    "experiment": path.stem, "claim": verdict["claim"],
                    "cpu": None, "cuda": None, "values": [None, None], "seconds": [None, None],
                }  # fmt: skip
                claim = found.setdefault((path.stem, verdict["claim"]), empty)
                claim[side] = verdict["confirmed"]
                claim["values"][i] = [measured["value"] for measured in verdict["measured"]]
                claim["seconds"][i] = round(seconds, 3)
    return [found[key] for key in sorted(found, key=lambda key: key[0])]


def _verdict(step: Mapping[str, Any] | None) -> str:
    if step is None:
        return "not run"
    return {0: "ok", TIMED_OUT: f"**{TIMED_OUT}**"}.get(step["status"], "**failed**")


def _page(document: Mapping[str, Any]) -> str:
    commit = document["commit"] or "unknown"
    lines = [f"# {document['device']}, commit {commit}", ""]
    if commit.endswith("+"):
        lines += ["The `+` marks uncommitted changes.", ""]
    if document["quick"]:
        lines += [
            "A quick run, to check that all steps run. Its verdicts and times mean nothing.",
            "",
        ]
    lines += ["| step | | seconds |", "| --- | --- | --- |"]
    for what, step in document["steps"].items():
        lines.append(f"| {what} | {_verdict(step)} | {step['seconds'] if step else '–'} |")
    lines += ["", *_experiments(document)]
    if measured := document["benchmarks"]:
        lines += ["", "## Times by device events", "", *report.tables(measured, "###")[:-1]]
    for what, step in document["steps"].items():
        if step is not None:
            lines += ["", f"## {what}", "", f"    {step['command']}", "", "```text"]
            lines += [step["output"].replace("```", "'''").rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _experiments(document: Mapping[str, Any]) -> list[str]:
    """Return claims and times, with a dash for missing measurements."""
    jobs, claims = document["jobs"], document["claims"]
    if not claims:
        return ["No experiment wrote results."]
    lines = [
        f"Experiments, on CPU and CUDA alike in {jobs} process{'es' * (jobs > 1)}, with one thread "
        "for the CPU's matrix products. Seconds are summed over processes and seeds.",
        "", "| experiment | CPU, s | CUDA, s |", "| --- | --- | --- |",
    ]  # fmt: skip
    times: dict[str, list[float | None]] = {}
    for claim in claims:
        both = zip(times.get(claim["experiment"], [None, None]), claim["seconds"], strict=True)
        times[claim["experiment"]] = [known if new is None else new for known, new in both]
    for experiment, seconds in times.items():
        shown = ["–" if number is None else f"{number:.1f}" for number in seconds]
        lines.append(f"| {experiment} | {' | '.join(shown)} |")
    lines += ["", "| experiment | claim | CPU | CUDA |", "| --- | --- | --- | --- |"]
    words = {True: "confirmed", False: "not confirmed", None: "–"}
    for claim in claims:
        verdicts = " | ".join(words[claim[side]] for side in SIDES)
        lines.append(f"| {claim['experiment']} | {claim['claim']} | {verdicts} |")
    return lines


if __name__ == "__main__":
    main()
