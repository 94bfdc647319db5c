"""``python -m benchmarks``: all contenders in turns, as a table and as JSON. See README.md."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks import imports, turns
from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import TASKS

REFERENCES = ("torch-fused", "book")
RESULTS = Path(__file__).resolve().parent / "results"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    options = _options()
    if options.threads:
        os.environ |= dict.fromkeys(THREADS, str(options.threads))
    rounds = options.rounds or (5 if options.quick else 30)
    report: dict[str, Any] = {"machine": _machine(), "rounds": rounds, "tasks": {}}
    there = [name for name in options.contenders if not CONTENDERS[name].missing()]
    for name in options.contenders:
        if name not in there:
            print(f"skipped: {name}, as {CONTENDERS[name].needs} is not installed")
    for task in TASKS.values():
        if not any(word in task.name for word in options.tasks):
            continue
        taking_part = [name for name in there if task.kind in CONTENDERS[name].does]
        measured = turns.take_turns(task, taking_part, rounds)
        report["tasks"][task.name] = _compare(task.name, measured, task.bars)
    if any(word in "import" for word in options.tasks):
        report["tasks"]["import"] = _compare_imports(imports.take_turns(max(rounds, 5)))
    path = options.json or RESULTS / f"{dt.datetime.now():%Y-%m-%d_%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print(f"written: {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=[""], help="parts of names: train, import")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that all runs")
    parser.add_argument("--rounds", type=int, help="turns of each contender; default 30")
    parser.add_argument("--threads", type=int, help="of every library; default as it chooses")
    parser.add_argument("--json", type=Path, help="where to write; default benchmarks/results/")
    return parser.parse_args()


def _compare(title: str, measured: dict[str, turns.Measured], bars: dict[str, float]) -> Any:
    references = [name for name in REFERENCES if name in measured]
    print(f"\n{title:<16}{'median ms':>10}{'low ms':>9}", end="")
    print("".join(f"{'/ ' + name:>14}{'(quartiles)':>16}{'low':>6}" for name in references))
    rows = {}
    for name, times in measured.items():
        print(f"{name:<16}{1e3 * times.median:>10.3f}{1e3 * times.low:>9.3f}", end="")
        ratios = {}
        for reference in references:
            first, median, third = times.ratio(measured[reference])
            low = times.low / measured[reference].low
            ratios[reference] = {"quartiles": [first, median, third], "low": low}
            print(f"{median:>14.2f}{f'({first:.2f}, {third:.2f})':>16}{low:>6.2f}", end="")
        print()
        rows[name] = {"median": times.median, "low": times.low, "turns": times.medians,
                      "ratios": ratios}  # fmt: skip
    for reference, bar in bars.items():
        if "dlskills" in rows and reference in rows:
            ratio = rows["dlskills"]["ratios"][reference]["quartiles"][1]
            verdict = "reached" if ratio <= bar else "missed"
            print(f"bar: dlskills at most {bar:g} x {reference}: {ratio:.2f}, {verdict}")
    return rows


def _compare_imports(measured: dict[str, turns.Measured]) -> Any:
    print(f"\n{'import':<16}{'median s':>10}{'low s':>9}{'more than numpy':>18}")
    rows = {}
    for name, times in measured.items():
        more = times.median - measured["numpy"].median
        rows[name] = {"median": times.median, "low": times.low, "more than numpy": more}
        print(f"{name:<16}{times.median:>10.3f}{times.low:>9.3f}{more:>18.3f}")
    if "dlskills" in rows:
        more = rows["dlskills"]["more than numpy"]
        verdict = "reached" if more <= imports.BAR else "missed"
        print(f"bar: dlskills at most {imports.BAR:g} s more than numpy: {more:.3f}, {verdict}")
    return rows


def _machine() -> dict[str, Any]:
    versions = {}
    for name in ("numpy", "dlskills", "numba", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    prefixes = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "NUMBA_")
    settings = {key: value for key, value in os.environ.items() if key.startswith(prefixes)}
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "environment": settings,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor()


if __name__ == "__main__":
    main()
