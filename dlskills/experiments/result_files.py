"""Result files: what is needed to repeat the runs in them, and how they are read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlskills.experiments.choices import file_digest, named_files
from dlskills.experiments.environment import environment
from dlskills.experiments.experiment import Experiment, registered
from dlskills.experiments.outcome import Record
from dlskills.experiments.settings import Settings
from dlskills.files import FileFormatError, expanded
from dlskills.formulas.engines import forced_engine
from dlskills.strict_json import read_json, shortened

KIND = "dlskills results"
VERSION = 1


@dataclass(frozen=True)
class Results:
    """What a result file holds of its runs.

    Attributes
    ----------
    name : str
        What errors call the file.
    experiment : str
    quick : bool
    settings : Settings
        `seed` is that of the first run.
    options : dict
        Keyword arguments of the experiment's ``run``.
    numbers : list of dict
        Of each run; the seeds are consecutive.
    backend, engine : str
    forced_engine : str or None
        The engine that was forced by :func:`dlskills.engine`, if one was.
    environment : dict of str to str
        See :func:`~dlskills.experiments.environment.environment`.
    files : dict of str to str
        Digests of the Python files that were run, by their paths.
    experiment_file : str or None
        The one that defines the experiment; None for an experiment of the package.
    """

    name: str
    experiment: str
    quick: bool
    settings: Settings
    options: dict[str, Any]
    numbers: list[dict[str, Any]]
    backend: str
    engine: str
    forced_engine: str | None
    environment: dict[str, str]
    files: dict[str, str]
    experiment_file: str | None


def origin(records: Sequence[Record], experiment: Experiment) -> dict[str, Any]:
    """Return what a result file says about how its runs came about."""
    is_own = registered(experiment.name) is not experiment
    own = str(experiment.file) if is_own and experiment.file is not None else None
    files = [*named_files(records[0].options), *([] if own is None else [own])]
    return {
        "kind": KIND,
        "version": VERSION,
        "environment": environment(),
        "forced_engine": forced_engine(),
        "experiment_file": own,
        "own_experiment": is_own,
        "files": {file: file_digest(file) for file in dict.fromkeys(files)},
    }


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read a result file, such as ``results/optimizer-mnist.json``.

    Raises
    ------
    FileFormatError
        It is damaged, of a newer version, or no result file; the message names it.
    OSError
        It can't be read.
    """
    return results_of(read_json(path), str(path))


def results_of(content: Any, name: str) -> Results:
    """Return the results in the parsed content of a file that errors call `name`.

    Raises
    ------
    FileFormatError
    """
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise FileFormatError(
            f"{name} is no result file; `dlskills run NAME` writes them, as OUT/NAME.json"
        )
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise FileFormatError(f"{name} has no version, got {shortened(version)}")
    if version > VERSION:
        raise FileFormatError(
            f"{name} is of version {version}, and this dlskills reads up to {VERSION}; update it"
        )
    field = _Fields(content, name)
    runs = field("runs", list)
    if not runs or not all(isinstance(run, dict) for run in runs):
        raise FileFormatError(f"{name} has no runs")
    if content.get("own_experiment") and content.get("experiment_file") is None:
        raise FileFormatError(
            f"{name} is of an experiment of your own that was made without a file, so that it "
            "can't be found again; define it in a Python file"
        )
    first, *others = (_Fields(run, name) for run in runs)
    settings = _settings(first, name)
    for i, other in enumerate(others, 1):
        expected = dataclasses.replace(settings, seed=settings.seed + i)
        if other("options", dict) != first("options", dict) or _settings(other, name) != expected:
            raise FileFormatError(f"{name} must have runs that differ only in consecutive seeds")
    return Results(
        name,
        field("experiment", str),
        field("quick", bool),
        settings,
        first("options", dict),
        [run("numbers", dict) for run in (first, *others)],
        first("backend", str),
        first("engine", str),
        field("forced_engine", str | None),
        field.texts("environment"),
        field.texts("files"),
        field("experiment_file", str | None),
    )


class _Fields:
    """The entries of an object from a file, each of the type that is asked for."""

    def __init__(self, content: Mapping[str, Any], name: str) -> None:
        self._content, self._name = content, name

    def __call__(self, key: str, kind: Any) -> Any:
        value = self._content.get(key)
        if not isinstance(value, kind):
            raise FileFormatError(f"{self._name} is damaged: {key} is {shortened(value)}")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """Return an object of text."""
        found: dict[str, str] = self(key, dict)
        for word, value in found.items():
            if not isinstance(value, str):
                raise FileFormatError(
                    f"{self._name} is damaged: {shortened(word)} in {key} is {shortened(value)}"
                )
        return found


def _settings(run: _Fields, name: str) -> Settings:
    given = _Fields(run("settings", dict), name)
    seed, device, subset = given("seed", int), given("device", str), given("subset", str)
    try:
        return Settings(seed, device, subset)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{name} is damaged: {error}") from None


def check_files(results: Results) -> None:
    """Refuse to repeat runs whose Python files changed.

    Raises
    ------
    FileFormatError
        The options name a file without a digest.
    ValueError
        A file is gone, or differs from what was run; the message names it.
    """
    for text in _texts(results.options):
        # more than the form FILE.py:NAME: an option may take several of them in one text
        if ".py:" in text and not set(named_files(text) or [""]) <= set(results.files):
            raise FileFormatError(
                f"{results.name} is damaged: it has no digest of the file in {shortened(text)}"
            )
    for file, expected in results.files.items():
        path = Path(expanded(file))
        if not path.is_file():
            raise ValueError(
                f"{results.name} was made with {file}, which is gone; put it back, or go to the "
                "folder where the runs were made"
            )
        if file_digest(file) != expected:
            raise ValueError(
                f"{results.name} was made with {file}, which has changed since; restore it, or run "
                "the experiment anew"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
