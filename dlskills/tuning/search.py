"""The search itself: trials on one study, in one process or several, now and later."""

from __future__ import annotations

import concurrent.futures
import contextlib
import secrets
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlskills.arrays.random import resolve_seed
from dlskills.checks import check_choice, check_count
from dlskills.experiments.settings import Settings
from dlskills.installation import install_command
from dlskills.processes import processes
from dlskills.training.progress import Progress
from dlskills.tuning import places
from dlskills.tuning.errors import OptunaMissingError
from dlskills.tuning.objectives import Objective, PageTask, pickled
from dlskills.tuning.storage import url_of
from dlskills.tuning.worker import Worker, begin, quiet, run_one

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("median", "none")
_PATIENCE = 5.0  # seconds until a look at what others do


def check_optuna() -> None:
    """Refuse to begin where Optuna is missing, and say how to get it."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        if error.name != "optuna":  # installed, and broken: its own message says more than ours
            raise
        raise OptunaMissingError(
            "a search needs Optuna, which is not installed; install it with: "
            f"{install_command('tune')}",
            name="optuna",
        ) from None


def search(
    objective: Objective | str | None = None,
    *,
    trials: int = 100,
    sampler: str = "random",
    pruner: str = "median",
    storage: str | Path | None = Path("tuning.db"),
    study: str = "dlskills",
    jobs: int = 1,
    seed: int = 0,
    verbose: bool = True,
) -> optuna.Study:
    """Search for the hyperparameters that make an objective large.

    Parameters
    ----------
    objective : callable or str, optional
        Takes an Optuna trial, asks it for hyperparameters (``trial.suggest_float("lr", 1e-6,
        1e-2, log=True)``) and gives a score, the higher the better. By its name
        ``"module:function"`` or ``"file.py:function"`` as well. By default the page's task,
        :class:`PageTask`. If it reports its score over time (``trial.report(score, epoch)``) and
        raises ``optuna.TrialPruned`` where ``trial.should_prune()`` says so, `pruner` can end it
        early. A score of NaN is a failure.
    trials : int, default 100
        In all, those of earlier calls for this study among them. What failed with an
        ArithmeticError, such as :class:`dlskills.DivergedError`, counts; any other error ends
        the search. A trial that it ended, or an interruption, or the end of its process, does not
        count: the next call does it again, with the same hyperparameters.
    sampler : {"random", "tpe"}, default "random"
        Evenly from each range, on its logarithmic scale where it has one, by seed and number of
        the trial alone; or by Optuna's tree-structured Parzen estimator, which learns from the
        trials before.
    pruner : {"median", "none"}, default "median"
        Whether trials below the median of the others are given up, from the 11th trial and the
        11th step on.
    storage : str or path, optional
        A file for SQLite, created if it is missing; or any URL of a database that Optuna takes,
        such as ``"mysql://..."``, for several machines: what one of them does, the others leave
        out, and wait for at the end. With None the study is kept in memory.
    study : str, default "dlskills"
        Its name in the storage. An existing study is continued if it was created here, or with
        the direction "maximize".
    jobs : int, default 1
        Processes that work on the study, and share the cores. The objective must be importable
        (not from a notebook), and `storage` given.
    seed : int, default 0
    verbose : bool, default True
        Whether to show progress.

    Returns
    -------
    optuna.Study
        ``best_params``, ``best_value``, ``trials``.

    Raises
    ------
    OptunaMissingError
    ValueError
        A name is not known, or with several jobs the objective can't be imported.
    StudyError
        The storage can't be opened, or the study in it has another objective, seed or direction.
    WorkerLostError
        One of several processes was killed. Calling again continues the study.
    """
    check_optuna()
    check_count("trials", trials)
    check_count("jobs", jobs)
    seed = resolve_seed(seed)
    told = (check_choice("sampler", sampler, SAMPLERS), check_choice("pruner", pruner, PRUNERS))
    url = url_of(storage)
    if jobs > 1 and url is None:
        raise ValueError("several jobs need a storage to share; give storage= a file name")
    task = PageTask(Settings(seed)) if objective is None else objective
    if jobs > 1:
        pickled(task)  # refused before the study is made
    if isinstance(task, PageTask):
        task.prepare()
    with quiet():
        worker = Worker(task, url, study, seed, *told, secrets.token_hex(8))
        worker.check_same()
        left = worker.left(trials)
        with Progress(len(left), f"study {study}", show=verbose) as progress:
            if len(left) < trials:
                done = len(places.finished(worker.study))
                trials_done = f"{done} trial{'s' * (done != 1)}"
                progress.note(
                    f"goes on from {trials_done}"
                    if left
                    else f"has its {trials_done}; ask for more"
                )
            _do(worker, trials, jobs, progress)
        return worker.study


def _do(worker: Worker, trials: int, jobs: int, progress: Progress) -> None:
    """Run trials until each of so many places has one that came to its end, here or elsewhere."""
    waited_for = None
    while left := worker.left(trials):
        elsewhere = places.running(worker.study)
        if free := [place for place in left if place not in elsewhere]:
            try:
                with contextlib.closing(_run(worker, free, jobs)) as done:
                    for _ in done:
                        progress.advance()
                        progress.note(worker.report())
            except BaseException:
                worker.give_up()
                raise
        else:  # others are at them, or have died with them
            if left != waited_for:
                named = ", ".join(map(str, left))
                progress.note(f"waits for what seems to run elsewhere: trials {named}")
            waited_for = left
            time.sleep(_PATIENCE)


def _run(worker: Worker, free: Sequence[int], jobs: int) -> Generator[int]:
    """Yield the places whose trial was done here, as they end."""
    if jobs == 1:
        for place in free:
            if worker.run_one(place):
                yield place
        return
    objective, *others = worker.told
    told = (pickled(objective), *others)
    with processes(min(jobs, len(free)), begin, told) as pool:
        futures = {pool.submit(run_one, place): place for place in free}
        for future in concurrent.futures.as_completed(futures):
            if future.result():
                yield futures[future]
