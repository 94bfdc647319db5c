"""The `dlskills` command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import dlskills
from dlskills.backend import DeviceError, get_backend
from dlskills.cli import report, run
from dlskills.data.mnist_files import SAMPLE_FOLDER, find_full
from dlskills.experiments import EXPERIMENTS
from dlskills.optimizers import ENGINES
from dlskills.training import DivergedError

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
app.command("report")(report.report)


@app.command("list")
def list_experiments() -> None:
    """List the experiments."""
    table = Table("experiment", "what it shows")
    for name, module in EXPERIMENTS.items():
        table.add_row(name, str(module.TITLE))
    console = Console()
    console.print(table)
    console.print("Run one with: dlskills run NAME (--help shows its options)", highlight=False)


@app.command()
def info() -> None:
    """Show versions, devices, engines and the data found."""
    table = Table(show_header=False)
    table.add_row("dlskills", dlskills.__version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    for package in ("numpy", "array-api-compat", "numba", "cupy", "torch"):
        table.add_row(package, _version(package))
    for device in ("cpu", "cuda"):
        try:
            table.add_row(f"device {device}", str(get_backend(device)))
        except DeviceError as error:
            table.add_row(f"device {device}", escape(f"not available: {error}"))
    for name, engine in ENGINES.items():
        reason = engine.missing()
        table.add_row(f"engine {name}", escape(f"not available: {reason}") if reason else "ready")
    table.add_row("MNIST, sample", escape(str(SAMPLE_FOLDER)))
    full = find_full() or "not here: downloaded when first asked for"
    table.add_row("MNIST, full", escape(str(full)))
    Console().print(table)


def _version(package: str) -> str:
    if package == "cupy":  # its wheels are called cupy-cuda12x and the like
        for name in importlib.metadata.packages_distributions().get("cupy", []):
            return f"{importlib.metadata.version(name)} ({name})"
        return "not installed"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run the command line; errors that teach are shown without a traceback."""
    try:
        app()
    except (DeviceError, DivergedError, ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        raise SystemExit(1) from None
