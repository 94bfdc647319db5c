"""The search itself: trials on one study, in one process or several, now and later."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_choice, check_count
from dlskills.experiments.settings import Settings
from dlskills.random import resolve_seed
from dlskills.training.progress import Progress
from dlskills.tuning.objectives import PageTask, load_objective

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("median", "none")

Objective = Callable[[Any], float]


class OptunaMissingError(ImportError):
    """A search needs Optuna, which is not installed."""


def check_optuna() -> None:
    """Refuse to begin where Optuna is missing, and say how to get it."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        if error.name != "optuna":  # installed, and broken: its own message says more than ours
            raise
        raise OptunaMissingError(
            "a search needs Optuna, which is not installed; install it with: "
            'pip install "dlskills[tune]"',
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
        early.
    trials : int, default 100
        In all, those of earlier calls for this study among them. What failed with an
        ArithmeticError, such as :class:`dlskills.DivergedError`, counts; any other error ends
        the search.
    sampler : {"random", "tpe"}, default "random"
        Evenly from each range, on its logarithmic scale where it has one, by seed and number of
        the trial alone; or by Optuna's tree-structured Parzen estimator, which learns from the
        trials before.
    pruner : {"median", "none"}, default "median"
        Whether trials below the median of the others are given up.
    storage : str or path, optional
        A file for SQLite, made if it is not there; or any URL of a database that Optuna takes,
        such as ``"mysql://..."``, for several machines. With None the study is kept in memory.
    study : str, default "dlskills"
        Its name in the storage. A name that is there is gone on with.
    jobs : int, default 1
        Processes that work on the study. The objective must be importable, and `storage` given.
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
        A name is not known, or the study in the storage is of another objective or seed.
    """
    check_optuna()
    check_count("trials", trials)
    check_count("jobs", jobs)
    seed = resolve_seed(seed)
    told = (check_choice("sampler", sampler, SAMPLERS), check_choice("pruner", pruner, PRUNERS))
    if jobs > 1 and storage is None:
        raise ValueError("several jobs need a storage to share; give storage= a file name")
    task = PageTask(Settings(seed)) if objective is None else objective
    with _quiet():
        worker = _Worker(task, _url(storage), study, seed, *told)
        worker.check_same()
        begun = worker.finished()
        left = max(trials - begun, 0)
        with Progress(left, f"study {study}", show=verbose) as progress:
            if begun:
                progress.note(f"goes on from {begun} trials")
            for _ in _run(worker, begun, left, jobs):
                progress.advance()
                progress.note(worker.report())
        return worker.study


def _run(worker: _Worker, begun: int, left: int, jobs: int) -> Iterator[int]:
    """The trials as they end."""
    numbers = range(begun, begun + left)
    if jobs == 1:
        for number in numbers:
            worker.run_one(number)
            yield number
        return
    # spawned, not forked: threads and a GPU's context do not survive a fork
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin, initargs=worker.told
    ) as pool:
        futures = {pool.submit(_run_one, number): number for number in numbers}
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:  # also what interrupts: no trial is begun any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """What a process needs to run trials of a study."""

    def __init__(
        self,
        objective: Objective | str,
        url: str | None,
        name: str,
        seed: int,
        sampler: str,
        pruner: str,
    ) -> None:
        import optuna

        from dlskills.tuning import samplers

        self.told = (objective, url, name, seed, sampler, pruner)
        self._samplers, self._sampler, self._seed = samplers, sampler, seed
        self._objective = load_objective(objective) if isinstance(objective, str) else objective
        self._about = {"objective": _name(objective), "seed": seed}
        self.study = optuna.create_study(
            storage=None if url is None else _open(url),
            study_name=name,
            direction="maximize",
            pruner=samplers.make_pruner(pruner),
            load_if_exists=True,
        )

    def check_same(self) -> None:
        """Refuse to mix what cannot be compared; note what a new study is of."""
        for key, value in self._about.items():
            known = self.study.user_attrs.get(key, value)
            if known != value:
                raise ValueError(
                    f"the study {self.study.study_name!r} is of {key} {known!r}, not {value!r}; "
                    "give that, or another name for the study"
                )
            self.study.set_user_attr(key, value)

    def finished(self) -> int:
        return self._samplers.finished(self.study)

    def run_one(self, begun: int) -> None:
        """One trial; `begun` were before it."""
        self.study.sampler = self._samplers.make_sampler(self._sampler, self._seed, begun)
        self.study.optimize(self._objective, n_trials=1, catch=(ArithmeticError,))

    def report(self) -> str:
        """Where the search stands, in a line."""
        try:
            best = self.study.best_trial
        except ValueError:  # none is complete
            return f"{self.finished()} done, none of them complete"
        return f"{self.finished()} done, the best: {best.value:.4g} in trial {best.number}"


def _name(objective: Objective | str) -> str:
    if isinstance(objective, PageTask):
        settings = objective.settings
        return f"the page's task, {objective.epochs} epochs, {settings.subset}"
    if isinstance(objective, str):
        return objective
    return getattr(objective, "__qualname__", type(objective).__qualname__)


def _url(storage: str | Path | None) -> str | None:
    if storage is None or "://" in str(storage):
        return None if storage is None else str(storage)
    path = Path(storage).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.as_posix()}"


def _open(url: str) -> Any:
    from optuna.storages import RDBStorage

    # processes wait for each other's writes rather than fail
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    return RDBStorage(url, engine_kwargs=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines for each trial: our progress says the same in one."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings(
            action="ignore", category=optuna.exceptions.ExperimentalWarning
        ):
            yield
    finally:
        optuna.logging.set_verbosity(before)


# In a process of its own

_worker: _Worker


def _begin(*told: Any) -> None:
    import optuna

    global _worker
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _worker = _Worker(*told)


def _run_one(begun: int) -> None:
    _worker.run_one(begun)
