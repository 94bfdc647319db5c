"""The search: runs the trials of a study in one or several processes, and resumes it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import secrets
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlskills.arrays.random import resolve_seed
from dlskills.checks import check_choice, check_count
from dlskills.experiments.settings import Settings
from dlskills.installation import install_command
from dlskills.processes import processes
from dlskills.training.progress import Progress
from dlskills.tuning import indices
from dlskills.tuning.errors import OptunaMissingError
from dlskills.tuning.grid import check_grid, size
from dlskills.tuning.objectives import Objective, TutorialTask, pickled
from dlskills.tuning.storage import named_errors, url_of
from dlskills.tuning.worker import Worker, begin, quiet, run_one

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("median", "none")
_PATIENCE = 5.0  # seconds between checks on trials of other processes


def check_optuna() -> None:
    """Raise OptunaMissingError, with the install command, if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        if error.name != "optuna":  # installed but broken: its own message is more helpful
            raise
        raise OptunaMissingError(
            "a search needs Optuna, which is not installed; install it with: "
            f"{install_command('tune')}",
            name="optuna",
        ) from None


def search(
    objective: Objective | str | None = None,
    *,
    trials: int | None = None,
    grid: Mapping[str, Iterable[Any]] | None = None,
    sampler: str = "random",
    pruner: str = "median",
    storage: str | Path | None = Path("tuning.db"),
    study: str = "dlskills",
    jobs: int = 1,
    seed: int = 0,
    verbose: bool = True,
) -> optuna.Study:
    """Search for the hyperparameters that maximize an objective.

    Parameters
    ----------
    objective : callable or str, optional
        Takes an Optuna trial, asks it for hyperparameters (``trial.suggest_float("lr", 1e-6,
        1e-2, log=True)``) and returns a score to maximize; NaN marks the trial as failed. May be
        given by name, as ``"module:function"`` or ``"file.py:function"``. By default the
        tutorial's task, :class:`TutorialTask`. To support pruning, it must report its score over
        time (``trial.report(score, epoch)``) and raise ``optuna.TrialPruned`` if
        ``trial.should_prune()`` is true.
    trials : int, optional
        Total number of trials, including those of earlier calls for this study; by default 100,
        or all points of the `grid`. A trial that fails with an ArithmeticError, such as
        :class:`dlskills.DivergedError`, counts; any other error ends the search. Trials ended by
        an error, an interruption or the death of their process do not count: the next call repeats
        them with the same hyperparameters.
    grid : mapping of str to iterable, optional
        Values of each hyperparameter, such as ``{"lr": [0.1, 0.01], "weight_decay": [0, 1e-4]}``:
        the trials are all combinations in order, the last name varying fastest, and `sampler` is
        ignored. It must have each name that the objective asks for.
        :func:`~dlskills.tuning.plot_heat_map` shows the scores.
    sampler : {"random", "tpe"}, default "random"
        ``"random"`` draws uniformly from each range, on a logarithmic scale if it has one; the
        values depend only on the seed and the trial index. ``"tpe"`` is Optuna's tree-structured
        Parzen estimator, which learns from previous trials.
    pruner : {"median", "none"}, default "median"
        Whether to stop trials whose score is below the median of the others, from the 11th trial
        and the 11th step.
    storage : str or path, optional
        An SQLite file, created if missing; or the URL of any database that Optuna supports, such
        as ``"mysql://..."``, to share a search among several machines. Each trial is run by one
        of them; at the end, all wait for the trials of the others. None keeps the study in memory.
    study : str, default "dlskills"
        Name of the study in the storage. An existing study is continued if it was created by this
        function, or with the direction "maximize".
    jobs : int, default 1
        Number of processes, which share the cores. With several, the objective must be importable
        (not defined in a notebook) and `storage` must be given.
    seed : int, default 0
    verbose : bool, default True
        Whether to show progress.

    Returns
    -------
    optuna.Study
        See its ``best_params``, ``best_value`` and ``trials``.

    Raises
    ------
    OptunaMissingError
        Optuna is not installed.
    ValueError
        A name is unknown, the grid lacks a hyperparameter, has fewer points than `trials` or a
        value out of range, or the objective can't be imported by several jobs.
    StudyError
        The storage can't be opened, or its study has another objective, seed, grid or direction.
    WorkerLostError
        One of several processes was killed. Call again to continue the study.
    OSError
        The storage fails during the search, such as on a full disk; the message names it.
    """
    check_optuna()
    points = None if grid is None else check_grid(grid)
    if trials is None:
        trials = 100 if points is None else size(points)
    check_count("trials", trials)
    if points is not None and trials > size(points):
        raise ValueError(
            f"trials must be at most {size(points)}, the number of points of the grid, got {trials}"
        )
    check_count("jobs", jobs)
    seed = resolve_seed(seed)
    names = (check_choice("sampler", sampler, SAMPLERS), check_choice("pruner", pruner, PRUNERS))
    url = url_of(storage)
    if jobs > 1 and url is None:
        raise ValueError(
            "storage must be given for several jobs, got one in memory. Pass the name of a file"
        )
    task = TutorialTask(Settings(seed)) if objective is None else objective
    if jobs > 1:
        pickled(task)  # fail before the study is created
    if isinstance(task, TutorialTask):
        task.prepare()
    with quiet(), named_errors(url):
        worker = Worker(task, url, study, seed, *names, secrets.token_hex(8), points)
        worker.check_same()
        left = worker.left(trials)
        with Progress(len(left), f"study {study}", show=verbose) as progress:
            if len(left) < trials:
                done = len(indices.finished(worker.study))
                trials_done = f"{done} trial{'s' * (done != 1)}"
                progress.note(
                    f"resumes after {trials_done}"
                    if left
                    else f"already has {trials_done}; increase trials to continue"
                )
            _run_all(worker, trials, jobs, progress)
        return worker.study


def _run_all(worker: Worker, trials: int, jobs: int, progress: Progress) -> None:
    """Run trials until all indices below `trials` are finished, here or in other processes."""
    waited_for = None
    while left := worker.left(trials):
        elsewhere = indices.running(worker.study)
        if free := [index for index in left if index not in elsewhere]:
            try:
                with contextlib.closing(_run(worker, free, jobs)) as done:
                    for _ in done:
                        progress.advance()
                        progress.note(worker.report())
            except BaseException:
                with contextlib.suppress(OSError):  # the storage itself may have failed
                    worker.give_up()
                raise
        else:  # other processes are running them, or have died
            if left != waited_for:
                named = ", ".join(map(str, left))
                progress.note(f"waiting for trials in other processes: {named}")
            waited_for = left
            time.sleep(_PATIENCE)


def _run(worker: Worker, free: Sequence[int], jobs: int) -> Generator[int]:
    """Yield the indices of the trials run by this call, as they finish."""
    if jobs == 1:
        waiting = list(free)
        while waiting:
            index = waiting.pop(0)
            if worker.run_one(index):
                yield index
            else:  # processes that share a study in one order would meet at every trial
                random.shuffle(waiting)
        return
    objective, *others = worker.arguments
    arguments = (pickled(objective), *others)
    with processes(min(jobs, len(free)), begin, arguments) as pool:
        futures = {pool.submit(run_one, index): index for index in free}
        for future in concurrent.futures.as_completed(futures):
            if future.result():
                yield futures[future]
