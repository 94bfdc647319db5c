"""Options that several commands share, and the refusal of wrong values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from dlskills.data.idx import DataError
from dlskills.files import expanded


class WrongUseError(ValueError):
    """The command line asks for something that doesn't exist; the exit status is 2."""


@contextlib.contextmanager
def wrong_use() -> Iterator[None]:
    """Turn the refusal of a value into wrong use of the command."""
    try:
        yield
    except DataError:  # a file's fault
        raise
    except (ValueError, TypeError) as error:
        raise WrongUseError(str(error)) from error


def told(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Return those of some options that the command line gives, as they can be given."""
    return [
        f"--{name}" if context.params[name] is True else f"--{name} {context.params[name]}"
        for name in names
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]


def _folder(given: Path) -> Path:
    folder = expanded(given, "--out")
    if folder.is_file():
        raise typer.BadParameter(f"{str(folder)!r} is a file, expected a folder")
    return folder


Out = Annotated[
    Path,
    typer.Option(help="Folder for the figures and numbers.", file_okay=False, callback=_folder),
]
Device = Annotated[str, typer.Option(help="cpu (NumPy), or cuda or cuda:N (CuPy).")]
Seed = Annotated[int, typer.Option(help="Of initial values, batches and masks.", min=0)]
Seeds = Annotated[
    int, typer.Option(help="Number of runs, each with the seed after the last one's.", min=1)
]
Subset = Annotated[
    str, typer.Option(help="Of MNIST: sample (bundled, 10,000 + 10,000 digits) or full.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Shorten the run, to see that it works.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes that share the runs, and parts of them.",
        min=1,
        show_default="one per core, 1 on cuda",
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Ignore the results of earlier runs in OUT/cache.")
]
