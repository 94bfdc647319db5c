"""Options shared by several commands, and errors for invalid values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlskills.data.idx import DataError
from dlskills.experiments.executors import check_executor
from dlskills.experiments.text import LANGUAGES
from dlskills.files import expanded
from dlskills.processes import cores
from dlskills.users_code import of_users_code


class WrongUseError(ValueError):
    """The command line has an invalid value; the exit status is 2."""


def jobs_on(device: str, jobs: int | None) -> int:
    """Return how many processes share the runs on a device, one per core if not given.

    On a GPU it is one: several would share its memory and gain little.
    """
    if jobs is not None:
        return jobs
    return 1 if device.startswith("cuda") else cores()


class Language(StrEnum):
    """Languages of a page."""

    EN = "en"
    ZH = "zh"
    BOTH = "both"

    @property
    def fields(self) -> tuple[str, ...]:
        """The languages of the page, the first shown first."""
        return LANGUAGES if self is Language.BOTH else (self.value,)


@contextlib.contextmanager
def wrong_use() -> Iterator[None]:
    """Turn an error about a value into one about the use of the command."""
    try:
        yield
    except DataError:  # the fault of a file, not of the command line
        raise
    except (ValueError, TypeError) as error:
        if of_users_code(error):
            raise
        raise WrongUseError(str(error)) from error


def given_options(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Return those of the named options that were given on the command line, as typed."""
    return [
        f"--{name}" if context.params[name] is True else f"--{name} {context.params[name]}"
        for name in names
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]


def _folder(given: Path) -> Path:
    folder = expanded(given, "--out")
    if folder.is_file():
        raise typer.BadParameter(f"must be a folder, got the file {str(folder)!r}")
    return folder


Out = Annotated[
    Path,
    typer.Option(help="Output folder for figures and numbers.", file_okay=False, callback=_folder),
]
Device = Annotated[str, typer.Option(help="cpu (NumPy), or cuda or cuda:N (CuPy).")]
Seed = Annotated[int, typer.Option(help="Seed of initial weights, batches and masks.", min=0)]
Seeds = Annotated[int, typer.Option(help="Number of runs, with consecutive seeds.", min=1)]
Subset = Annotated[
    str, typer.Option(help="Part of MNIST: sample (bundled, 10,000 + 10,000 digits) or full.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Shorten the run, to check that it works.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Number of processes that share the runs.",
        min=1,
        show_default="one per core, 1 on cuda",
    ),
]


def _executor(given: str | None) -> str | None:
    if given is not None:
        with wrong_use():
            check_executor(given)
    return given


Executor = Annotated[
    str | None,
    typer.Option(
        metavar="mpi|dask://HOST:PORT",
        help="Run on other machines, in place of --jobs: on the ranks of mpiexec -n N python -m "
        "mpi4py.futures -m dlskills ..., or on a Dask scheduler's workers.",
        show_default=False,
        callback=_executor,
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore cached results in OUT/cache.")]
