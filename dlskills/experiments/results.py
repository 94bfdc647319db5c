"""What an experiment leaves: its numbers and the verdicts on its claims, and its figures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlskills.experiments.claims import Verdict, judge
from dlskills.experiments.runner import Record
from dlskills.files import expanded, write_file
from dlskills.plotting import mark, save_figure

QUICK = "quick run: too short to show what the tutorial shows"


def write_results(records: Sequence[Record], folder: Path) -> tuple[list[Verdict], list[Path]]:
    """Write ``NAME.json`` and a PNG and an SVG of each figure, and judge the claims.

    Parameters
    ----------
    records : sequence of Record
        Of one experiment. The figures are those of the first.
    folder : pathlib.Path
        Made if it is missing.

    Returns
    -------
    verdicts : list of Verdict
    paths : list of pathlib.Path
    """
    from dlskills.experiments import EXPERIMENTS  # which imports this module

    first = records[0]
    experiment = EXPERIMENTS[first.experiment]
    folder = expanded(folder)
    verdicts = judge(experiment.CLAIMS, [record.numbers for record in records])
    paths = []
    for name, figure in experiment.plot(first.numbers).items():
        if first.quick:
            mark(figure, QUICK)
        paths += save_figure(figure, folder, name)
    document = {
        "experiment": first.experiment,
        "title": str(experiment.TITLE),
        "quick": first.quick,
        "claims": [_summary(verdict) for verdict in verdicts],
        "runs": [_plain(record) for record in records],
    }
    path = folder / f"{first.experiment}.json"
    text = json.dumps(_finite(document), indent=1, allow_nan=False, ensure_ascii=False)
    write_file(path, f"{text}\n")
    return verdicts, [*paths, path]


def _summary(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": str(verdict.claim.says),
        "verdict": verdict.word,
        "confirmed": verdict.confirmed,
        "remark": None if verdict.claim.remark is None else str(verdict.claim.remark),
        "measured": [
            {
                "what": str(measured.check.what),
                "expected": measured.check.bounds,
                "value": measured.value,
                "values": list(measured.values),
                "holds": measured.holds,
            }
            for measured in verdict.measured
        ],
    }


def _plain(record: Record) -> dict[str, Any]:
    fields = dataclasses.asdict(record)
    return {name: fields[name] for name in fields if name not in ("experiment", "quick")}


def _finite(value: Any) -> Any:
    """The value as strict JSON has it: null for a number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
