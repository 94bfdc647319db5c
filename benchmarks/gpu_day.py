"""The day a GPU is there: all that could not be executed without one, in one command.

    nox -s gpu                       # installs what is needed, then this
    python -m benchmarks.gpu_day     # in an environment that has it

Examines the device, runs the tests on CuPy, compares trainings on CPU and CUDA step by step, runs
the experiments on both, and times the benchmarks with device events beside PyTorch's. Writes
results/gpu-<device>.json and a page beside it, anew after each step. A step that fails or takes
too long does not keep the others from running.
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
from benchmarks.__main__ import RESULTS, SCRATCH, _commit
from dlskills.files import write_file

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
DLSKILLS = [PYTHON, "-m", "dlskills.cli"]
KEPT = 6000  # characters of a step's output, its last
TIMEOUT = 3600  # seconds
TIMED_OUT = "timed out"
SIDES = ("cpu", "cuda")
# Those of a quick run, which execute on a GPU too: where launches are counted, only the stand-in.
QUICK_TESTS = ("tests/arrays/test_backend.py", "tests/training/test_samples.py",
               "tests/training/test_capture.py")  # fmt: skip


def steps(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Commands, by what they show."""
    device, jobs = options.device, str(options.jobs)
    both = ["--device", "cpu", "--device", device]
    shortened = ["--quick"] if options.quick else []
    tests = QUICK_TESTS if options.quick else ("-m", options.marks)
    shared: tuple[str, ...] = ()
    if options.jobs > 1 and importlib.util.find_spec("xdist"):
        # pytest-benchmark warns beside xdist, and a warning is an error
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
        # In float32 a ReLU's input may round to either side of 0 within these steps, and then the
        # gradients differ.
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


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    name = _device_name(options.device)
    scratch = options.out or SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    # New each time: experiments would take earlier runs from it, and the page earlier results.
    folder = Path(tempfile.mkdtemp(prefix=f"gpu-{name}-", dir=scratch)).resolve()
    path = (options.out or (folder if options.quick else RESULTS)) / f"gpu-{name}.json"
    commands = steps(options, folder)
    told = {key: value for key, value in vars(options).items() if key != "out"}
    document: dict[str, Any] = told | {
        "device": name, "Python": platform.python_version(), "commit": _commit(),
        "steps": dict.fromkeys(commands),
    }  # fmt: skip
    places = _places(folder)
    for what, command in commands.items():
        print(f"===== {what}: {' '.join(command[1:])}", flush=True)
        document["steps"][what] = step = _run(command, folder / "output", options.timeout, places)
        print(f"{_verdict(step)} after {step['seconds']} s", flush=True)
        document["claims"] = _without(places, _claims(folder))
        document["benchmarks"] = _without(places, _read(folder / "benchmarks.json"))
        # after each step: a crash, or a machine that is taken away, leaves what is done
        write_file(path, json.dumps(document, indent=1) + "\n")
        write_file(path.with_suffix(".md"), _page(document))
    print(f"wrote {path} and {path.with_suffix('.md')}")
    if any(step["status"] != 0 for step in document["steps"].values()):
        sys.exit(1)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_day", description=__doc__)
    parser.add_argument(
        "--device", default="cuda",
        help="of comparisons and experiments; tests and benchmarks take the first that there is, "
        "so choose another by CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="to see that all steps run")
    parser.add_argument(
        "--jobs", type=int, default=1,
        help="processes of the experiments, on the CPU and on CUDA alike, and of the tests where "
        "pytest-xdist is installed; default %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, default=3, help="runs of each experiment; default %(default)s"
    )
    parser.add_argument(
        "--rounds", type=int, help="turns of each contender; default that of the benchmarks"
    )
    parser.add_argument(
        "--marks", default="", help="which tests, as for pytest -m; default all, slow ones too"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT,
        help="seconds after which a step is ended; default %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="folder for all that is written; default benchmarks/results/"
    )
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
    except subprocess.TimeoutExpired:  # the steps will show what is wrong
        return "none"
    return re.sub(r"\W+", "-", asked.stdout).strip("-").lower() or "none"


def _run(
    command: Sequence[str], output: Path, timeout: float, places: Mapping[str, str]
) -> dict[str, Any]:
    start = time.monotonic()
    environment = os.environ | {"DLSKILLS_TEST_BACKENDS": "cupy", "COLUMNS": "120"}
    # Into a file: a pipe stays open as long as any process that the step has started.
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
        "command": _without(places, " ".join(command[1:])),
        "status": status,
        "seconds": round(time.monotonic() - start, 1),
        "output": _without(places, text)[-KEPT:],
    }


def _end(process: subprocess.Popen[Any]) -> None:
    """End a step that still runs, and its workers, which would disturb the next step's times."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _places(folder: Path) -> dict[str, str]:
    """Folders of this machine, and what stands for them in results; parts before their wholes."""
    named = dict.fromkeys(map(sysconfig.get_path, ("stdlib", "platlib", "purelib")), "<python>")
    if sys.prefix != sys.base_prefix:  # else it may be /usr, where much else lies, too
        named[sys.prefix] = "<python>"
    named |= {tempfile.gettempdir(): "<tmp>", str(Path.home()): "~", str(ROOT): "."}
    named[str(folder)] = "<scratch>"
    named = {str(Path(place).resolve()): word for place, word in named.items()} | named
    longest = sorted(named, key=len, reverse=True)
    return {place: named[place] for place in longest if len(Path(place).parts) > 1}


def _without(places: Mapping[str, str], value: Any) -> Any:
    """The value without the names of this machine's folders."""
    if isinstance(value, Mapping):
        return {key: _without(places, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(places, item) for item in value]
    if isinstance(value, str):
        for place, word in places.items():
            value = re.sub(re.escape(place) + r"(?![\w-])", lambda _, word=word: word, value)
    return value


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # its step has failed, or was ended while it wrote
        return None


def _claims(folder: Path) -> list[dict[str, Any]]:
    """Each claim with what was measured; None for a device on which it was not."""
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
        lines += ["The `+`: with changes that were not committed.", ""]
    if document["quick"]:
        lines += [
            "A quick run: to see that all steps run. Its verdicts and times mean nothing.",
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
    """Claims and times, with a dash for what a step that failed has not measured."""
    jobs, claims = document["jobs"], document["claims"]
    if not claims:
        return ["No experiment has left results."]
    lines = [
        f"Experiments, on CPU and CUDA alike in {jobs} process{'es' * (jobs > 1)}, in which the "
        "CPU's matrix products take one thread. Seconds are added up over processes and seeds.",
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
