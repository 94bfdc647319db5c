"""A cache of finished runs in a folder, keyed by settings, source code and libraries."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from pathlib import Path

from dlskills.experiments.choices import file_digest, files_of
from dlskills.experiments.environment import source_code
from dlskills.experiments.job import Job
from dlskills.experiments.outcome import Record
from dlskills.experiments.parts import split
from dlskills.experiments.releases import versions
from dlskills.files import FileFormatError, write_file
from dlskills.strict_json import read_json


def path_of(folder: Path, job: Job) -> Path:
    """Return the file of a run; other settings, source code or libraries give another one."""
    record = job.record
    told = dataclasses.asdict(record)
    for result in ("seconds", "numbers"):
        del told[result]
    del told["settings"]["verbose"]
    made_with = [source_code(), *versions(), *files_of(job.options)]
    if job.file is not None:
        made_with.append(file_digest(job.file))
    if job.experiment is not None:
        made_with.append(inspect.getsource(job.experiment.run))
    key = hashlib.sha256(json.dumps([told, made_with], sort_keys=True).encode()).hexdigest()
    return folder / f"{record.experiment}-{record.settings.seed}-{key[:16]}.json"


def read_run(folder: Path | None, job: Job) -> Record | None:
    """Return the cached run; None if there is none, or no folder."""
    if folder is None:
        return None
    try:
        kept = read_json(path_of(folder, job), finite=False)
    except (OSError, FileFormatError):  # missing or cut short: run it again
        return None
    match kept:
        case {"seconds": int() | float() as seconds, "numbers": dict() as numbers}:
            return dataclasses.replace(job.record, seconds=seconds, numbers=numbers)
    return None


def write_run(folder: Path | None, job: Job, record: Record) -> None:
    """Keep a finished run; without a folder, do nothing."""
    if folder is None:
        return
    text = json.dumps({"seconds": record.seconds, "numbers": record.numbers})
    write_file(path_of(folder, job), text)


def forget_parts(folder: Path | None, job: Job) -> None:
    """Remove the cached parts of a complete run."""
    parts = split(job)
    if folder is not None and len(parts) > 1:
        for part in parts:
            path_of(folder, part).unlink(missing_ok=True)
