"""Time all contenders in turns; print a table and write JSON. See README.md."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import imports, report, turns
from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import CPU_ONLY, TASKS, Task
from dlskills import terminal
from dlskills.checks import suggestion
from dlskills.files import expanded, write_file

RESULTS = Path(__file__).resolve().parent / "results"
SCRATCH = RESULTS / "scratch"  # ignored by git
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROUNDS = 30
MEASURED_WITH = (
    "numpy", "dlskills", "numba", "torch", "jax", "optax", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip
VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}
QUICK = 85  # seconds after which a quick run starts no further task, to end within two minutes
INSTEAD = ("report", "parallel", "profile", "saving", "loop")  # accepted in place of tasks


@terminal.tolerant_streams()
def main() -> None:
    options = _options()
    if options.threads:
        os.environ |= dict.fromkeys(THREADS, str(options.threads))
    if options.tasks[:1] == ["report"]:
        # benchmarks.gpu_day writes the Markdown of its own results
        all_results = [path for path in RESULTS.glob("*.json") if not path.match("gpu-*")]
        found = [Path(name) for name in options.tasks[1:]] or sorted(all_results)
        for path in [written for file in found for written in report.write(file)]:
            print(f"written: {path}")
    elif options.tasks[:1] == ["parallel"]:
        from benchmarks import parallel

        parallel.main(3 if options.quick else options.rounds or ROUNDS)
    elif options.tasks[:1] == ["profile"]:
        from benchmarks import step_profile

        step_profile.main(*map(int, options.tasks[1:]))
    elif options.tasks[:1] == ["saving"]:
        from benchmarks import saving

        rounds = 1 if options.quick else options.rounds or saving.ROUNDS
        saving.main(rounds, *map(Path, options.tasks[1:2]))
    elif options.tasks[:1] == ["loop"]:
        from benchmarks import loop_cost

        loop_cost.main(20 if options.quick else options.rounds or loop_cost.ROUNDS)
    elif problem := _obstacle(options.device):
        print(f"skipped: {problem}")
    elif failures := _measure(options):
        print(*["", "failed:", *failures], sep="\n  ", file=sys.stderr)
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="Instead of tasks: `report [file.json ...]` writes results as Markdown and figure; "
        "`parallel` finds the size at which several threads become faster; `profile [width]` "
        "times the parts of a training step; `loop` times what `Loop` adds to a step; "
        "`saving [folder]` writes and reads checkpoints.",
    )
    parser.add_argument("tasks", nargs="*", help="parts of names, such as adam, 'width 100', relu")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, help="default: all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="2 short rounds, to check that everything runs"
    )
    parser.add_argument(
        "--rounds", type=_at_least_1, help=f"turns of each contender; default: {ROUNDS}"
    )
    parser.add_argument(
        "--threads", type=_at_least_1, help="threads of every library; default: its own choice"
    )
    parser.add_argument("--json", type=Path, help="output file; default: in benchmarks/results/")
    options = parser.parse_args()
    instead = options.tasks[:1] in [[word] for word in INSTEAD]
    if problem := (_wrong_words if instead else _nothing_for)(options):
        parser.error(problem)
    options.contenders = options.contenders or list(CONTENDERS)
    return options


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) >= 1


def _at_least_1(text: str) -> int:
    if not _is_count(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _wrong_words(options: argparse.Namespace) -> str | None:
    """Return an error if the words after one of INSTEAD are none that it takes."""
    what, *words = options.tasks
    if what == "report":
        return next(
            (f"there is no file {name}" for name in words if not Path(name).is_file()), None
        )
    takes: dict[str, tuple[str, Callable[[str], bool]]] = {
        "profile": ("a width, a whole number of at least 1", _is_count),
        "saving": ("an existing folder", os.path.isdir),
    }
    expected, fits = takes.get(what, ("no other words", lambda _: False))
    if not words or (len(words) == 1 and fits(words[0])):
        return None
    return f"{what} takes {expected}, got {' '.join(words)}"


def _nothing_for(options: argparse.Namespace) -> str | None:
    """Return an error if one of the given words or contenders matches no task."""
    names = [*TASKS, "import"]
    for word in options.tasks:
        if not any(_asked(name, [word]) for name in names):
            words = {part for name in names for part in re.findall(r"\w+", name.lower())}
            known = sorted({name.partition(",")[0] for name in names})
            hint = suggestion(word.lower(), sorted(words | set(INSTEAD)))
            return f"no task has {word!r} in its name{hint}; tasks are: {', '.join(known)}"
    tasks = [task for task in TASKS.values() if _asked(task.name, options.tasks)]
    for name in options.contenders or ():
        if not any(name in task.contenders for task in tasks):
            others = dict.fromkeys(other for task in tasks for other in task.contenders)
            return (
                f"{name} takes part in none of these tasks; their contenders are: "
                f"{', '.join(others) or 'none that can be chosen'}"
            )
    return None


def _measure(options: argparse.Namespace) -> list[str]:
    """Measure, print and write; return what failed."""
    tasks = [task for task in TASKS.values() if _asked(task.name, options.tasks)]
    wanted = {name for task in tasks for name in task.contenders} & set(options.contenders)
    workers: dict[str, turns.Worker] = {}
    begin = time.monotonic()
    left_out = []
    rounds = options.rounds or (2 if options.quick else ROUNDS)
    results: Any = {
        "machine": _machine(options.device),
        "device": options.device,
        "rounds": rounds,
        "tasks": {},
    }
    if _asked("import", options.tasks) and options.device == "cpu":
        measured = imports.take_turns(rounds)
        results["tasks"]["import"] = _shown("import", "import", measured, {})
    try:
        for name in CONTENDERS:
            if name in wanted and _takes_part(name, options):
                workers[name] = turns.Worker(name, options.device)
        for task in tasks:
            if options.quick and time.monotonic() - begin > QUICK:
                left_out.append(task.name)
                continue
            results["tasks"][task.name] = _turns(task, workers, rounds, options.quick)
    except KeyboardInterrupt:
        options.json = options.json or SCRATCH / "interrupted.json"  # complete results stay
        _write(results, options)
        raise
    finally:
        for worker in workers.values():
            worker.close()
    if left_out:
        print(f"\nleft out, for a quick run to end within two minutes: {'; '.join(left_out)}")
    print(*["", *report.bar_lines(results)], sep="\n")
    _write(results, options)
    return [
        f"{task}: {name}: {error}"
        for task, measured in results["tasks"].items()
        for name, error in measured["failed"].items()
    ]


def _turns(task: Task, workers: dict[str, turns.Worker], rounds: int, quick: bool) -> Any:
    for name, worker in workers.items():
        if not worker.alive:  # it died in the previous task
            worker.close()
            workers[name] = turns.Worker(name, worker.device)
    there = {
        name: workers[name]
        for name in task.contenders
        if name in workers
        and not (workers[name].device == "cuda" and (task.name, name) in CPU_ONLY)
    }
    measured, failed = turns.take_turns(task, there, rounds, quick)
    return _shown(task.name, task.group, measured, failed)


def _shown(
    name: str, group: str, measured: dict[str, turns.Measured], failed: dict[str, str]
) -> Any:
    rows = {
        contender: {"median": times.median, "low": times.low, "turns": times.medians}
        for contender, times in measured.items()
    }
    task = {"group": group, "contenders": rows, "failed": failed}
    print(*["", *report.task_lines(name, task)], sep="\n", flush=True)
    return task


def _asked(name: str, words: Sequence[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def _takes_part(name: str, options: argparse.Namespace) -> bool:
    contender = CONTENDERS[name]
    if options.device == "cuda" and contender.cuda is None:
        return False
    if options.device == "cuda" and contender.cuda == "torch" and not _torch_has_cuda():
        print(f"skipped: {name}, as torch is not installed or finds no GPU")
        return False
    if options.quick and name == "torch-compile":
        print(f"skipped: {name}, which compiles for a minute, in a quick run")
        return False
    if missing := contender.missing():
        print(f"skipped: {name}, as {' and '.join(missing)} is not installed")
        return False
    return True


def _torch_has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _obstacle(device: str) -> str | None:
    from dlskills import DeviceError, get_backend

    try:
        get_backend(device)
    except DeviceError as error:
        return str(error)
    return None


def _write(results: Any, options: argparse.Namespace) -> None:
    """Write a full run to results/, a partial or quick one to results/scratch/."""
    if not any(task["contenders"] for task in results["tasks"].values()):
        print("nothing was measured, so nothing is written", file=sys.stderr)
        if not any(task["failed"] for task in results["tasks"].values()):
            raise SystemExit(1)
        return
    machine = results["machine"]
    words = f"{machine['device'] or machine['processor']} {machine['cores']} cores"
    name = re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")
    partial = options.quick or options.tasks or set(options.contenders) < set(CONTENDERS)
    path = options.json or (SCRATCH if partial else RESULTS) / f"{name}.json"
    path = expanded(path, "--json")
    write_file(path, json.dumps(results, indent=1) + "\n")
    print(f"written: {path}")


def _machine(device: str) -> dict[str, Any]:
    versions = {}
    for name in MEASURED_WITH:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    if versions["dlskills"] is None:  # imported from the working folder
        import dlskills

        versions["dlskills"] = dlskills.__version__
    prefixes = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "NUMBA_", "XLA_")
    settings = {key: value for key, value in os.environ.items() if key.startswith(prefixes)}
    return {
        "processor": _cpuinfo("model name") or platform.processor(),
        "vendor": VENDORS.get(_cpuinfo("vendor_id")),
        "cores": os.cpu_count(),
        "device": _gpu() if device == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "environment": settings,
        "commit": commit_measured(),
    }


def _cpuinfo(key: str) -> str:
    """Return a value from /proc/cpuinfo, or an empty string."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith(key))
    except (OSError, StopIteration, IndexError):
        return ""


def _gpu() -> str:
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def commit_measured() -> str | None:
    """Return the commit that was measured, with a ``+`` if there are uncommitted changes.

    In a copy without its git history, the environment variable BENCHMARKS_COMMIT states the commit.
    """
    if told := os.environ.get("BENCHMARKS_COMMIT"):
        return told
    git = ["git", "-C", str(RESULTS.parent)]
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603 - the two questions below
                git + words, check=True, capture_output=True, text=True
            ).stdout.strip()
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit[:12] + ("+" if changes else "")


if __name__ == "__main__":
    main()
