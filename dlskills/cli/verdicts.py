"""Verdicts on an experiment's claims, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from dlskills import terminal
from dlskills.cli.tables import show_table
from dlskills.experiments import Experiment, Verdict
from dlskills.experiments.claims import ENOUGH
from dlskills.experiments.outcome import Record, changed_options
from dlskills.report.words import source_words

STYLES = {"confirmed": "green", "not confirmed": "yellow", "not judged": "dim"}
NARROW = 60
"""Columns below which a list replaces the table."""


def show_verdicts(
    verdicts: Sequence[Verdict], records: Sequence[Record], experiment: Experiment
) -> None:
    """Print each claim, whose it is, whether it was observed, and the numbers."""
    console = terminal.console()
    if changed := changed_options(records[0], experiment):
        console.print(
            f"Claims are judged only at the tutorial's settings; {', '.join(changed)} "
            f"{'differs' if len(changed) == 1 else 'differ'}."
        )
        return
    remarks: list[str] = []
    rows: list[tuple[str, str, Text]] = []
    for verdict in verdicts:
        says = f"{verdict.claim.says} [{source_words(verdict.claim.source)}]"
        if verdict.claim.remark is not None:
            remarks.append(str(verdict.claim.remark))
            says += f" ({len(remarks)})"
        measured = "\n".join(
            f"{measured.check.what}: {measured} [expected {measured.check.bounds}]"
            for measured in verdict.measured
        )
        rows.append((says, measured, Text(verdict.word, STYLES[verdict.word])))
    if console.width < NARROW:
        _list(console, rows)
    else:
        columns = ["claim [source]", "measured", "verdict"]
        show_table(console, columns, rows, prose=(0, 1), lines=True)
    for number, remark in enumerate(remarks, 1):
        console.print(f"({number}) {remark}")
    if any(verdict.word == "not judged" for verdict in verdicts):
        console.print("Not judged: numbers needed for the verdict are missing or not finite.")
    if not records[0].quick and experiment.random and len(records) < ENOUGH:
        show_indication(console, len(records))


def _list(console: Console, rows: Sequence[tuple[str, str, Text]]) -> None:
    for says, measured, word in rows:
        console.print(Text.assemble(word, ": ", says))
        for line in measured.split("\n"):
            console.print(Padding(Text(line), (0, 0, 0, 2)))


def show_indication(console: Console, seeds: int) -> None:
    """Print that a few seeds are not enough for a verdict."""
    console.print(
        f"Based on {seeds} seed{'s' * (seeds > 1)} only; use --seeds {ENOUGH} or more for verdicts "
        "on the median."
    )
