"""Writes the results of an experiment: its numbers and verdicts, and its figures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlskills.experiments.claims import Verdict
from dlskills.experiments.experiment import Experiment, find
from dlskills.experiments.outcome import Record, drawn, judged
from dlskills.experiments.result_files import origin
from dlskills.experiments.text import language
from dlskills.files import expanded, write_file
from dlskills.plotting import Look, chinese_fonts, looking, save_figure


def write_results(
    records: Sequence[Record],
    folder: Path,
    *,
    experiment: Experiment | None = None,
    look: Look | None = None,
    lang: str = "en",
) -> tuple[list[Verdict], list[Path]]:
    """Write ``NAME.json`` and each figure, PNG and SVG by default, and judge the claims.

    Parameters
    ----------
    records : sequence of Record
        Of one experiment, one per seed.
    folder : pathlib.Path
        Made if it is missing.
    experiment : Experiment, optional
        That of the records, if it is not registered.
    look : Look, optional
        Theme, size, resolution and formats of the figures.
    lang : str, default "en"
        Language of the figures: ``"en"`` or ``"zh"``.

    Returns
    -------
    verdicts : list of Verdict
    paths : list of pathlib.Path
    """
    first = records[0]
    experiment = experiment or find(first.experiment)
    folder = expanded(folder)
    verdicts = judged(experiment, records)
    paths = []
    look = look or Look()
    if lang == "zh":
        look = dataclasses.replace(look, fonts=chinese_fonts())
    with looking(look), language(lang):
        for name, figure in drawn(experiment, records).items():
            paths += save_figure(figure, folder, name)
    document = origin(records, experiment) | {
        "experiment": first.experiment,
        "title": str(experiment.title),
        "quick": first.quick,
        "claims": [_summary(verdict) for verdict in verdicts],
        "runs": [_plain(record) for record in records],
    }
    path = folder / f"{first.experiment}.json"
    text = json.dumps(finite(document), indent=1, allow_nan=False, ensure_ascii=False)
    write_file(path, f"{text}\n")
    return verdicts, [*paths, path]


def _summary(verdict: Verdict) -> dict[str, Any]:
    claim, where = verdict.claim, verdict.claim.source.where
    return {
        "claim": str(claim.says),
        "source": claim.source.kind,
        "where": None if where is None else {"en": where.en, "zh": where.zh},
        "verdict": verdict.word,
        "confirmed": verdict.confirmed,
        "remark": None if claim.remark is None else str(claim.remark),
        "measured": [
            {
                "what": str(measured.check.what),
                "expected": measured.check.bounds,
                "bound": str(measured.check.bound),
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


def finite(value: Any) -> Any:
    """Return a value as strict JSON has it: null for a number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
