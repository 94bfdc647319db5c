"""A pending run of an experiment, and its execution."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlskills.experiments.choices import is_plain
from dlskills.experiments.experiment import Experiment, find, registered
from dlskills.experiments.loading import load_experiments
from dlskills.experiments.outcome import Record
from dlskills.experiments.settings import Numbers
from dlskills.formulas.engines import engine
from dlskills.processes import one_thread
from dlskills.users_code import note_users_line


@dataclass(frozen=True)
class Job:
    """A pending run: its record, still without numbers, and the objects it needs.

    Attributes
    ----------
    options : dict
        The options of the record, as the objects themselves.
    file : pathlib.Path, optional
        The file that defines the experiment; None for one of the package.
    experiment : Experiment, optional
        Given if other processes can't find it by its name or file.
    """

    record: Record
    options: dict[str, Any]
    file: Path | None
    experiment: Experiment | None

    def found(self) -> Experiment:
        """Return the experiment; works in any process."""
        if self.experiment is not None:
            return self.experiment
        name = self.record.experiment
        if self.file is None:
            return find(name)
        return next(own for own in load_experiments(self.file) if own.name == name)

    @property
    def stays(self) -> bool:
        """Whether the run can't be sent to another process."""
        return self.experiment is not None or not is_plain(self.options)


def job_of(record: Record, options: dict[str, Any], experiment: Experiment) -> Job:
    """Return the job that a record without numbers describes."""
    known = registered(experiment.name) is experiment
    stays = not known and experiment.file is None
    return Job(record, options, None if known else experiment.file, experiment if stays else None)


def run_job(job: Job, forced: str | None = None) -> Record:
    """Run a job and return its record; `forced` is the engine forced in the calling process."""
    record = job.record
    start = time.perf_counter()
    with one_thread(), engine(forced) if forced else contextlib.nullcontext():
        try:
            numbers = job.found().run(record.settings, **job.options)
        except Exception as error:
            note_users_line(error)
            raise
    seconds = round(time.perf_counter() - start, 3)
    return dataclasses.replace(record, seconds=seconds, numbers=_as_cached(record, numbers))


def _as_cached(record: Record, numbers: Any) -> Numbers:
    """Return numbers as they will come back from the cache, so that fresh and cached agree."""
    if not isinstance(numbers, dict):
        raise TypeError(f"{record.experiment}: run must return a dict, got {numbers!r}")
    try:
        plain_numbers: Numbers = json.loads(json.dumps(numbers))
    except TypeError as error:
        raise TypeError(
            f"{record.experiment}: run must return what JSON can hold; make plain numbers and "
            f"lists of arrays by to_host(array).tolist() ({error})"
        ) from None
    return plain_numbers


def finished(job: Job, record: Record) -> Record:
    """Return the record after the experiment's `finish`, which needs the numbers of all parts."""
    finish = job.found().finish
    if finish is None:
        return record
    start = time.perf_counter()
    with one_thread():
        numbers = _as_cached(record, finish(record.settings, record.numbers))
    seconds = round(record.seconds + time.perf_counter() - start, 3)
    return dataclasses.replace(record, seconds=seconds, numbers=numbers)
