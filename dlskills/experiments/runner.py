"""Runs experiments: several seeds, in parallel processes, and none twice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import dlskills
from dlskills.arrays.backend import get_backend
from dlskills.checks import check_choice, check_count, suggestion
from dlskills.experiments.settings import Numbers, Settings
from dlskills.files import FileFormatError, write_file
from dlskills.formulas.engines import engine, engine_for, forced_engine
from dlskills.processes import one_thread, processes
from dlskills.strict_json import read_json
from dlskills.training.progress import Progress


@dataclass(frozen=True)
class Record:
    """One run of an experiment: what it was told, where it ran, and its numbers.

    Attributes
    ----------
    experiment : str
    settings : Settings
    options : dict
        All keyword arguments of the experiment's ``run``.
    quick : bool
        Whether the run was shortened, so that its numbers prove nothing. What can't be, isn't.
    backend, engine : str
        Where the arrays were, and the engine of updates too large to be called small.
    seconds : float
        Of work, added up over processes.
    numbers : dict
    """

    experiment: str
    settings: Settings
    options: dict[str, Any]
    quick: bool
    backend: str
    engine: str
    seconds: float
    numbers: Numbers


def options_of(experiment: ModuleType) -> dict[str, inspect.Parameter]:
    """The keyword arguments of an experiment's ``run``, whose defaults are the page's."""
    parameters = inspect.signature(experiment.run).parameters
    return {n: p for n, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def changed_options(record: Record) -> list[str]:
    """The options of a run that are not the page's, so that its numbers may prove nothing."""
    from dlskills.experiments import EXPERIMENTS  # which imports this module

    known = options_of(EXPERIMENTS[record.experiment])
    return [
        name
        for name, value in record.options.items()
        if value != json.loads(json.dumps(known[name].default))
    ]


def run(
    names: Sequence[str],
    settings: Settings,
    *,
    seeds: int = 1,
    quick: bool = False,
    options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    cache: Path | None = None,
    fresh: bool = False,
) -> dict[str, list[Record]]:
    """Run experiments with each of several seeds.

    Parameters
    ----------
    names : sequence of str
        See :data:`dlskills.experiments.EXPERIMENTS`.
    settings : Settings
        `seed` is the first one.
    seeds : int, default 1
        How many: `seed`, `seed` + 1, ... An experiment in which nothing is random runs once.
    quick : bool, default False
        Shortened, as each module's ``QUICK`` says.
    options : mapping, optional
        Keyword arguments for the experiments' ``run``; they come before those of ``QUICK``.
    jobs : int, default 1
        Processes. What one experiment can do in parts is shared out, too. The numbers are the
        same however many: matrix products take one thread in any case.
    cache : pathlib.Path, optional
        A folder of earlier runs: what is there from the same settings, the same source code and
        the same releases of the libraries that compute is taken from there.
    fresh : bool, default False
        Whether it is computed all the same, and replaced.

    Returns
    -------
    dict of str to list of Record
        For each name a record a seed.
    """
    from dlskills.experiments import EXPERIMENTS  # which imports this module

    check_count("seeds", seeds)
    check_count("jobs", jobs)
    get_backend(settings.device)  # a missing device shows before the work
    records: dict[tuple[str, int], Record] = {}
    wanted: list[Record] = []
    for name in names:
        experiment = EXPERIMENTS[check_choice("experiment", name, EXPERIMENTS)]
        every = _options(name, experiment, quick, options or {})
        for seed in range(settings.seed, settings.seed + (seeds if experiment.RANDOM else 1)):
            own = dataclasses.replace(settings, seed=seed)
            shortened = quick and bool(experiment.QUICK)
            record = Record(name, own, every, shortened, *_place(settings.device), 0.0, {})
            found = None if fresh else _read(cache, record)
            if found is None:
                wanted.append(record)
            else:
                records[name, seed] = found
    for record in _work(wanted, jobs, settings.verbose, None if fresh else cache, cache):
        records[record.experiment, record.settings.seed] = record
        _write(cache, record)
        _forget_parts(cache, record)
    return {name: [records[key] for key in sorted(records) if key[0] == name] for name in names}


def _options(
    name: str, experiment: ModuleType, quick: bool, given: Mapping[str, Any]
) -> dict[str, Any]:
    known = options_of(experiment)
    for option in given:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}{suggestion(option, known)}; it has: "
                f"{', '.join(known) or 'none'}"
            )
    defaults = {option: parameter.default for option, parameter in known.items()}
    chosen = defaults | (experiment.QUICK if quick else {}) | dict(given)
    plain: dict[str, Any] = json.loads(json.dumps(chosen))
    parts = getattr(experiment, "SPLIT", None)
    if parts is not None and not (isinstance(plain[parts], list) and plain[parts]):
        raise ValueError(
            f"{name} takes a list of at least one item for {parts}, got {plain[parts]!r}; leave "
            f"it out for the page's: {defaults[parts]!r}"
        )
    return plain


def _place(device: str) -> tuple[str, str]:
    """The names of the backend and of the engine that runs large updates there."""
    backend = get_backend(device)
    return str(backend), engine_for(backend.empty((1_000_000,), "float32")).name


