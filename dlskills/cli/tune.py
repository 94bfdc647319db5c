"""`dlskills tune`: hyperparameter search."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlskills import terminal
from dlskills.arrays.backend import get_backend
from dlskills.checks import check_choice
from dlskills.cli.options import Device, Out, Subset, given_options, wrong_use
from dlskills.cli.resume import resumable
from dlskills.cli.tables import show_table
from dlskills.experiments import Settings
from dlskills.experiments.trials import best
from dlskills.files import check_folder
from dlskills.plotting import save_figure
from dlskills.tuning import PRUNERS, SAMPLERS, TutorialTask, load_objective, plot_study, search
from dlskills.tuning.figures import completed
from dlskills.tuning.grid import parse_grid, size
from dlskills.tuning.indices import counts, errors
from dlskills.tuning.search import check_optuna

if TYPE_CHECKING:
    import optuna

TASK = ("epochs", "device", "subset")
"""Options that apply only to the tutorial's task."""

BEST = 10
"""Number of trials in the table."""


def tune(
    context: typer.Context,
    objective: Annotated[
        str | None,
        typer.Argument(
            help="module:function or file.py:function that takes an Optuna trial and returns a "
            "score to maximize. Default: the tutorial's task.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Total number, including trials of earlier calls.",
            min=1,
            show_default="100, or all points of the grid",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of a hyperparameter, such as lr=0.1,0.01: once for each. The trials are "
            "all combinations, in place of a sampler.",
            metavar="NAME=VALUE,...",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(help="random (fixed by seed and trial index), or tpe (learns from trials)."),
    ] = "random",
    pruner: Annotated[
        str, typer.Option(help="median (stops trials below the median of the others), or none.")
    ] = "median",
    storage: Annotated[
        str | None,
        typer.Option(
            help="SQLite file, or URL of a database, such as postgresql://user@host/name, for "
            "workers on several machines.",
            envvar="DLSKILLS_STORAGE",
            show_envvar=True,
            show_default="OUT/tuning.db",
        ),
    ] = None,
    study: Annotated[
        str, typer.Option(help="Name in the storage; an existing study is continued.")
    ] = "dlskills",
    jobs: Annotated[int, typer.Option(help="Number of processes.", min=1)] = 1,
    seed: Annotated[
        int, typer.Option(help="Seed of hyperparameters, initial weights and batches.", min=0)
    ] = 0,
    epochs: Annotated[
        int, typer.Option(help="Epochs per trial of the tutorial's task.", min=1)
    ] = 50,
    device: Device = "cpu",
    subset: Subset = "sample",
    out: Out = Path("results"),
) -> None:
    """Search for hyperparameters with Optuna.

    The tutorial's task trains a 7-layer network on 400 digits and scores it
    on 100 others, with a learning rate from 1e-6 to 1e-2 and a weight decay
    from 1e-8 to 1e-4. You can interrupt the search at any time; the same
    command resumes it. Figures of the study are written to OUT.

    Your own function, in my.py:

        def score(trial):
            lr = trial.suggest_float("lr", 1e-4, 1, log=True)
            for epoch in range(30):
                accuracy = train_on(lr)  # to be maximized
                trial.report(accuracy, epoch)  # for curves, and for pruning
                if trial.should_prune():
                    raise optuna.TrialPruned
            return accuracy

        dlskills tune my.py:score --study mine --trials 30 --jobs 2

    All combinations of some values, with a heat map of the scores:

        dlskills tune --grid lr=0.001,0.01 --grid weight_decay=1e-8,1e-6,1e-4

    From the 11th trial and the 11th step, a trial is pruned if its score is
    below the median of the others. A score of NaN or an ArithmeticError marks
    the trial as failed; any other error ends the search.
    """
    check_optuna()  # before any folder is created
    if objective is not None and (given := given_options(context, TASK)):
        raise typer.BadParameter(
            f"{' and '.join(given)} can't be combined with {objective}: only the tutorial's task "
            "uses this option"
        )
    if grid and (given := given_options(context, ["sampler"])):
        raise typer.BadParameter(f"{given[0]} can't be combined with --grid, which replaces it")
    if not study.strip():
        raise typer.BadParameter(f"--study must be a non-empty name, got {study!r}")
    with wrong_use():
        check_choice("sampler", sampler, SAMPLERS)
        check_choice("pruner", pruner, PRUNERS)
        points = parse_grid(grid) if grid else None
        task = objective or TutorialTask(Settings(seed, device, subset), epochs)
        if isinstance(task, str):
            load_objective(task)
        else:
            get_backend(device)
        if points and trials and trials > size(points):
            raise ValueError(
                f"trials must be at most {size(points)}, the number of points of the grid, got "
                f"{trials}"
            )
    check_folder(out)
    with resumable(lambda: "finished trials are kept in the study"):
        found = search(
            task,
            trials=trials,
            grid=points,
            sampler=sampler,
            pruner=pruner,
            storage=out / "tuning.db" if storage is None else storage,
            study=study,
            jobs=jobs,
            seed=seed,
        )
    _show(found, out)


def _show(study: optuna.Study, out: Path) -> None:
    console = terminal.console()
    params = {trial.number: trial.params for trial in study.trials}
    ranked = best(completed(study))
    # excluding interrupted trials, and duplicates started by concurrent processes
    states = [trial.state.name.lower() for trial in study.trials if counts(trial)]
    summary = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    if ranked:
        names = sorted({name for trial in ranked for name in params[trial.number]})
        shown = f", best {BEST} trials" * (len(ranked) > BEST)
        rows = []
        for rank, trial in enumerate(ranked[:BEST], 1):
            values = (params[trial.number].get(name, "") for name in names)
            texts = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)
            rows.append([f"{rank}", f"{trial.number}", *texts, f"{trial.score:.4g}"])
        columns = ["rank", "trial", *names, "score"]
        show_table(
            console, columns, rows, title=f"Study {study.study_name}{shown}",
            first_dropped=[0, *reversed(range(2, len(columns) - 1))],
        )  # fmt: skip
    console.print(f"{len(states)} trials: {summary}")
    if infinite := states.count("complete") - len(ranked):
        console.print(f"{infinite} with an infinite score, omitted from the table and figures")
    for number, error in list(errors(study).items())[:5]:
        console.print(f"trial {number} failed: {error}", soft_wrap=True)
    figures = plot_study(study)
    for name, figure in figures.items():
        for path in save_figure(figure, out, _file_name(name, study)):
            console.print(f"wrote {path}", soft_wrap=True)
    if figures and "tuning-curves" not in figures:
        console.print("no curves, as the objective never called trial.report(...)")
    if not ranked:
        raise typer.Exit(1)


def _file_name(figure: str, study: optuna.Study) -> str:
    """Return a file name that is unique to the study; the default study adds nothing."""
    own = re.sub(r"\W+", "-", study.study_name).strip("-")
    if own != study.study_name:  # distinguishes names that simplify alike
        own = f"{own}-{zlib.crc32(study.study_name.encode()):08x}".strip("-")
    return figure if own == "dlskills" else figure.replace("tuning", f"tuning-{own}", 1)
