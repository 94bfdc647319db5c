"""The `dlskills` command."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import dlskills
from dlskills.arrays.cuda import DeviceError
from dlskills.cli import compare, info, report, run, tune
from dlskills.experiments import EXPERIMENTS
from dlskills.formulas.engines import EngineMissingError
from dlskills.training import DivergedError
from dlskills.training.memory import is_out_of_memory

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dlskills {dlskills.__version__}")
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
    """The skills of learning: optimizers, initial weights, Batch Norm, regularization."""


app.add_typer(run.app, name="run")
app.command("info")(info.info)
app.command("compare")(compare.compare_command)
app.command("report")(report.report)
app.command("tune")(tune.tune)


@app.command("list")
def list_experiments() -> None:
    """List the experiments."""
    table = Table("experiment", "what it shows")
    for name, module in EXPERIMENTS.items():
        table.add_row(name, str(module.TITLE))
    console = Console()
    console.print(table)
    console.print("Run one with: dlskills run NAME (--help shows its options)", highlight=False)


def main() -> None:
    """Run the command line; errors that teach are shown without a traceback."""
    try:
        app()
    except Exception as error:
        message = str(error)
        if is_out_of_memory(error):
            message = f"no memory left: {message or 'of the host'}; end what else uses it"
        elif not isinstance(error, _TEACHING):
            raise
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(message + notes)}", highlight=False, soft_wrap=True
        )
        raise SystemExit(1) from None


_TEACHING = (
    DeviceError, DivergedError, EngineMissingError, ImportError, ValueError, TypeError, OSError
)  # fmt: skip
