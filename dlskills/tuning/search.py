"""The search itself: trials on one study, in one process or several, now and later."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import math
import pickle
import sysconfig
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, SupportsFloat

from dlskills.checks import check_choice, check_count
from dlskills.experiments.settings import Settings
from dlskills.processes import processes
from dlskills.random import resolve_seed
from dlskills.training.progress import Progress
from dlskills.tuning import places
from dlskills.tuning.objectives import PageTask, load_objective

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe")
PRUNERS = ("median", "none")
_PULSE = 10  # seconds from one heartbeat of a running trial to the next
_PATIENCE = 5.0  # seconds until a look at what others do
_TRIES = 6  # to open a file before its error is believed

Objective = Callable[[Any], float]


class _TakenError(Exception):
    """Another process was quicker to begin the trial at this place."""


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
        Whether trials below the median of the others are given up.
    storage : str or path, optional
        A file for SQLite, made if it is not there; or any URL of a database that Optuna takes,
        such as ``"mysql://..."``, for several machines: what one of them does, the others leave
        out, and wait for at the end. With None the study is kept in memory.
    study : str, default "dlskills"
        Its name in the storage. A name that is there is gone on with.
    jobs : int, default 1
        Processes that work on the study, and share the cores. The objective must be importable,
        and `storage` given.
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
    if jobs > 1:
        _check_importable(task)
    with _quiet():
        worker = _Worker(task, _url(storage), study, seed, *told)
        worker.check_same()
        left = worker.left(trials)
        begun, waited_for = trials - len(left), None
        with Progress(len(left), f"study {study}", show=verbose) as progress:
            if begun:
                done = len(places.finished(worker.study))
                progress.note(
                    f"goes on from {done} trials"
                    if left
                    else f"has its {done} trials; ask for more"
                )
            while left:
                for _ in _run(worker, left, jobs):
                    progress.advance()
                    progress.note(worker.report())
                before, left = left, worker.left(trials)
                if left == before:  # others are at them, or have died with them
                    if left != waited_for:
                        named = ", ".join(map(str, left))
                        progress.note(f"waits for what seems to run elsewhere: trials {named}")
                    waited_for = left
                    time.sleep(_PATIENCE)
        return worker.study


def _check_importable(objective: Objective | str) -> None:
    try:
        pickle.dumps(objective)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"several jobs need an objective that other processes can import, got {objective!r} "
            f"({error}); define it with def in a module, or give jobs=1"
        ) from None


def _run(worker: _Worker, left: Sequence[int], jobs: int) -> Iterator[int]:
    """The places whose trial was done here, as they end."""
    if jobs == 1:
        for place in left:
            if worker.run_one(place):
                yield place
        return
    with processes(min(jobs, len(left)), _begin, worker.told) as pool:
        futures = {pool.submit(_run_one, place): place for place in left}
        for future in concurrent.futures.as_completed(futures):
            if future.result():
                yield futures[future]


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
        self._storage = None if url is None else _open(url)
        self.study = optuna.create_study(
            storage=self._storage,
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
                    "give that, or another name for the study (study=..., --study ...)"
                )
            self.study.set_user_attr(key, value)

    def left(self, trials: int) -> list[int]:
        """The places among so many whose trial has not come to its end."""
        return sorted(set(range(trials)) - places.finished(self.study))

    def run_one(self, place: int) -> bool:
        """Run the trial at a place, unless somebody else has begun it."""
        if place in places.finished(self.study) | places.running(self.study):
            return False
        self.study.sampler = self._samplers.make_sampler(self._sampler, self._seed, place)
        places.enqueue(self.study, place)
        try:
            self.study.optimize(self._watched, n_trials=1, catch=(ArithmeticError,))
        except _TakenError:
            return False
        return True

    def _watched(self, trial: Any) -> float:
        import optuna

        if places.taken(self.study, trial):
            raise _TakenError
        if self._storage is not None:  # Optuna's first heartbeat may be too late for a quick end
            self._storage.record_heartbeat(trial._trial_id)
        try:
            score = self._objective(trial)
            if not isinstance(score, SupportsFloat):
                raise TypeError(f"the objective must give a number, got {score!r}")
            if math.isnan(float(score)):
                raise ArithmeticError("the score is NaN")
            return float(score)
        except ArithmeticError as error:
            places.note_error(trial, error)
            raise
        except Exception as error:
            if not isinstance(error, optuna.TrialPruned):
                error.add_note(f"in trial {trial.number}, with {trial.params}, {_where(error)}")
            raise

    def report(self) -> str:
        """Where the search stands, in a line."""
        done = len(places.finished(self.study))
        try:
            best = self.study.best_trial
        except ValueError:  # none is complete
            return f"{done} done, none of them complete"
        return f"{done} done, the best: {best.value:.4g} in trial {best.number}"


def _where(error: Exception) -> str:
    """The line in which it happened; of the user's own code, if it was called from there."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    libraries.append(str(Path(__file__).parents[1]))
    own = [frame for frame in frames if not any(map(frame.filename.startswith, libraries))]
    last = (own or frames)[-1]
    return f"at {last.filename}:{last.lineno}: {last.line}"


