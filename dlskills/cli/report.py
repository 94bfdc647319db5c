"""`dlskills report`: all experiments and verdicts in one HTML file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlskills import terminal
from dlskills.cli.options import Device, Fresh, Jobs, Out, Quick, Seed, Subset, wrong_use
from dlskills.cli.run import compute
from dlskills.cli.verdicts import show_indication
from dlskills.experiments import EXPERIMENTS, Settings
from dlskills.experiments.claims import ENOUGH
from dlskills.report import LANGUAGES, write_report


class Language(StrEnum):
    """Languages of the report."""

    EN = "en"
    ZH = "zh"
    BOTH = "both"


def report(
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
    lang: Annotated[
        Language, typer.Option(help="English, Chinese, or both with a switch.")
    ] = Language.BOTH,
    fresh: Fresh = False,
) -> None:
    """Run every experiment and write OUT/report.html with figures, numbers and verdicts."""
    with wrong_use():
        settings = Settings(seed, device, subset)
    if seeds is None:
        seeds = 1 if quick else 5  # more quick runs would not make the verdicts meaningful
    records = compute(list(EXPERIMENTS), out, settings, seeds, quick, jobs, fresh)
    languages = tuple(LANGUAGES) if lang is Language.BOTH else (lang.value,)
    path = out / "report.html"
    verdicts = write_report(records, path, languages=languages, verbose=True)
    console = terminal.console()
    confirmed = sum(verdict.confirmed for verdict in verdicts)
    console.print(f"{confirmed} of {len(verdicts)} claims confirmed")
    if quick:
        console.print("This was a quick run, too short for meaningful verdicts.")
    elif seeds < ENOUGH:
        show_indication(console, seeds)
    console.print(f"wrote {path}", soft_wrap=True)
