"""The `dlskills` command line."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer
from rich.text import Text

import dlskills
from dlskills import terminal
from dlskills.arrays.cuda import DeviceError
from dlskills.cli import compare, info, play, repeat, report, run, tune
from dlskills.cli.options import WrongUseError
from dlskills.cli.tables import show_table
from dlskills.experiments import BEYOND, EXPERIMENTS
from dlskills.experiments.executors import ExecutorError
from dlskills.formulas.engines import EngineMissingError
from dlskills.processes import WorkerLostError
from dlskills.training import DivergedError
from dlskills.training.memory import is_out_of_memory
from dlskills.tuning import StudyError

NARROW = 80
"""Columns below which help is plain text: Rich cuts long words in its tables."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold the password of a storage
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"dlskills {dlskills.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Study how networks train: optimizers, initial weights, Batch Norm, regularization."""


app.add_typer(run.app, name="run")
app.command("info")(info.info)
app.command("compare")(compare.compare_command)
app.command("play")(play.play)
app.command("repeat")(repeat.repeat)
app.command("report")(report.report)
app.command("tune")(tune.tune)


@app.command("list")
def list_experiments() -> None:
    """List the experiments."""
    console = terminal.console()
    for heading, known in (("experiment", EXPERIMENTS), ("beyond the tutorial", BEYOND)):
        rows = [(name, str(experiment.title)) for name, experiment in known.items()]
        show_table(console, [heading, "subject"], rows, prose=[1])
    console.print("Run one with: dlskills run NAME (--help shows its options)")


def main() -> None:
    """Run the command line; errors with a helpful message are shown without a traceback.

    The exit status is 0 on success, 1 on an error, 2 on wrong usage, 130 on an interruption.
    """
    with terminal.tolerant_streams():
        app.rich_markup_mode = None if terminal.console().width < NARROW else "rich"
        try:
            app(prog_name="dlskills")
        except Exception as error:
            message = _message(error)
            if message is None:
                raise
            notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
            text = Text("error:", "bold red").append(f" {message}{notes}", "")
            with contextlib.suppress(
                OSError
            ):  # standard error may be redirected to the same full disk
                terminal.console(stderr=True).print(text, soft_wrap=True)
            raise SystemExit(
                2 if isinstance(error, WrongUseError | StudyError | ExecutorError) else 1
            ) from None


def _message(error: Exception) -> str | None:
    """Return the message to show for an error; None if it needs a traceback."""
    message = str(error)
    if is_out_of_memory(error):
        return f"out of memory: {message or 'on the host'}. Close other programs that use it"
    if isinstance(error, SyntaxError):  # of a Python file given by the user
        where = f"{error.filename}, line {error.lineno}: " if error.filename else ""
        return where + error.msg
    if isinstance(error, RuntimeError) and "home directory" in message:  # from pathlib
        return "no home folder was found. Set HOME"
    return message if isinstance(error, _SELF_EXPLAINING) else None


_SELF_EXPLAINING = (
    DeviceError, DivergedError, EngineMissingError, ImportError, ValueError, TypeError, OSError,
    WorkerLostError,
)  # fmt: skip
