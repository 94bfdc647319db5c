"""`dlskills repeat`: run a result file anew, and compare the numbers bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dlskills import terminal
from dlskills.cli.options import Jobs, jobs_on
from dlskills.cli.tables import show_table
from dlskills.experiments.repeat import Repetition
from dlskills.experiments.repeat import repeat as repeat_results
from dlskills.experiments.result_files import Results, read_results
from dlskills.files import expanded

_SHOWN = 10


def _existing(given: Path) -> Path:
    if not expanded(given, "FILE.json").is_file():
        raise typer.BadParameter(
            f"there is no file {str(given)!r}. `dlskills run NAME` writes OUT/NAME.json"
        )
    return given


def repeat(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.json",
            help="A result file that `dlskills run` wrote, such as results/optimizer-mnist.json.",
            show_default=False,
            callback=_existing,
        ),
    ],
    jobs: Jobs = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Run Python files that FILE.json names, if it names any."),
    ] = False,
) -> None:
    """Repeat the runs of a result file with its settings and seeds, and compare the numbers.

    The exit status is 0 if all numbers are the same bits, and 1 if any differs.
    Then the command shows which differ and by how much. In both cases it shows
    which versions, BLAS library and processor differ. FILE.json stays as it is.
    """
    results = read_results(file)
    console = terminal.console()
    first, count = results.settings.seed, len(results.numbers)
    seeds = f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"
    console.print(f"repeating {results.experiment:.60}, {seeds}", soft_wrap=True, markup=False)
    jobs = jobs_on(results.settings.device, jobs)
    found = repeat_results(results, trust=trust, jobs=jobs)
    _show(console, found, results)
    if found.differences:
        raise typer.Exit(1)


def _show(console: Console, found: Repetition, results: Results) -> None:
    differences = found.differences
    if not differences:
        console.print(f"all {found.count:,} values are the same, bit for bit")
    else:
        console.print(f"{len(differences):,} of {found.count:,} values differ")
        largest = sorted(differences, key=lambda difference: -difference.relative)[:_SHOWN]
        rows = [
            [str(d.seed), d.where[:80], _shown(d.there), _shown(d.here), f"{d.relative:.2g}"]
            for d in largest
        ]
        columns = ["seed", "value", "in the file", "here", "relative difference"]
        show_table(console, columns, rows, title="The largest differences")
    if found.environment:
        rows = [[what, there[:80], here[:80]] for what, (there, here) in found.environment.items()]
        show_table(console, ["differs", "in the file", "here"], rows)
    elif differences:
        console.print("The versions, the BLAS library and the processor are the same.")


def _shown(value: Any) -> str:
    return "none" if value is None else repr(value)[:40]
