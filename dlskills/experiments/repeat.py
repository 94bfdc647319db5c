"""Repeats the runs of a result file, and compares the numbers bit for bit."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlskills.experiments.environment import environment
from dlskills.experiments.experiment import Experiment, find
from dlskills.experiments.loading import load_experiments
from dlskills.experiments.result_files import Results, check_files
from dlskills.experiments.results import finite
from dlskills.experiments.runner import run
from dlskills.formulas.engines import ENGINES, engine


@dataclass(frozen=True)
class Difference:
    """A number, or another value, that came out differently.

    Attributes
    ----------
    seed : int
    where : str
        Such as ``losses/Adam/3``.
    there, here : object
        The value in the file, and the repeated one; None for a number that is not finite or a
        value that is missing.
    """

    seed: int
    where: str
    there: Any
    here: Any

    @property
    def relative(self) -> float:
        """The relative difference of two numbers; infinite if it is none of numbers."""
        if not (_is_number(self.there) and _is_number(self.here)):
            return math.inf
        size = max(abs(self.there), abs(self.here))
        return abs(self.there - self.here) / size if size else 0.0


@dataclass(frozen=True)
class Repetition:
    """How a repetition came out.

    Attributes
    ----------
    count : int
        Of values compared.
    differences : list of Difference
    environment : dict of str to tuple of str
        What differs there and here, though the numbers may be the same.
    """

    count: int
    differences: list[Difference]
    environment: dict[str, tuple[str, str]]


def repeat(results: Results, *, trust: bool = False, jobs: int = 1) -> Repetition:
    """Run anew what a result file holds, and compare.

    Parameters
    ----------
    results : Results
        From :func:`~dlskills.experiments.result_files.read_results`.
    trust : bool, default False
        Whether Python files that the results name may be run.
    jobs : int, default 1
        See :func:`~dlskills.experiments.run`.

    Raises
    ------
    ValueError, TypeError
        The runs can't be repeated: the message says why.
    """
    if objects := list(_objects(results.options)):
        raise ValueError(
            f"{results.name} was made with an object, {objects[0]:.60}, which a file can't hold; "
            "repeat it from Python, or name the object as FILE.py:CLASS"
        )
    check_files(results)
    if results.files and not trust:
        raise ValueError(
            f"{results.name} names code that a repetition runs: {', '.join(results.files)}; look "
            "at it, and give --trust"
        )
    experiment = _experiment(results)
    with _same_engine(results):
        records = run(
            [experiment], results.settings, seeds=len(results.numbers), quick=results.quick,
            options=results.options, jobs=jobs,
        )[experiment.name]  # fmt: skip
    differences: list[Difference] = []
    count = 0
    for record, there in zip(records, results.numbers, strict=True):
        for where, old, new in _pairs("", there, finite(record.numbers)):
            count += 1
            if repr(old) != repr(new):  # of floats, repr tells all bits apart
                differences.append(Difference(record.settings.seed, where, old, new))
    here = environment() | {"backend": records[0].backend, "engine": records[0].engine}
    there = results.environment | {"backend": results.backend, "engine": results.engine}
    return Repetition(count, differences, _differing(there, here))


def _objects(value: Any) -> Iterator[str]:
    """Yield what stands for objects of a program."""
    if isinstance(value, dict):
        if set(value) == {"object", "source"}:
            yield str(value["object"])
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _experiment(results: Results) -> Experiment:
    if results.experiment_file is None:
        experiment = find(results.experiment)
    else:
        if results.experiment_file not in results.files:
            raise ValueError(f"{results.name} is damaged: it has no digest of its experiment")
        own = load_experiments(results.experiment_file)
        named = [experiment for experiment in own if experiment.name == results.experiment]
        if not named:
            raise ValueError(
                f"{results.experiment_file} defines no experiment {results.experiment!r:.60}"
            )
        experiment = named[0]
    if len(results.numbers) > 1 and not experiment.random:
        raise ValueError(f"{results.name} has several runs of an experiment without randomness")
    return experiment


def _same_engine(results: Results) -> contextlib.AbstractContextManager[None]:
    """Return a context with the engine that was forced, if one was and it is available."""
    forced = results.forced_engine
    if forced is not None and forced in ENGINES and not ENGINES[forced].missing():
        return engine(forced)
    return contextlib.nullcontext()


def _pairs(where: str, there: Any, here: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the place of each value, and what it is on both sides."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            yield from _pairs(f"{where}/{key}".lstrip("/"), there.get(key), here.get(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (old, new) in enumerate(zip(there, here, strict=True)):
            yield from _pairs(f"{where}/{i}", old, new)
    else:
        yield where, there, here


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differing(there: Mapping[str, str], here: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        key: (there.get(key, "not installed"), here.get(key, "not installed"))
        for key in dict.fromkeys([*there, *here])
        if there.get(key) != here.get(key)
    }