def _name(objective: Any) -> str:
    """What tells an objective from others, in this call of the program and the next."""
    if isinstance(objective, PageTask):
        settings, epochs = objective.settings, objective.epochs
        # the device is left out: a search may go on elsewhere
        return f"the page's task, {epochs} epochs, {settings.subset}, seed {settings.seed}"
    if isinstance(objective, str):
        return objective
    if isinstance(objective, functools.partial):
        given = [*map(_plain, objective.args)]
        given += [f"{name}={_plain(value)}" for name, value in sorted(objective.keywords.items())]
        return f"{_name(objective.func)} of {', '.join(given)}"
    name: str = getattr(objective, "__qualname__", type(objective).__qualname__)
    if "<" in name and hasattr(objective, "__code__"):  # <lambda> and <locals> may be many
        name += f", code {_digest(objective.__code__)}"
    return name


def _plain(value: Any) -> str:
    simple = isinstance(value, bool | int | float | str | None)
    return repr(value) if simple else type(value).__qualname__


def _digest(code: CodeType) -> str:
    """Of what a function does; not of where it stands."""
    constants = (
        _digest(constant) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    )
    words = [code.co_code.hex(), *code.co_names, *constants]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _url(storage: str | Path | None) -> str | None:
    if storage is None or "://" in str(storage):
        return None if storage is None else str(storage)
    path = Path(storage).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.as_posix()}"


def _open(url: str) -> Any:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    # by its heartbeat others see that a trial is still being worked on
    opened = functools.partial(RDBStorage, url, heartbeat_interval=_PULSE, grace_period=6 * _PULSE)
    try:
        if not url.startswith("sqlite"):
            return opened()
        # processes wait for each other's writes rather than fail
        storage = _when_made(lambda: opened({"connect_args": {"timeout": 60}}))
    except (SQLAlchemyError, ImportError) as error:
        raise ValueError(
            f"the storage {url!r} can't be opened: {str(error).splitlines()[0]}; give the name of "
            "a file that is a study's or not there yet, or a database's URL, such as "
            "'mysql://user:password@host/name', for which its driver must be installed"
        ) from error
    _lock_what_is_read(storage.engine)
    return storage


def _when_made(opened: Callable[[], Any]) -> Any:
    """Open a storage whose tables another process may be making at this moment."""
    from sqlalchemy.exc import IntegrityError, OperationalError

    for _ in range(_TRIES - 1):
        with contextlib.suppress(IntegrityError, OperationalError):
            return opened()
        time.sleep(0.5)
    return opened()


def _lock_what_is_read(engine: Any) -> None:
    """Have each transaction of SQLite begin with its lock for writing.

    Optuna locks the trial that it reads in order to change it (SELECT ... FOR UPDATE), which
    SQLite does not know: two processes could take the same waiting trial.
    """
    from sqlalchemy import event

    def leave_it_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin later, at the first change

    event.listen(engine, "connect", leave_it_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # connections that were made before


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
_silence: contextlib.AbstractContextManager[None]


def _begin(*told: Any) -> None:
    global _worker, _silence
    _silence = _quiet()
    _silence.__enter__()  # for as long as the process lives
    _worker = _Worker(*told)


def _run_one(place: int) -> bool:
    return _worker.run_one(place)
