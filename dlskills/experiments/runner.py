"""Runs experiments: over several seeds, in parallel processes, and none twice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlskills.arrays.backend import get_backend
from dlskills.checks import check_count, suggestion
from dlskills.experiments import workers
from dlskills.experiments.choices import file_digest, files_of, is_plain, plain
from dlskills.experiments.environment import source_code
from dlskills.experiments.experiment import Experiment, find, registered
from dlskills.experiments.loading import load_experiments
from dlskills.experiments.outcome import Outcome, Record
from dlskills.experiments.releases import versions
from dlskills.experiments.settings import Numbers, Settings
from dlskills.files import FileFormatError, write_file
from dlskills.formulas.engines import engine, engine_for, forced_engine
from dlskills.processes import one_thread
from dlskills.strict_json import read_json
from dlskills.training.progress import Progress


@dataclass(frozen=True)
class _Job:
    """A run that is to be done: its record without numbers, and what it is done with.

    Attributes
    ----------
    options : dict
        Those of the record with the objects themselves.
    file : pathlib.Path, optional
        The file that defines the experiment; None for one of the package.
    experiment : Experiment, optional
        One that other processes can't find by its name or file.
    """

    record: Record
    options: dict[str, Any]
    file: Path | None
    experiment: Experiment | None

    def found(self) -> Experiment:
        """Return the experiment, in whatever process this is."""
        if self.experiment is not None:
            return self.experiment
        name = self.record.experiment
        if self.file is None:
            return find(name)
        return next(own for own in load_experiments(self.file) if own.name == name)

    @property
    def stays(self) -> bool:
        """Whether the run has to be done in this process."""
        return self.experiment is not None or not is_plain(self.options)


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
    wanted: list[_Job] = []
    experiments = [find(name) for name in names]
    for experiment in experiments:
        chosen = _options(experiment, quick, options or {})
        shortened = quick and bool(experiment.quick)
        for seed in range(settings.seed, settings.seed + (seeds if experiment.random else 1)):
            own = dataclasses.replace(settings, seed=seed)
            record = Record(
                experiment.name, own, plain(chosen), shortened, *_where(settings.device), 0.0, {}
            )
            job = _job(record, chosen, experiment)
            found = None if fresh else _read(cache, job)
            if found is None:
                wanted.append(job)
            else:
                records[experiment.name, seed] = found
    earlier = None if fresh else cache
    for job, record in _work(wanted, jobs, settings.verbose, earlier, cache, executor):
        records[record.experiment, record.settings.seed] = record
        _write(cache, job, record)
        _forget_parts(cache, job)
    return {
        experiment.name: Outcome(
            experiment, [records[key] for key in sorted(records) if key[0] == experiment.name]
        )
        for experiment in experiments
    }


def _job(record: Record, options: dict[str, Any], experiment: Experiment) -> _Job:
    known = registered(experiment.name) is experiment
    stays = not known and experiment.file is None
    return _Job(record, options, None if known else experiment.file, experiment if stays else None)


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
    wanted: Sequence[_Job],
    jobs: int,
    verbose: bool,
    earlier: Path | None,
    cache: Path | None,
    executor: concurrent.futures.Executor | None = None,
) -> Iterator[tuple[_Job, Record]]:
    """Yield each record with its numbers when it is done; parts are kept until the whole is."""
    here = [job for job in wanted if job.stays]
    sent = [job for job in wanted if not job.stays]
    parts = [_split(job) for job in sent]
    if executor is None and (jobs == 1 or sum(map(len, parts)) <= 1):
        here, sent = list(wanted), []
    for job in here:
        yield job, _finish(job, _run_one(job))
    if not sent:
        return
    forced = forced_engine()
    found = [[_read(earlier, part) if len(own) > 1 else None for part in own] for own in parts]
    left = [(i, j) for i, own in enumerate(found) for j, part in enumerate(own) if part is None]
    progress = Progress(len(left), "experiments", show=verbose)
    with progress, workers.pool(executor, min(jobs, max(len(left), 1))) as pool:
        futures = {pool.submit(_run_one, _silent(parts[i][j]), forced): (i, j) for i, j in left}
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
                    _write(cache, parts[i][j], part)
                else:
                    yield sent[i], _whole(sent[i], found[i], progress)
        except BaseException:
            for future, (i, j) in futures.items():
                future.cancel()
                if found[i][j] is None and len(found[i]) > 1:
                    _keep(cache, parts[i][j], future)
            raise


def _keep(cache: Path | None, part: _Job, future: concurrent.futures.Future[Record]) -> None:
    """Keep a part that was finished when the work was cut short."""
    if future.done() and not future.cancelled() and future.exception() is None:
        _write(cache, part, future.result())


def _whole(job: _Job, parts: Sequence[Record | None], progress: Progress) -> Record:
    record = _finish(job, _merge(job.record, [part for part in parts if part is not None]))
    progress.note(f"{record.experiment}, seed {record.settings.seed}: {record.seconds:.1f} s")
    return record


def _run_one(job: _Job, forced: str | None = None) -> Record:
    """Return the finished run, on the engine that was forced in the process that asks for it."""
    record = job.record
    start = time.perf_counter()
    with one_thread(), engine(forced) if forced else contextlib.nullcontext():
        numbers = job.found().run(record.settings, **job.options)
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


def _silent(job: _Job) -> _Job:
    settings = dataclasses.replace(job.record.settings, verbose=False)
    return dataclasses.replace(job, record=dataclasses.replace(job.record, settings=settings))


def _split(job: _Job) -> list[_Job]:
    """Return the run in parts: one for each item of the option that the experiment splits."""
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


def _merge(whole: Record, parts: Sequence[Record]) -> Record:
    numbers = functools.reduce(_union, (part.numbers for part in parts))
    seconds = round(sum(part.seconds for part in parts), 3)
    return dataclasses.replace(whole, numbers=numbers, seconds=seconds)


def _finish(job: _Job, record: Record) -> Record:
    """Return the run with what the experiment computes only from all parts together."""
    finish = job.found().finish
    if finish is None:
        return record
    start = time.perf_counter()
    with one_thread():
        numbers = _as_cached(record, finish(record.settings, record.numbers))
    seconds = round(record.seconds + time.perf_counter() - start, 3)
    return dataclasses.replace(record, seconds=seconds, numbers=numbers)


def _union(a: Any, b: Any) -> Any:
    """Return dicts joined, and their dicts joined in turn; common entries must be equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a | {key: _union(a[key], value) if key in a else value for key, value in b.items()}
    if a != b:
        raise RuntimeError(f"parts of one experiment disagree: {a!r} and {b!r}")
    return a


# Earlier runs


def _cache_path(folder: Path, job: _Job) -> Path:
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


def _read(folder: Path | None, job: _Job) -> Record | None:
    if folder is None:
        return None
    try:
        kept = read_json(_cache_path(folder, job), finite=False)
    except (OSError, FileFormatError):  # missing or cut short: run it again
        return None
    match kept:
        case {"seconds": int() | float() as seconds, "numbers": dict() as numbers}:
            return dataclasses.replace(job.record, seconds=seconds, numbers=numbers)
    return None


def _write(folder: Path | None, job: _Job, record: Record) -> None:
    if folder is None:
        return
    text = json.dumps({"seconds": record.seconds, "numbers": record.numbers})
    write_file(_cache_path(folder, job), text)


def _forget_parts(folder: Path | None, job: _Job) -> None:
    """Remove the kept parts of a run that is whole."""
    parts = _split(job)
    if folder is not None and len(parts) > 1:
        for part in parts:
            _cache_path(folder, part).unlink(missing_ok=True)
