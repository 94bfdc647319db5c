"""`dlskills compare`: run the same training in two ways and compare every step."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from dlskills import terminal
from dlskills.arrays.backend import get_backend
from dlskills.checks import check_choice, check_number
from dlskills.cli.options import wrong_use
from dlskills.data.mnist import check_subset
from dlskills.diagnostics.compare import Way, compare
from dlskills.formulas.engines import engine as in_use
from dlskills.layers import ACTIVATIONS
from dlskills.optimizers import make_optimizer
from dlskills.training.progress import Progress


def compare_command(
    device: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cuda or cuda:N; give it twice to compare.", show_default="cpu"),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="float32 or float64; give it twice to compare.", show_default="float32"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="plain, blocked, numba or cuda; give it twice to compare.", show_default="auto"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of training steps.", min=1)] = 50,
    tolerance: Annotated[
        float, typer.Option(help="Tolerance in ulp of a tensor's largest value.")
    ] = 1024,
    optimizer: Annotated[str, typer.Option(help="Name; at its default learning rate.")] = "SGD",
    batchnorm: Annotated[bool, typer.Option("--batchnorm", help="Use Batch Norm.")] = False,
    dropout: Annotated[float, typer.Option(help="Dropout ratio.")] = 0.0,
    activation: Annotated[str, typer.Option(help="Of the hidden layers: relu, tanh, ...")] = "relu",
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and masks.", min=0)] = 0,
    subset: Annotated[str, typer.Option(help="Part of MNIST: sample or full.")] = "sample",
) -> None:
    """Train the tutorial's network in two ways and report the first step and tensor that differ.

    For example: dlskills compare --device cpu --device cuda,
    or dlskills compare --engine plain --engine blocked.

    Both runs use the same initial weights, batches and masks. The exit
    status is 1 if a difference exceeds the tolerance. With ReLU, rounding
    alone can flip a sign and cause such a difference; with a smooth
    activation it can't.
    """
    with wrong_use():
        _check(device, dtype, engine)
        make_optimizer(optimizer)
        check_number("dropout", dropout, at_least=0, below=1)
        check_choice("activation", activation, ACTIVATIONS)
        check_subset(subset)
    left, right = _ways(device=device, dtype=dtype, engine=engine)
    with Progress(steps, "compare") as progress:
        result = compare(
            left, right, steps=steps, tolerance=tolerance, optimizer=optimizer,
            use_batchnorm=batchnorm, dropout_ratio=dropout, activation=activation, seed=seed,
            subset=subset, on_step=progress.advance,
        )  # fmt: skip
    console = terminal.console()
    console.print(f"compared ({left}) with ({right})", soft_wrap=True)
    if result.first is not None:
        found = f" by more than {tolerance:g} ulp, first at {result.first}"
        console.print(Text("they differ", "yellow").append(found, ""), soft_wrap=True)
        raise typer.Exit(1)
    exactly = result.largest.ulp == 0
    found = (
        f" {'bit for bit' if exactly else f'within {tolerance:g} ulp'} over {result.steps} steps"
    )
    console.print(Text("they agree", "green").append(found, ""), soft_wrap=True)
    if not exactly:
        console.print(f"the largest difference is at {result.largest}", soft_wrap=True)


def _check(devices: list[str] | None, dtypes: list[str] | None, engines: list[str] | None) -> None:
    """Validate the names first, before the number of values is checked."""
    for name in devices or ():
        get_backend(name)
    for name in dtypes or ():
        check_choice("dtype", name, ("float32", "float64"))
    for name in engines or ():
        with in_use(name):
            pass


def _ways(**given: list[str] | None) -> tuple[Way, Way]:
    for name, values in given.items():
        if values and len(values) > 2:
            raise typer.BadParameter(
                f"--{name} must be given at most twice, got {len(values)} values"
            )
    left, right = (
        Way(**{name: values[end] for name, values in given.items() if values}) for end in (0, -1)
    )
    if left == right:
        raise typer.BadParameter(
            "the two runs must differ. Give one of --device, --dtype and --engine twice"
        )
    return left, right
