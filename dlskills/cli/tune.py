"""`dlskills tune`: a search for hyperparameters."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlskills import terminal
from dlskills.arrays.backend import get_backend
from dlskills.checks import check_choice
from dlskills.cli.options import Device, Out, Subset, told, wrong_use
from dlskills.cli.resume import resumable
from dlskills.cli.tables import show_table
from dlskills.experiments import Settings
from dlskills.experiments.trials import best
from dlskills.files import check_folder
from dlskills.plotting import save_figure
from dlskills.tuning import PRUNERS, SAMPLERS, PageTask, load_objective, plot_study, search
from dlskills.tuning.figures import completed
from dlskills.tuning.places import counts, errors
from dlskills.tuning.search import check_optuna

if TYPE_CHECKING:
    import optuna

TASK = ("epochs", "device", "subset")
"""Options of the tutorial's task, which a function of the user's is not told."""

BEST = 10
"""Trials in the table."""


def tune(
    context: typer.Context,
    objective: Annotated[
        str | None,
        typer.Argument(
            help="module:function or file.py:function, which takes an Optuna trial and gives a "
            "score, the higher the better. Left out: the tutorial's task.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="In all, those of earlier calls for this study among them.", min=1)
    ] = 100,
    sampler: Annotated[
        str,
        typer.Option(help="random (by seed and trial number), or tpe (learns from the trials)."),
    ] = "random",
    pruner: Annotated[
        str, typer.Option(help="median (gives up trials below the median of the others), or none.")
    ] = "median",
    storage: Annotated[
        str | None,
        typer.Option(
            help="A file for SQLite, or the URL of a database.", show_default="OUT/tuning.db"
        ),
    ] = None,
    study: Annotated[
        str, typer.Option(help="Its name in the storage: one that is there is gone on with.")
    ] = "dlskills",
    jobs: Annotated[int, typer.Option(help="Processes that work on the study.", min=1)] = 1,
    seed: Annotated[
        int, typer.Option(help="Of hyperparameters, initial values and batches.", min=0)
    ] = 0,
    epochs: Annotated[int, typer.Option(help="Of each trial of the tutorial's task.", min=1)] = 50,
    device: Device = "cpu",
    subset: Subset = "sample",
    out: Out = Path("results"),
) -> None:
    """Search for hyperparameters with Optuna.

    The tutorial's task is a 7-layer network on 400 digits, judged on 100
    others: a learning rate from 1e-6 to 1e-2, a weight decay from 1e-8 to
    1e-4. Break off when you like: the same command goes on from there.
    Figures of the study go to OUT.

    Your own function, in my.py:

        def score(trial):
            lr = trial.suggest_float("lr", 1e-4, 1, log=True)
            for epoch in range(30):
                accuracy = train_on(lr)  # the higher, the better
                trial.report(accuracy, epoch)  # for curves, and for pruning
                if trial.should_prune():
                    raise optuna.TrialPruned
            return accuracy

        dlskills tune my.py:score --study mine --trials 30 --jobs 2

    A trial is pruned if it is below the median of the others, from the 11th
    trial and the 11th step on. A NaN, or an ArithmeticError, is a failed
    trial; any other error ends the search.
    """
    check_optuna()  # before any folder is made
    if objective is not None and (given := told(context, TASK)):
        raise typer.BadParameter(
            f"{' and '.join(given)}: of the tutorial's task alone; {objective} decides itself"
        )
    if not study.strip():
        raise typer.BadParameter(f"--study must be a name, got {study!r}")
    with wrong_use():
        check_choice("sampler", sampler, SAMPLERS)
        check_choice("pruner", pruner, PRUNERS)
        task = objective or PageTask(Settings(seed, device, subset), epochs)
        if isinstance(task, str):
            load_objective(task)
        else:
            get_backend(device)
    check_folder(out)
    with resumable(lambda: "what was finished is kept in the study"):
        found = search(
            task,
            trials=trials,
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
    # without what was broken off, or begun twice by processes of the same moment
    states = [trial.state.name.lower() for trial in study.trials if counts(trial)]
    summary = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    if ranked:
        names = sorted({name for trial in ranked for name in params[trial.number]})
        shown = f", the best {BEST} trials" * (len(ranked) > BEST)
        rows = []
        for place, trial in enumerate(ranked[:BEST], 1):
            values = (params[trial.number].get(name, "") for name in names)
            texts = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)
            rows.append([f"{place}", f"{trial.number}", *texts, f"{trial.score:.4g}"])
        columns = ["place", "trial", *names, "score"]
        show_table(
            console, columns, rows, title=f"Study {study.study_name}{shown}",
            first_dropped=[0, *reversed(range(2, len(columns) - 1))],
        )  # fmt: skip
    console.print(f"{len(states)} trials: {summary}")
    if infinite := states.count("complete") - len(ranked):
        console.print(f"{infinite} of infinite score, left out above and in figures")
    for number, error in list(errors(study).items())[:5]:
        console.print(f"trial {number} failed: {error}", soft_wrap=True)
    figures = plot_study(study)
    for name, figure in figures.items():
        for path in save_figure(figure, out, _file_name(name, study)):
            console.print(f"wrote {path}", soft_wrap=True)
    if figures and "tuning-curves" not in figures:
        console.print("no curves: they are of scores that a function gives to trial.report(...)")
    if not ranked:
        raise typer.Exit(1)


def _file_name(figure: str, study: optuna.Study) -> str:
    """Of its own for each study but the default one."""
    own = re.sub(r"\W+", "-", study.study_name).strip("-")
    if own != study.study_name:  # others may come to the same
        own = f"{own}-{zlib.crc32(study.study_name.encode()):08x}".strip("-")
    return figure if own == "dlskills" else figure.replace("tuning", f"tuning-{own}", 1)
