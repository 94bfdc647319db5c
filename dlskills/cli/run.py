"""`dlskills run`: an experiment, or all of them."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from dlskills.experiments.runner import Record, changed_options, options_of
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

app = typer.Typer(
    no_args_is_help=True,
    help="Run an experiment of the tutorial (options follow its name), or --all of them.",
    subcommand_metavar="NAME [OPTIONS]",
)


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
    cache = out / "cache"
    check_folder(out)  # before the work: a bad one shows at once
    if cache.exists():
        check_folder(cache)
    before = set(cache.glob("*.json"))
    if jobs is None:  # processes would share a GPU's memory, and gain little
        jobs = 1 if settings.device.startswith("cuda") else cores()
    with resumable(lambda: _kept(cache, before), fresh=fresh):
        return run_experiments(
            names, settings, seeds=seeds, quick=quick, options=options, jobs=jobs, cache=cache,
            fresh=fresh,
        )  # fmt: skip


def check_folder(folder: Path) -> None:
    """Make a folder, and refuse one that can't be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"nothing can be written to the folder {str(folder)!r}: {error.strerror or error}; "
            "give another as --out"
        ) from error


def _kept(cache: Path, before: set[Path]) -> str:
    count = len(set(cache.glob("*.json")) - before)
    return f"{count} run{'s' * (count > 1)}, or parts of some, were finished and kept" * (count > 0)


@contextlib.contextmanager
def resumable(kept: Callable[[], str], fresh: bool = False) -> Iterator[None]:
    """Say, where the work is interrupted, what of it is kept, and how to go on.

    Parameters
    ----------
    kept : callable
        Gives that in words; none if it is nothing.
    fresh : bool, default False
        Whether the same command would do it all again.
    """
    try:
        yield
    except KeyboardInterrupt:
        words = kept()
        if words and fresh:
            then = "begins anew; without --fresh it takes what is kept, earlier runs, too"
        else:
            then = "goes on from there" if words else "begins anew"
        Console(stderr=True).print(
            f"interrupted; {words or 'nothing was finished yet'}: the same command {then}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(130) from None


def told(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Which of some options the command line has, as it may have them."""
    return [
        f"--{name}" if context.params[name] is True else f"--{name} {context.params[name]}"
        for name in names
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]


def _show(records: Sequence[Record], out: Path) -> None:
    verdicts, paths = write_results(records, out)
    experiment = EXPERIMENTS[records[0].experiment]
    console = Console()
    if records[0].quick:
        console.print("A quick run: too short for its verdicts to mean anything.")
    columns, rows = experiment.table(records[0].numbers)
    title = str(experiment.TITLE)
    table = Table(*columns, title=f"{title} (seed {records[0].settings.seed})"
                  if len(records) > 1 else title)  # fmt: skip
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if verdicts:
        show_verdicts(console, verdicts, records)
    for path in paths:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)


def show_verdicts(console: Console, verdicts: Sequence[Verdict], records: Sequence[Record]) -> None:
    """Print what the tutorial says, whether it was seen, and the numbers."""
    table = Table("what the tutorial says", "measured", "verdict", show_lines=True)
    remarks: list[str] = []
    for verdict in verdicts:
        measured = "\n".join(
            f"{measured.check.what}: {measured} [expected {measured.check.bounds}]"
            for measured in verdict.measured
        )
        word = {
            "confirmed": "[green]confirmed[/]",
            "not confirmed": "[yellow]not confirmed[/]",
            "not judged": "[dim]not judged[/]",
        }[verdict.word]
        says = str(verdict.claim.says)
        if verdict.claim.remark is not None:
            remarks.append(str(verdict.claim.remark))
            says += f" ({len(remarks)})"
        table.add_row(escape(says), escape(measured), word)
    console.print(table)
    for number, remark in enumerate(remarks, 1):
        console.print(f"({number}) {escape(remark)}", highlight=False)
    if any(verdict.word == "not judged" for verdict in verdicts):
        console.print("Not judged: numbers that it takes are not in this run, or not finite.")
    if records[0].quick:
        return
    if changed := changed_options(records[0]):
        console.print(f"With other {', '.join(changed)} than the tutorial's: verdicts on that.")
    if EXPERIMENTS[records[0].experiment].RANDOM and len(records) < ENOUGH:
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
        if given := told(context, context.params):
            raise typer.BadParameter(
                f"options follow the name: dlskills run {context.invoked_subcommand} "
                f"{' '.join(given)}"
            )
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
    stop = "" if experiment.TITLE.en.endswith("?") else "."
    command.__doc__ = f"{experiment.TITLE}{stop}\n\n{experiment.ABOUT}"
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