def _work(
    records: Sequence[Record], jobs: int, verbose: bool, earlier: Path | None, cache: Path | None
) -> Iterator[Record]:
    """Each record with its numbers, as they are done; parts are kept until the whole is."""
    parts = [_split(record) for record in records]
    if jobs == 1 or sum(map(len, parts)) <= 1:
        for record in records:
            yield _finish(_run_one(record))
        return
    forced = forced_engine()
    found = [[_read(earlier, part) if len(own) > 1 else None for part in own] for own in parts]
    left = [(i, j) for i, own in enumerate(found) for j, part in enumerate(own) if part is None]
    progress = Progress(len(left), "experiments", show=verbose)
    with progress, processes(min(jobs, max(len(left), 1))) as pool:
        futures = {pool.submit(_run_one, _silent(parts[i][j]), forced): (i, j) for i, j in left}
        done = concurrent.futures.as_completed(futures)
        for i, own in enumerate(found):
            if None not in own:  # of which all but the whole was there
                yield _whole(records[i], own, progress)
        try:
            for future in done:
                i, j = futures[future]
                found[i][j] = part = future.result()
                progress.advance()
                if None in found[i]:
                    _write(cache, part)
                else:
                    yield _whole(records[i], found[i], progress)
        except BaseException:
            for future, (i, j) in futures.items():
                if found[i][j] is None and len(found[i]) > 1:
                    _keep(cache, future)
            raise


def _keep(cache: Path | None, future: concurrent.futures.Future[Record]) -> None:
    """Keep a part that was finished when the work was cut short."""
    if future.done() and not future.cancelled() and future.exception() is None:
        _write(cache, future.result())


def _whole(record: Record, parts: Sequence[Record | None], progress: Progress) -> Record:
    record = _finish(_merge(record, [part for part in parts if part is not None]))
    progress.note(f"{record.experiment}, seed {record.settings.seed}: {record.seconds:.1f} s")
    return record


def _run_one(record: Record, forced: str | None = None) -> Record:
    """The run, on the engine that was forced in the process that asks for it."""
    from dlskills.experiments import EXPERIMENTS

    start = time.perf_counter()
    with one_thread(), engine(forced) if forced else contextlib.nullcontext():
        numbers = EXPERIMENTS[record.experiment].run(record.settings, **record.options)
    seconds = round(time.perf_counter() - start, 3)
    # as it will come back from the cache, so that a fresh run and a cached one are the same
    return dataclasses.replace(record, seconds=seconds, numbers=json.loads(json.dumps(numbers)))


def _silent(record: Record) -> Record:
    settings = dataclasses.replace(record.settings, verbose=False)
    return dataclasses.replace(record, settings=settings)


def _split(record: Record) -> list[Record]:
    """The run in parts: one for each item of the option that the experiment names in SPLIT."""
    from dlskills.experiments import EXPERIMENTS

    option = getattr(EXPERIMENTS[record.experiment], "SPLIT", None)
    if option is None:
        return [record]
    return [
        dataclasses.replace(record, options=record.options | {option: [item]})
        for item in record.options[option]
    ]


def _merge(whole: Record, parts: Sequence[Record]) -> Record:
    numbers = functools.reduce(_union, (part.numbers for part in parts))
    seconds = round(sum(part.seconds for part in parts), 3)
    return dataclasses.replace(whole, numbers=numbers, seconds=seconds)


def _finish(record: Record) -> Record:
    """The run with what the experiment can say only of all parts together."""
    from dlskills.experiments import EXPERIMENTS

    finish = getattr(EXPERIMENTS[record.experiment], "finish", None)
    if finish is None:
        return record
    start = time.perf_counter()
    with one_thread():
        numbers = json.loads(json.dumps(finish(record.settings, record.numbers)))
    seconds = round(record.seconds + time.perf_counter() - start, 3)
    return dataclasses.replace(record, seconds=seconds, numbers=numbers)


def _union(a: Any, b: Any) -> Any:
    """Dicts joined, and their dicts joined in turn; what both have must be the same."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a | {key: _union(a[key], value) if key in a else value for key, value in b.items()}
    if a != b:
        raise RuntimeError(f"parts of one experiment disagree: {a!r} and {b!r}")
    return a


# Earlier runs


def _cache_path(folder: Path, record: Record) -> Path:
    told = dataclasses.asdict(record)
    for result in ("seconds", "numbers"):
        del told[result]
    del told["settings"]["verbose"]
    made_with = [_source_code(), *_versions()]
    key = hashlib.sha256(json.dumps([told, made_with], sort_keys=True).encode()).hexdigest()
    return folder / f"{record.experiment}-{record.settings.seed}-{key[:16]}.json"


@functools.cache
def _source_code() -> str:
    """A fingerprint of the package: a run of other code is another run."""
    digest = hashlib.sha256(dlskills.__version__.encode())
    for path in sorted(Path(dlskills.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _versions() -> list[str]:
    """Of what computes: another release may round otherwise, or draw other numbers."""
    distributions = importlib.metadata.packages_distributions()
    libraries = [
        name for package in ("numpy", "numba", "cupy") for name in distributions.get(package, [])
    ]
    return [
        platform.python_version(),
        platform.machine(),
        *(f"{name} {importlib.metadata.version(name)}" for name in libraries),
    ]


def _read(folder: Path | None, record: Record) -> Record | None:
    if folder is None:
        return None
    try:
        kept = read_json(_cache_path(folder, record), finite=False)
    except (OSError, FileFormatError):  # not there, or cut short: run it again
        return None
    match kept:
        case {"seconds": int() | float() as seconds, "numbers": dict() as numbers}:
            return dataclasses.replace(record, seconds=seconds, numbers=numbers)
    return None


def _write(folder: Path | None, record: Record) -> None:
    if folder is None:
        return
    text = json.dumps({"seconds": record.seconds, "numbers": record.numbers})
    write_file(_cache_path(folder, record), text)


def _forget_parts(folder: Path | None, record: Record) -> None:
    """Remove what was kept of a run until it was whole."""
    parts = _split(record)
    if folder is not None and len(parts) > 1:
        for part in parts:
            _cache_path(folder, part).unlink(missing_ok=True)
