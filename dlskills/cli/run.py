"""`dlskills run`: an experiment, or all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlskills.experiments import EXPERIMENTS, Settings, Verdict, write_results
from dlskills.experiments import run as run_experiments
from dlskills.experiments.claims import ENOUGH
from dlskills.experiments.runner import Record, options_of
from dlskills.processes import cores

Out = Annotated[Path, typer.Option(help="Folder for the figures and numbers.", file_okay=False)]
Device = Annotated[str, typer.Option(help="cpu (NumPy), or cuda or cuda:N (CuPy).")]
Seed = Annotated[int, typer.Option(help="Of initial values, batches and masks.", min=0)]
Seeds = Annotated[
    int, typer.Option(help="Runs: with --seed, with the seed after it, and so on.", min=1)
]
Subset = Annotated[
    str, typer.Option(help="Of MNIST: sample (bundled, 10,000 + 10,000 digits) or full.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Shortened: to see that it runs.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes that share the runs, and parts of them.",
        min=1,
        show_default="one a core, 1 on cuda",
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Compute anew what an earlier run left in OUT/cache.")
]

app = typer.Typer(no_args_is_help=True, help="Run experiments of the tutorial.")


def _run(
    names: Sequence[str],
    out: Path = Path("results"),
    device: str = "cpu",
    seed: int = 0,
    seeds: int = 1,
    subset: str = "sample",
    quick: bool = False,
    jobs: int | None = None,
    fresh: bool = False,
    **options: Any,
) -> None:
    settings = Settings(seed, device, subset)
    options = {name: value for name, value in options.items() if value is not None}
    records = compute(names, out, settings, seeds, quick, jobs, fresh, **options)
    for name in names:
        _show(records[name], out)


def compute(
    names: Sequence[str],
    out: Path,
    settings: Settings,
    seeds: int,
    quick: bool,
    jobs: int | None,
    fresh: bool,
    **options: Any,
) -> dict[str, list[Record]]:
    """Run experiments, with OUT/cache to take earlier runs from unless they shall be fresh."""
    out.mkdir(parents=True, exist_ok=True)  # before the work: a bad folder shows at once
    cache = out / "cache"
    if jobs is None:  # processes would share a GPU's memory, and gain little
        jobs = 1 if settings.device.startswith("cuda") else cores()
    if fresh:
        for name in names:
            for path in cache.glob(f"{name}-[0-9]*.json"):
                path.unlink()
    return run_experiments(
        names, settings, seeds=seeds, quick=quick, options=options, jobs=jobs, cache=cache
    )


def _show(records: Sequence[Record], out: Path) -> None:
    verdicts, paths = write_results(records, out)
    experiment = EXPERIMENTS[records[0].experiment]
    columns, rows = experiment.table(records[0].numbers)
    title = str(experiment.TITLE)
    table = Table(*columns, title=f"{title} (seed {records[0].settings.seed})"
                  if len(records) > 1 else title)  # fmt: skip
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if verdicts:
        show_verdicts(console, verdicts, records)
    for path in paths:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)


def show_verdicts(console: Console, verdicts: Sequence[Verdict], records: Sequence[Record]) -> None:
    """Print what the tutorial says, whether it was seen, and the numbers."""
    table = Table("what the tutorial says", "measured", "", show_lines=True)
    for verdict in verdicts:
        measured = "\n".join(
            f"{measured.check.what}: {measured} [expected {measured.check.bounds}]"
            for measured in verdict.measured
        )
        word = "[green]confirmed[/]" if verdict.confirmed else "[yellow]not confirmed[/]"
        table.add_row(escape(str(verdict.claim.says)), escape(measured), word)
    console.print(table)
    if records[0].quick:
        console.print("A quick run: too short for its verdicts to mean anything.")
    elif EXPERIMENTS[records[0].experiment].RANDOM and len(records) < ENOUGH:
        console.print(
            f"Of {len(records)} seed{'s' * (len(records) > 1)}: an indication; --seeds {ENOUGH} "
            "or more judge on the median.",
            highlight=False,
        )


@app.callback(invoke_without_command=True)
def run_all(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Run every experiment.")] = False,
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    seeds: Seeds = 1,
    subset: Subset = "sample",
    quick: Quick = False,
    jobs: Jobs = None,
    fresh: Fresh = False,
) -> None:
    """Run an experiment of the tutorial, or --all of them; options follow the name."""
    if context.invoked_subcommand is not None:
        if every:
            raise typer.BadParameter("give --all or the name of an experiment, not both")
        return
    if not every:
        raise typer.BadParameter("give --all or the name of an experiment; dlskills list has them")
    _run(list(EXPERIMENTS), out, device, seed, seeds, subset, quick, jobs, fresh)


def _command(name: str, experiment: ModuleType) -> Callable[..., None]:
    """The function behind ``dlskills run NAME``: common options, and the experiment's own."""

    def command(**options: Any) -> None:
        _run([name], **options)

    common = inspect.signature(_common, eval_str=True).parameters.values()
    own = [
        parameter.replace(
            default=None,  # not given: the page's, or with --quick the shortened one
            annotation=Annotated[
                type(parameter.default) | None,
                typer.Option(help=experiment.OPTIONS[option], show_default=str(parameter.default)),
            ],
        )
        for option, parameter in options_of(experiment).items()
        if option in experiment.OPTIONS
    ]
    command.__signature__ = inspect.Signature([*common, *own])  # type: ignore[attr-defined]
    command.__doc__ = f"{experiment.TITLE}.\n\n{experiment.ABOUT}"
    return command


def _common(
    *,
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    seeds: Seeds = 1,
    subset: Subset = "sample",
    quick: Quick = False,
    jobs: Jobs = None,
    fresh: Fresh = False,
) -> None:
    """What every experiment's command takes."""


for _name, _experiment in EXPERIMENTS.items():
    app.command(_name)(_command(_name, _experiment))
