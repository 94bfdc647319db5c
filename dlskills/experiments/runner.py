"""Runs experiments: over several seeds, in parallel processes, and none twice."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlskills.arrays.backend import get_backend
from dlskills.checks import check_count, suggestion
from dlskills.experiments import workers
from dlskills.experiments.choices import plain
from dlskills.experiments.experiment import Experiment, find
from dlskills.experiments.job import Job, finished, job_of, run_job
from dlskills.experiments.outcome import Outcome, Record
from dlskills.experiments.parts import merge, split
from dlskills.experiments.run_cache import forget_parts, read_run, write_run
from dlskills.experiments.settings import Settings
from dlskills.formulas.engines import engine_for, forced_engine
from dlskills.training.progress import Progress


def run(
    names: Sequence[str | Experiment],
    settings: Settings | None = None,
    *,
    seeds: int = 1,
    quick: bool = False,
    options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    cache: Path | None = None,
    fresh: bool = False,
    executor: concurrent.futures.Executor | None = None,
) -> dict[str, Outcome]:
    """Run experiments with each of several seeds.

    Parameters
    ----------
    names : sequence of str or Experiment
        See :data:`dlskills.experiments.EXPERIMENTS`.
    settings : Settings, optional
        `seed` is the first one.
    seeds : int, default 1
        Number of seeds: `seed`, `seed` + 1, ... An experiment without randomness runs once.
    quick : bool, default False
        Whether to shorten runs, as each experiment's `quick` says.
    options : mapping, optional
        Keyword arguments for the experiments' ``run``; they override those of `quick`. Objects,
        such as an optimizer of your own, are allowed where an option takes them.
    jobs : int, default 1
        Number of processes, which share the runs and the parts of those that can be split. The
        numbers are the same for any number: matrix products always take one thread. Runs that
        are given objects, or an experiment without a file, stay in this process.
    cache : pathlib.Path, optional
        A folder of earlier runs. A run is taken from there if its settings, the source code (also
        of the user's rules and layers) and the releases of the libraries are the same.
    fresh : bool, default False
        Whether to compute cached runs again, and replace them.
    executor : concurrent.futures.Executor, optional
        Takes the place of the processes, for example an ``mpi4py.futures.MPIPoolExecutor`` or the
        ``get_executor(pure=False)`` of a Dask client, with workers on other machines. They need
        this release of dlskills and of the libraries it computes with, and files of experiments
        of your own under the same path. The numbers are the same on CPUs of one model.

    Returns
    -------
    dict of str to Outcome
        For each name one record per seed, in a list that notebooks show with figures, table and
        verdicts.

    Raises
    ------
    ValueError, TypeError
        A name, a setting or an option is wrong; raised before any work.
    WorkerLostError
        A worker was killed; what had finished is in the `cache`.
    """
    settings = settings or Settings()
    check_count("seeds", seeds)
    check_count("jobs", jobs)
    if executor is not None and not isinstance(executor, concurrent.futures.Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    get_backend(settings.device)  # a missing device is reported before the work
    records: dict[tuple[str, int], Record] = {}
    wanted: list[Job] = []
    experiments = [find(name) for name in names]
    for experiment in experiments:
        chosen = _options(experiment, quick, options or {})
        shortened = quick and bool(experiment.quick)
        for seed in range(settings.seed, settings.seed + (seeds if experiment.random else 1)):
            own = dataclasses.replace(settings, seed=seed)
            record = Record(
                experiment.name, own, plain(chosen), shortened, *_where(settings.device), 0.0, {}
            )
            job = job_of(record, chosen, experiment)
            found = None if fresh else read_run(cache, job)
            if found is None:
                wanted.append(job)
            else:
                records[experiment.name, seed] = found
    earlier = None if fresh else cache
    for job, record in _work(wanted, jobs, settings.verbose, earlier, cache, executor):
        records[record.experiment, record.settings.seed] = record
        write_run(cache, job, record)
        forget_parts(cache, job)
    return {
        experiment.name: Outcome(
            experiment, [records[key] for key in sorted(records) if key[0] == experiment.name]
        )
        for experiment in experiments
    }


def _options(experiment: Experiment, quick: bool, given: Mapping[str, Any]) -> dict[str, Any]:
    name, known = experiment.name, experiment.defaults
    for option in given:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}{suggestion(option, known)}; it has: "
                f"{', '.join(known) or 'none'}"
            )
    parsed = {option: _parsed(experiment, option, value) for option, value in given.items()}
    chosen = known | (dict(experiment.quick) if quick else {}) | parsed
    chosen = {option: _listed(value) for option, value in chosen.items()}
    parts = experiment.split
    if parts is not None and not (isinstance(chosen[parts], list) and chosen[parts]):
        raise ValueError(
            f"{name} takes a list of at least one item for {parts}, got {chosen[parts]!r}; leave "
            f"it out for the default: {known[parts]!r}"
        )
    return chosen


def _parsed(experiment: Experiment, option: str, value: Any) -> Any:
    known = experiment.option(option)
    if value is None or known is None or known.parse is None:
        return value
    return known.parse(value)


def _listed(value: Any) -> Any:
    """Return a value with lists for tuples, as it comes back from the cache."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _where(device: str) -> tuple[str, str]:
    """Return the names of the backend and of the engine that runs large updates there."""
    backend = get_backend(device)
    return str(backend), engine_for(backend.empty((1_000_000,), "float32")).name


def _work(
    wanted: Sequence[Job],
    jobs: int,
    verbose: bool,
    earlier: Path | None,
    cache: Path | None,
    executor: concurrent.futures.Executor | None = None,
) -> Iterator[tuple[Job, Record]]:
    """Yield each record with its numbers when it is done; parts are kept until the whole is."""
    here = [job for job in wanted if job.stays]
    sent = [job for job in wanted if not job.stays]
    parts = [split(job) for job in sent]
    if executor is None and (jobs == 1 or sum(map(len, parts)) <= 1):
        here, sent = list(wanted), []
    for job in here:
        yield job, finished(job, run_job(job))
    if not sent:
        return
    forced = forced_engine()
    found = [[read_run(earlier, part) if len(own) > 1 else None for part in own] for own in parts]
    left = [(i, j) for i, own in enumerate(found) for j, part in enumerate(own) if part is None]
    progress = Progress(len(left), "experiments", show=verbose)
    with progress, workers.pool(executor, min(jobs, max(len(left), 1))) as pool:
        futures = {pool.submit(run_job, _silent(parts[i][j]), forced): (i, j) for i, j in left}
        done = pool.completed(futures)
        for i, own in enumerate(found):
            if None not in own:  # all parts had been kept, but not the whole
                yield sent[i], _whole(sent[i], own, progress)
        try:
            for future in done:
                i, j = futures[future]
                found[i][j] = part = pool.result(future)
                progress.advance()
                if None in found[i]:
                    write_run(cache, parts[i][j], part)
                else:
                    yield sent[i], _whole(sent[i], found[i], progress)
        except BaseException:
            for future, (i, j) in futures.items():
                future.cancel()
                if found[i][j] is None and len(found[i]) > 1:
                    _keep(cache, parts[i][j], future)
            raise


def _keep(cache: Path | None, part: Job, future: concurrent.futures.Future[Record]) -> None:
    """Keep a part that was finished when the work was cut short."""
    if future.done() and not future.cancelled() and future.exception() is None:
        write_run(cache, part, future.result())


def _whole(job: Job, parts: Sequence[Record | None], progress: Progress) -> Record:
    record = finished(job, merge(job.record, [part for part in parts if part is not None]))
    progress.note(f"{record.experiment}, seed {record.settings.seed}: {record.seconds:.1f} s")
    return record


def _silent(job: Job) -> Job:
    settings = dataclasses.replace(job.record.settings, verbose=False)
    return dataclasses.replace(job, record=dataclasses.replace(job.record, settings=settings))
