"""`dlskills run`: run one experiment, one of your own, or all of them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup
from typer.main import get_command

from dlskills import terminal
from dlskills.cli.options import (
    Device,
    Executor,
    Fresh,
    Jobs,
    Out,
    Quick,
    Seed,
    Seeds,
    Subset,
    given_options,
    jobs_on,
    wrong_use,
)
from dlskills.cli.resume import resumable
from dlskills.cli.run_options import (
    Colours,
    Csv,
    Dpi,
    Format,
    Lang,
    Language,
    Size,
    Theme,
    check_fonts,
    look,
)
from dlskills.cli.tables import show_table
from dlskills.cli.verdicts import show_verdicts
from dlskills.experiments import (
    BEYOND,
    EXPERIMENTS,
    Experiment,
    Option,
    Settings,
    load_experiments,
    write_results,
)
from dlskills.experiments import run as run_experiments
from dlskills.experiments.executors import open_executor
from dlskills.experiments.outcome import Outcome, Record
from dlskills.files import check_folder
from dlskills.plotting import Look


class Experiments(TyperGroup):
    """The experiments as commands; a Python file is a command, too."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return an experiment's command, or that of the experiment in a Python file."""
        if not cmd_name.endswith(".py"):
            return super().get_command(ctx, cmd_name)
        with wrong_use():
            own = load_experiments(cmd_name)
        if len(own) > 1:
            names = ", ".join(experiment.name for experiment in own)
            raise typer.BadParameter(
                f"{cmd_name} defines {len(own)} experiments ({names}); `dlskills run` takes one, "
                "`dlskills report` all"
            )
        single = typer.Typer(add_completion=False, rich_markup_mode=self.rich_markup_mode)
        single.command(cmd_name)(command_of(own[0]))
        return get_command(single)


app = typer.Typer(
    cls=Experiments,
    no_args_is_help=True,
    help="Run one experiment of the tutorial (options after its name), your own "
    "(my_experiment.py), or --all of the tutorial's. Those beyond the tutorial judge the claims of "
    "papers.",
    subcommand_metavar="NAME [OPTIONS]",
)


def _run(
    experiments: Sequence[Experiment],
    *,
    out: Path,
    device: str,
    seed: int,
    seeds: int,
    subset: str,
    quick: bool,
    jobs: int | None,
    executor: str | None,
    fresh: bool,
    lang: str,
    size: str | None,
    dpi: float,
    format: str,
    theme: str,
    csv: bool,
    **options: Any,
) -> None:
    with wrong_use():
        settings = Settings(seed, device, subset)
        figures = look(size, dpi, format, theme, csv)
        check_fonts(lang, figures.formats)
    options = {name: value for name, value in options.items() if value is not None}
    with workers(executor, jobs) as used:
        records = compute(experiments, out, settings, seeds, quick, jobs, fresh, used, **options)
    for experiment in experiments:
        _show(experiment, records[experiment.name], out, figures, lang)


@contextlib.contextmanager
def workers(name: str | None, jobs: int | None) -> Iterator[concurrent.futures.Executor | None]:
    """Open the executor with this name, if there is one, for the block."""
    if name is None:
        yield None
        return
    if jobs is not None:
        raise typer.BadParameter(f"give either --jobs or --executor {name}, not both")
    with open_executor(name) as executor:
        yield executor


def compute(
    experiments: Sequence[Experiment],
    out: Path,
    settings: Settings,
    seeds: int,
    quick: bool,
    jobs: int | None,
    fresh: bool,
    executor: concurrent.futures.Executor | None = None,
    **options: Any,
) -> dict[str, Outcome]:
    """Run experiments, reusing results in OUT/cache unless `fresh`."""
    cache = out / "cache"
    check_folder(out)  # fail before the work, not after it
    if cache.exists():
        check_folder(cache)
    before = set(cache.glob("*.json"))
    jobs = jobs_on(settings.device, jobs)
    with resumable(lambda: _kept(cache, before), fresh, earlier=bool(before)), wrong_use():
        return run_experiments(
            experiments, settings, seeds=seeds, quick=quick, options=options, jobs=jobs,
            cache=cache, fresh=fresh, executor=executor,
        )  # fmt: skip


def _kept(cache: Path, before: set[Path]) -> str:
    count = len(set(cache.glob("*.json")) - before)
    return f"{count} finished run{'s' * (count > 1)} or parts of runs kept" * (count > 0)


