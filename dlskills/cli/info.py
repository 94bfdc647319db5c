"""`dlskills info`: what is here, and what is wrong with a device."""

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
from dlskills.arrays.backend import get_backend
from dlskills.arrays.cuda import DeviceError
from dlskills.data.mnist_files import SAMPLE_FOLDER, find_full
from dlskills.diagnostics.device_check import check_device
from dlskills.optimizers import ENGINES


def info(
    device: Annotated[
        str | None,
        typer.Option(help="Examine this device, such as cuda: does it really work?"),
    ] = None,
) -> None:
    """Show versions, devices, engines and the data found; or examine one device."""
    if device is not None:
        _examine(device)
        return
    table = Table(show_header=False)
    table.add_row("dlskills", dlskills.__version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    for package in ("numpy", "array-api-compat", "numba", "cupy", "torch"):
        table.add_row(package, _version(package))
    for name in ("cpu", "cuda"):
        try:
            table.add_row(f"device {name}", str(get_backend(name)))
        except DeviceError as error:
            table.add_row(f"device {name}", escape(f"not available: {error}"))
    for name, engine in ENGINES.items():
        reason = engine.missing()
        table.add_row(f"engine {name}", escape(f"not available: {reason}") if reason else "ready")
    table.add_row("MNIST, sample", escape(str(SAMPLE_FOLDER)))
    full = find_full() or "not here: downloaded when first asked for"
    table.add_row("MNIST, full", escape(str(full)))
    Console().print(table)


def _examine(device: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for what, found in check_device(device):
        console.print(f"[green]ok[/]  {what}: {escape(found)}")
    console.print(f"device {escape(repr(device))} works")


def _version(package: str) -> str:
    if package == "cupy":  # its wheels are called cupy-cuda12x and the like
        for name in importlib.metadata.packages_distributions().get("cupy", []):
            return f"{importlib.metadata.version(name)} ({name})"
        return "not installed"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
