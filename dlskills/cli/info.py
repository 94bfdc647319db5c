"""`dlskills info`: versions, devices and data found, and a check of one device."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

import dlskills
from dlskills import terminal
from dlskills.arrays.backend import get_backend
from dlskills.arrays.cuda import DeviceError
from dlskills.cli.options import wrong_use
from dlskills.cli.tables import show_table
from dlskills.data.idx import DataError
from dlskills.data.mnist_files import SAMPLE_FOLDER, find_full
from dlskills.diagnostics.device_check import check_device
from dlskills.optimizers import ENGINES


def info(
    device: Annotated[
        str | None,
        typer.Option(help="Check whether this device, such as cuda, really works."),
    ] = None,
) -> None:
    """Show versions, devices, engines and data; or check one device."""
    if device is not None:
        with wrong_use():
            _examine(device)
        return
    show_table(terminal.console(), ["item", "found"], list(_found()), prose=[1], header=False)


def _found() -> Iterator[tuple[str, str]]:
    yield "dlskills", dlskills.__version__
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    for package in ("numpy", "array-api-compat", "numba", "cupy", "torch"):
        yield package, _version(package)
    for name in ("cpu", "cuda"):
        try:
            yield f"device {name}", str(get_backend(name))
        except DeviceError as error:
            yield f"device {name}", f"not available: {error}"
    for name, engine in ENGINES.items():
        reason = engine.missing()
        yield f"engine {name}", f"not available: {reason}" if reason else "ready"
    yield "MNIST, sample", str(SAMPLE_FOLDER)
    yield "MNIST, full", _full()


def _full() -> str:
    try:
        return str(find_full() or "not downloaded yet")
    except (OSError, DataError) as error:
        return f"not available: {error}"


def _examine(device: str) -> None:
    console = terminal.console()
    for what, found in check_device(device):
        console.print(Text("ok", "green").append(f"  {what}: {found}", ""), soft_wrap=True)
    console.print(f"device {device!r} works", soft_wrap=True)


def _version(package: str) -> str:
    if package == "cupy":  # its wheels have names such as cupy-cuda12x
        for name in importlib.metadata.packages_distributions().get("cupy", []):
            return f"{importlib.metadata.version(name)} ({name})"
        return "not installed"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
