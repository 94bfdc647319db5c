"""`dlskills run`: run one experiment, or all of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args

import typer

from dlskills import terminal
from dlskills.cli.options import (
    Device,
    Fresh,
    Jobs,
    Out,
    Quick,
    Seed,
    Seeds,
    Subset,
    given_options,
    wrong_use,
)
from dlskills.cli.resume import resumable
from dlskills.cli.tables import show_table
from dlskills.cli.verdicts import show_verdicts
from dlskills.experiments import EXPERIMENTS, Settings, write_results
from dlskills.experiments import run as run_experiments
from dlskills.experiments.runner import Record, options_of
from dlskills.files import check_folder
from dlskills.processes import cores

app = typer.Typer(
    no_args_is_help=True,
    help="Run one experiment of the tutorial (options after its name), or --all of them.",
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
    with wrong_use():
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
    """Run experiments, reusing results in OUT/cache unless `fresh`."""
    cache = out / "cache"
    check_folder(out)  # fail before the work, not after it
    if cache.exists():
        check_folder(cache)
    before = set(cache.glob("*.json"))
    if jobs is None:  # several processes would share the GPU's memory and gain little
        jobs = 1 if settings.device.startswith("cuda") else cores()
    with resumable(lambda: _kept(cache, before), fresh=fresh), wrong_use():
        return run_experiments(
            names, settings, seeds=seeds, quick=quick, options=options, jobs=jobs, cache=cache,
            fresh=fresh,
        )  # fmt: skip


def _kept(cache: Path, before: set[Path]) -> str:
    count = len(set(cache.glob("*.json")) - before)
    return f"{count} finished run{'s' * (count > 1)} or parts of runs kept" * (count > 0)


def _show(records: Sequence[Record], out: Path) -> None:
    verdicts, paths = write_results(records, out)
    experiment = EXPERIMENTS[records[0].experiment]
    console = terminal.console()
    if records[0].quick:
        console.print("This was a quick run, too short for meaningful verdicts.")
    columns, rows = experiment.table(records[0].numbers)
    title = str(experiment.TITLE)
    if len(records) > 1:
        title += f" (seed {records[0].settings.seed})"
    show_table(console, columns, rows, title=title)
    if verdicts:
        show_verdicts(verdicts, records)
    for path in paths:
        console.print(f"wrote {path}", soft_wrap=True)


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
    """Run one experiment of the tutorial (options after its name), or --all of them."""
    if context.invoked_subcommand is not None:
        if every:
            raise typer.BadParameter("give either --all or the name of an experiment, not both")
        if given := given_options(context, context.params):
            raise typer.BadParameter(
                f"options must follow the name: dlskills run {context.invoked_subcommand} "
                f"{' '.join(given)}"
            )
        return
    if not every:
        raise typer.BadParameter(
            "give the name of an experiment, or --all. List the names with: dlskills list"
        )
    _run(list(EXPERIMENTS), out, device, seed, seeds, subset, quick, jobs, fresh)


def _command(name: str, experiment: ModuleType) -> Callable[..., None]:
    """Return the function of ``dlskills run NAME``, with common and experiment-specific options."""
    inapplicable = _inapplicable(experiment)

    def command(context: typer.Context, **options: Any) -> None:
        if given := given_options(context, inapplicable):
            reasons = dict.fromkeys(inapplicable[option.split()[0][2:]] for option in given)
            verb = "does" if len(given) == 1 else "do"
            raise typer.BadParameter(
                f"{' and '.join(given)} {verb} not apply to {name}, {' and '.join(reasons)}"
            )
        _run([name], **options)

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    hidden = {*inapplicable, *(() if experiment.QUICK else ("quick",))}
    common = [
        _hidden(parameter) if parameter.name in hidden else parameter
        for parameter in inspect.signature(_common, eval_str=True).parameters.values()
    ]
    own = [
        parameter.replace(
            default=None,  # the tutorial's value, or with --quick a smaller one
            annotation=Annotated[
                type(parameter.default) | None,
                typer.Option(help=experiment.OPTIONS[option], show_default=str(parameter.default)),
            ],
        )
        for option, parameter in options_of(experiment).items()
        if option in experiment.OPTIONS
    ]
    command.__signature__ = inspect.Signature([context, *common, *own])  # type: ignore[attr-defined]
    stop = "" if experiment.TITLE.en.endswith("?") else "."
    command.__doc__ = f"{experiment.TITLE}{stop}\n\n{experiment.ABOUT}"
    return command


def _inapplicable(experiment: ModuleType) -> dict[str, str]:
    """Return the common options that do not apply to an experiment, with the reasons."""
    inapplicable: dict[str, str] = {}
    if not experiment.RANDOM:
        inapplicable |= dict.fromkeys(("seed", "seeds"), "which involves no randomness")
        if not hasattr(experiment, "SPLIT"):
            inapplicable["jobs"] = "which consists of a single run"
    if "data" not in getattr(experiment, "USES", ("data",)):
        inapplicable["subset"] = "which does not use MNIST"
    return inapplicable


def _hidden(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a copy of an option that is hidden from the help."""
    kind, option = get_args(parameter.annotation)
    option = copy.copy(option)
    option.hidden = True
    return parameter.replace(annotation=Annotated[kind, option])


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
    """Declare the options common to all experiments; only the signature is used."""


for _name, _experiment in EXPERIMENTS.items():
    app.command(_name)(_command(_name, _experiment))
