"""`dlskills report`: all experiments and verdicts in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlskills import terminal
from dlskills.cli.options import (
    Device,
    Executor,
    Fresh,
    Jobs,
    Language,
    Out,
    Quick,
    Seed,
    Subset,
    wrong_use,
)
from dlskills.cli.run import compute, workers
from dlskills.cli.run_options import Csv, PageTheme
from dlskills.cli.verdicts import show_indication
from dlskills.experiments import BEYOND, EXPERIMENTS, Settings, load_experiments
from dlskills.experiments.claims import ENOUGH
from dlskills.processes import cores
from dlskills.report import write_play, write_report
from dlskills.report.words import score_by_source


def report(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE.py]...",
            help="Files with experiments of your own, in place of the tutorial's.",
            show_default=False,
        ),
    ] = None,
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Number of runs per experiment.", min=1, show_default="5, with --quick 1"
        ),
    ] = None,
    subset: Subset = "sample",
    quick: Quick = False,
    jobs: Jobs = None,
    executor: Executor = None,
    lang: Annotated[
        Language, typer.Option(help="English, Chinese, or both with a switch.")
    ] = Language.BOTH,
    theme: PageTheme = None,
    csv: Csv = False,
    fresh: Fresh = False,
    beyond: Annotated[
        bool, typer.Option("--beyond", help="Add the experiments on claims of papers.")
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="With --beyond, include what takes many minutes.")
    ] = False,
) -> None:
    """Run every experiment and write OUT/report.html with figures, numbers and verdicts.

    The report links to OUT/play.html, the page of dlskills play. With --csv
    the curves of each figure are written to OUT/FIGURE.csv.
    """
    with wrong_use():
        settings = Settings(seed, device, subset)
        if long and not beyond:
            raise ValueError("--long must be combined with --beyond")
        experiments = list(EXPERIMENTS.values())
        if files:
            experiments = [own for file in files for own in load_experiments(file)]
        if beyond:
            experiments += [one for one in BEYOND.values() if long or not one.long]
    if seeds is None:
        seeds = 1 if quick else 5  # more quick runs would not make the verdicts meaningful
    path, beside = out / "report.html", out / "play.html"
    with workers(executor, jobs) as used:
        records = compute(experiments, out, settings, seeds, quick, jobs, fresh, used)
        write_play(beside, languages=lang.fields, theme=theme)
        verdicts = write_report(
            records, path, experiments=experiments, languages=lang.fields, jobs=jobs or cores(),
            verbose=True, executor=used, play=beside.name, theme=theme, csv=csv,
        )  # fmt: skip
    console = terminal.console()
    for score in score_by_source(verdicts):
        console.print(str(score))
    if quick:
        console.print("This was a quick run, too short for meaningful verdicts.")
    elif seeds < ENOUGH:
        show_indication(console, seeds)
    console.print(f"wrote {path}", soft_wrap=True)