def _show(
    experiment: Experiment, records: Sequence[Record], out: Path, figures: Look, lang: str
) -> None:
    verdicts, paths = write_results(
        records, out, experiment=experiment, look=figures, lang=str(lang)
    )
    console = terminal.console()
    if records[0].quick:
        console.print("This was a quick run, too short for meaningful verdicts.")
    table = experiment.tabulated([record.numbers for record in records])
    if table is not None:
        title = str(experiment.title)
        if len(records) > 1:
            of = f"mean ± standard deviation of {len(records)} seeds"
            title += f" ({of if table.merges else f'seed {records[0].settings.seed}'})"
        show_table(console, *table.shown(), title=title)
    if verdicts:
        show_verdicts(verdicts, records, experiment)
    for path in paths:
        console.print(f"wrote {path}", soft_wrap=True)


def _common(
    *,
    out: Out = Path("results"),
    device: Device = "cpu",
    seed: Seed = 0,
    seeds: Seeds = 1,
    subset: Subset = "sample",
    quick: Quick = False,
    jobs: Jobs = None,
    executor: Executor = None,
    fresh: Fresh = False,
    lang: Lang = Language.EN,
    size: Size = None,
    dpi: Dpi = 150,
    format: Format = "png,svg",
    theme: Colours = Theme.LIGHT,
    csv: Csv = False,
) -> None:
    """Declare the options common to all experiments; only the signature is used."""


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_COMMON = list(inspect.signature(_common, eval_str=True).parameters.values())


def _all(context: typer.Context, *, every: bool, **options: Any) -> None:
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
    _run(list(EXPERIMENTS.values()), **options)


_EVERY = inspect.Parameter(
    "every", inspect.Parameter.KEYWORD_ONLY, default=False,
    annotation=Annotated[bool, typer.Option("--all", help="Run every experiment of the tutorial.")],
)  # fmt: skip
_all.__signature__ = inspect.Signature([_CONTEXT, _EVERY, *_COMMON])  # type: ignore[attr-defined]
app.callback(invoke_without_command=True)(_all)


def command_of(experiment: Experiment) -> Callable[..., None]:
    """Return the function of ``dlskills run NAME``, with common and experiment-specific options."""
    inapplicable = _inapplicable(experiment)

    def command(context: typer.Context, **options: Any) -> None:
        if given := given_options(context, inapplicable):
            reasons = dict.fromkeys(inapplicable[option.split()[0][2:]] for option in given)
            verb = "does" if len(given) == 1 else "do"
            raise typer.BadParameter(
                f"{' and '.join(given)} {verb} not apply to {experiment.name}, "
                f"{' and '.join(reasons)}"
            )
        _run([experiment], **options)

    hidden = {*inapplicable, *(() if experiment.quick else ("quick",))}
    common = [
        _hidden(parameter) if parameter.name in hidden else parameter for parameter in _COMMON
    ]
    own = [_option(experiment, name) for name in experiment.options]
    command.__signature__ = inspect.Signature([_CONTEXT, *common, *own])  # type: ignore[attr-defined]
    title = str(experiment.title)
    stop = "" if title.endswith("?") else "."
    command.__doc__ = f"{title}{stop}\n\n{experiment.about}"
    return command


def _option(experiment: Experiment, name: str) -> inspect.Parameter:
    """Return an experiment's own option; values that it parses are given as text."""
    option, default = experiment.option(name) or Option(name), experiment.defaults[name]
    flag = f"--{(option.flag or name).replace('_', '-')}"
    kind = str if option.parse or default is None else type(default)
    if isinstance(default, float) and option.parse:
        kind = float
    listed = default if isinstance(default, list | tuple) else [default]
    shown = False if default is None else ", ".join(map(str, listed))
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY,
        default=None,  # the tutorial's value, or with --quick a smaller one
        annotation=Annotated[
            kind | None,
            typer.Option(flag, help=option.help, show_default=shown),
        ],
    )  # fmt: skip


def _inapplicable(experiment: Experiment) -> dict[str, str]:
    """Return the common options that do not apply to an experiment, with the reasons."""
    inapplicable: dict[str, str] = {}
    if not experiment.random:
        inapplicable |= dict.fromkeys(("seed", "seeds"), "which involves no randomness")
        if experiment.split is None:
            single = "which consists of a single run"
            inapplicable |= dict.fromkeys(("jobs", "executor"), single)
    if "data" not in experiment.uses:
        inapplicable["subset"] = "which does not use MNIST"
    return inapplicable


def _hidden(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a copy of an option that is hidden from the help."""
    kind, option = get_args(parameter.annotation)
    option = copy.copy(option)
    option.hidden = True
    return parameter.replace(annotation=Annotated[kind, option])


for _experiment in EXPERIMENTS.values():
    app.command(_experiment.name)(command_of(_experiment))
for _experiment in BEYOND.values():
    app.command(_experiment.name, rich_help_panel="Beyond the tutorial")(command_of(_experiment))
