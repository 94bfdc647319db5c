"""`dlskills report`: all experiments and verdicts in one HTML file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlskills import terminal
from dlskills.cli.options import Device, Executor, Fresh, Jobs, Out, Quick, Seed, Subset, wrong_use
from dlskills.cli.run import compute, workers
from dlskills.cli.verdicts import show_indication
from dlskills.experiments import EXPERIMENTS, Settings, load_experiments
from dlskills.experiments.claims import ENOUGH
from dlskills.processes import cores
from dlskills.report import LANGUAGES, write_report
from dlskills.report.words import score_by_source


class Language(StrEnum):
    """Languages of the report."""

    EN = "en"
    ZH = "zh"
    BOTH = "both"


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
    fresh: Fresh = False,
) -> None:
    """Run every experiment and write OUT/report.html with figures, numbers and verdicts."""
    with wrong_use():
        settings = Settings(seed, device, subset)
        experiments = list(EXPERIMENTS.values())
        if files:
            experiments = [own for file in files for own in load_experiments(file)]
    if seeds is None:
        seeds = 1 if quick else 5  # more quick runs would not make the verdicts meaningful
    languages = tuple(LANGUAGES) if lang is Language.BOTH else (lang.value,)
    path = out / "report.html"
    with workers(executor, jobs) as used:
        records = compute(experiments, out, settings, seeds, quick, jobs, fresh, used)
        verdicts = write_report(
            records, path, experiments=experiments, languages=languages, jobs=jobs or cores(),
            verbose=True, executor=used,
        )  # fmt: skip
    console = terminal.console()
    for score in score_by_source(verdicts):
        console.print(str(score))
    if quick:
        console.print("This was a quick run, too short for meaningful verdicts.")
    elif seeds < ENOUGH:
        show_indication(console, seeds)
    console.print(f"wrote {path}", soft_wrap=True)
