"""A worker of a search: runs trials one after another, alongside other processes."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any, SupportsFloat

from dlskills.tuning import indices
from dlskills.tuning.errors import StudyError
from dlskills.tuning.grid import Grid
from dlskills.tuning.objectives import (
    TUTORIAL_TASK,
    Objective,
    load_objective,
    name_of,
    unpickled,
)
from dlskills.tuning.storage import named_errors, open_storage
from dlskills.users_code import users_line


class TakenError(Exception):
    """Another process has started the trial with this index first."""


class Worker:
    """Runs trials of a study in this process.

    Parameters
    ----------
    objective : callable or str
    url : str, optional
        URL of the storage; None for one in memory.
    name : str
        Name of the study.
    seed : int
    sampler, pruner : str
    call : str
        Unique id of the call of the search, shared by its processes.
    grid : dict, optional
        Takes the place of the sampler.
    """

    def __init__(
        self,
        objective: Objective | str,
        url: str | None,
        name: str,
        seed: int,
        sampler: str,
        pruner: str,
        call: str,
        grid: Grid | None = None,
    ) -> None:
        import optuna

        from dlskills.tuning import samplers

        self.arguments = (objective, url, name, seed, sampler, pruner, call, grid)
        self._call, self._grid, self._url = call, grid, url
        self._samplers, self._sampler, self._seed = samplers, sampler, seed
        self._objective = load_objective(objective) if isinstance(objective, str) else objective
        self._about = {"objective": name_of(objective), "seed": seed, "grid": grid}
        self._storage = None if url is None else open_storage(url)
        self.study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction="maximize",
            pruner=samplers.make_pruner(pruner),
            load_if_exists=True,
        )
        self._check_direction()

    def _check_direction(self) -> None:
        """Raise StudyError if the study was created elsewhere with another direction."""
        found = [direction.name.lower() for direction in self.study.directions]
        if found != ["maximize"]:
            given = found[0] if len(found) == 1 else f"{len(found)} directions ({', '.join(found)})"
            raise StudyError(
                f'the direction of the study {self.study.study_name!r} must be "maximize", got '
                f"{given}. Choose another name for the study (study=..., --study ...), and an "
                "objective to be maximized"
            )

    def check_same(self) -> None:
        """Check that the study has the same objective and seed; note those of a new study."""
        known = dict(indices.notes(self.study))
        if "objective" in known:  # as noted before the task was renamed
            known["objective"] = known["objective"].replace("the page's task", TUTORIAL_TASK)
        if "seed" in known:  # as noted before there were grids
            known.setdefault("grid", None)
        for key, value in self._about.items():
            if known.get(key, value) != value:
                raise StudyError(
                    f"the study {self.study.study_name!r} must be continued with the {key} "
                    f"{known[key]!r}, got {value!r}. Use that, or choose another name for the "
                    "study (study=..., --study ...)"
                )
        if known != self._about:
            indices.note(self.study, **self._about)

    def left(self, trials: int) -> list[int]:
        """Return the trial indices below `trials` that are not finished."""
        return sorted(set(range(trials)) - indices.finished(self.study))

    def run_one(self, index: int) -> bool:
        """Run the trial with this index, unless another process has started it."""
        with named_errors(self._url):
            return self._run_one(index)

    def _run_one(self, index: int) -> bool:
        if index in indices.finished(self.study) | indices.running(self.study):
            return False
        self.study.sampler = self._samplers.make_sampler(
            self._sampler, self._seed, index, self._grid
        )
        indices.enqueue(self.study, index)
        try:
            self.study.optimize(self._run_objective, n_trials=1, catch=(ArithmeticError,))
        except TakenError:
            return False
        except Exception as error:
            if not _overtaken(error):
                raise
            return False
        return True

    def _run_objective(self, trial: Any) -> float:
        import optuna

        indices.note_call(trial, self._call)
        if indices.taken(self.study, trial):
            raise TakenError
        if self._storage is not None:  # Optuna's first heartbeat may come too late
            self._storage.record_heartbeat(trial._trial_id)
        try:
            score = self._objective(trial)
            if not isinstance(score, SupportsFloat):
                raise TypeError(f"the objective must return a number, got {score!r}")
            if math.isnan(float(score)):
                raise ArithmeticError("the score is NaN")
            return float(score)
        except ArithmeticError as error:
            indices.note_error(trial, error)
            raise
        except Exception as error:
            if not isinstance(error, optuna.TrialPruned):
                line = users_line(error)
                at = f", at {line}" if line else ""
                error.add_note(f"in trial {trial.number}, with {trial.params}{at}")
                error.add_note("(to mark a trial as failed, return NaN or raise ArithmeticError)")
            raise

    def give_up(self) -> None:
        """Mark the running trials of this call as failed, so that they can be repeated."""
        with named_errors(self._url):
            indices.fail_those_of(self.study, self._call)

    def report(self) -> str:
        """Return the progress of the search in one line."""
        done = len(indices.finished(self.study))
        try:
            best = self.study.best_trial
        except ValueError:  # no trial is complete
            return f"{done} done, none complete"
        return f"{done} done, best: {best.value:.4g} in trial {best.number}"


def _overtaken(error: BaseException) -> bool:
    """Return whether the trial of this process, silent for too long, was given to another."""
    from optuna.exceptions import UpdateFinishedTrialError

    # Optuna's own clean-up may fail in turn, with an error that says nothing of the reason.
    while not isinstance(error, UpdateFinishedTrialError):
        if type(error) is ValueError and str(error) == "Cannot tell a FAIL trial.":
            return True
        if error.__context__ is None:
            return False
        error = error.__context__
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's output per trial, as the search shows its own progress."""
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


# Functions called in worker processes

_worker: Worker
_silence: contextlib.AbstractContextManager[None]


def begin(objective: bytes, *arguments: Any) -> None:
    """Create the worker of this process."""
    global _worker, _silence
    _silence = quiet()
    _silence.__enter__()  # until the process ends
    _worker = Worker(unpickled(objective), *arguments)


def run_one(index: int) -> bool:
    """Call :meth:`Worker.run_one` of the worker of this process."""
    return _worker.run_one(index)
