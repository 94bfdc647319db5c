"""Splitting a run into parts for several processes, and merging their records."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from dlskills.experiments.choices import plain
from dlskills.experiments.job import Job
from dlskills.experiments.outcome import Record


def split(job: Job) -> list[Job]:
    """Return one job per item of the option that the experiment splits by, or the job itself."""
    option = job.found().split
    if option is None:
        return [job]
    return [
        dataclasses.replace(
            job,
            record=dataclasses.replace(
                job.record, options=job.record.options | {option: plain([item])}
            ),
            options=job.options | {option: [item]},
        )
        for item in job.options[option]
    ]


def merge(whole: Record, parts: Sequence[Record]) -> Record:
    """Return the record of the whole run: the numbers of all parts, and their total time."""
    numbers = functools.reduce(union, (part.numbers for part in parts))
    seconds = round(sum(part.seconds for part in parts), 3)
    return dataclasses.replace(whole, numbers=numbers, seconds=seconds)


def union(a: Any, b: Any) -> Any:
    """Return dicts joined, and their dicts joined in turn; common entries must be equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a | {key: union(a[key], value) if key in a else value for key, value in b.items()}
    if a != b:
        raise RuntimeError(f"parts of one experiment disagree: {a!r} and {b!r}")
    return a
