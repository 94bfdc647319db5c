"""The `dlskills` command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import dlskills
from dlskills.backend import DeviceError, get_backend
from dlskills.data.mnist_files import SAMPLE_FOLDER, find_full
from dlskills.experiments import EXPERIMENTS, Settings, write_results
from dlskills.experiments.optimizer_mnist import OPTIMIZERS
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


experiment = typer.Typer(no_args_is_help=True, help="Run an experiment of the tutorial.")
app.add_typer(experiment, name="run")

Device = Annotated[str, typer.Option(help="cpu (NumPy), or cuda or cuda:N (CuPy).")]
Seed = Annotated[int, typer.Option(help="Of initial weights and batches.", min=0)]
Iterations = Annotated[
    int | None, typer.Option(help="Steps of each method.", show_default="as on the page", min=1)
]
Subset = Annotated[
    str, typer.Option(help="Of MNIST: sample (bundled, 10,000 + 10,000 digits) or full.")
]
Out = Annotated[Path, typer.Option(help="Folder for the PNG, SVG and JSON.", file_okay=False)]


@experiment.command("optimizer-paths")
def optimizer_paths(
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    iterations: Iterations = None,
    subset: Subset = "sample",
) -> None:
    """Four optimizers on the surface x²/20 + y², 30 points each from (-7, 2).

    Nothing here is random and no data is read: --seed and --subset are taken, and change nothing.
    """
    _run("optimizer-paths", out, Settings(iterations, seed, device, subset))


@experiment.command("optimizer-mnist")
def optimizer_mnist(
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    iterations: Iterations = None,
    subset: Subset = "sample",
    optimizers: Annotated[
        str, typer.Option(help="Names, separated by commas; 'six' for the page's six.")
    ] = ",".join(OPTIMIZERS),
) -> None:
    """The optimizers on MNIST: a 5-layer network, batches of 128, 2000 iterations.

    All methods start from the same weights and see the same batches; the loss of a batch is that
    before its update. Learning rates are the tutorial's (0.01 is high for RMSprop: it starts with
    large losses).
    """
    if optimizers.strip().lower() == "six":
        optimizers = "SGD,Momentum,Nesterov,AdaGrad,RMSprop,Adam"
    names = [name.strip() for name in optimizers.split(",")]
    _run("optimizer-mnist", out, Settings(iterations, seed, device, subset), optimizers=names)


def _run(name: str, out: Path, settings: Settings, **options: Any) -> None:
    module = EXPERIMENTS[name]
    numbers, paths = write_results(name, module, settings, out, **options)
    columns, rows = module.table(numbers)
    table = Table(*columns, title=module.TITLE)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for path in paths:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)


@app.command("list")
def list_experiments() -> None:
    """List the experiments."""
    table = Table("experiment", "what it shows")
    for name, module in EXPERIMENTS.items():
        table.add_row(name, module.TITLE)
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


if __name__ == "__main__":
    main()
