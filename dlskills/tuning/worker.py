"""A process's part in a search: it runs trials, one after the other, beside other processes."""

from __future__ import annotations

import contextlib
import math
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsFloat

from dlskills.tuning import places
from dlskills.tuning.errors import StudyError
from dlskills.tuning.objectives import Objective, load_objective, name_of, unpickled
from dlskills.tuning.storage import open_storage


class TakenError(Exception):
    """Another process was quicker to begin the trial at this place."""


class Worker:
    """Runs trials of a study, in this process.

    Parameters
    ----------
    objective : callable or str
    url : str, optional
        Of the storage; None for one in memory.
    name : str
        Of the study.
    seed : int
    sampler, pruner : str
    call : str
        What tells the call of the search, whose processes have it in common, from others.
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
    ) -> None:
        import optuna

        from dlskills.tuning import samplers

        self.told = (objective, url, name, seed, sampler, pruner, call)
        self._call = call
        self._samplers, self._sampler, self._seed = samplers, sampler, seed
        self._objective = load_objective(objective) if isinstance(objective, str) else objective
        self._about = {"objective": name_of(objective), "seed": seed}
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
        """Refuse a study created elsewhere whose best trial is not that of the highest score."""
        found = [direction.name.lower() for direction in self.study.directions]
        if found != ["maximize"]:
            told = found[0] if len(found) == 1 else f"{len(found)} directions ({', '.join(found)})"
            raise StudyError(
                f"the study {self.study.study_name!r} was created with {told}, but a search here "
                'needs "maximize"; give another name for the study (study=..., --study ...), and '
                "an objective whose higher score is better"
            )

    def check_same(self) -> None:
        """Refuse to mix what cannot be compared; note the objective and seed of a new study."""
        known = places.notes(self.study)
        for key, value in self._about.items():
            if known.get(key, value) != value:
                raise StudyError(
                    f"the study {self.study.study_name!r} is of {key} {known[key]!r}, not "
                    f"{value!r}; give that, or another name for the study (study=..., --study ...)"
                )
        if known != self._about:
            places.note(self.study, **self._about)

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
        except TakenError:
            return False
        return True

    def _watched(self, trial: Any) -> float:
        import optuna

        places.note_call(trial, self._call)
        if places.taken(self.study, trial):
            raise TakenError
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
                error.add_note(f"in trial {trial.number}, with {trial.params}{_where(error)}")
                error.add_note("(a trial that may fail gives NaN, or raises an ArithmeticError)")
            raise

    def give_up(self) -> None:
        """Let others begin again what this call's processes were at when they were ended."""
        places.fail_those_of(self.study, self._call)

    def report(self) -> str:
        """Where the search stands, in a line."""
        done = len(places.finished(self.study))
        try:
            best = self.study.best_trial
        except ValueError:  # none is complete
            return f"{done} done, none of them complete"
        return f"{done} done, the best: {best.value:.4g} in trial {best.number}"


def _where(error: Exception) -> str:
    """The line of the user's own code in which it happened; nothing if there is none."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    known = [*map(Path, libraries), Path(__file__).resolve().parents[1]]
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(map(Path(frame.filename).is_relative_to, known))
    ]
    return f", at {own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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

_worker: Worker
_silence: contextlib.AbstractContextManager[None]


def begin(objective: bytes, *told: Any) -> None:
    """Make this process's worker."""
    global _worker, _silence
    _silence = quiet()
    _silence.__enter__()  # for as long as the process lives
    _worker = Worker(unpickled(objective), *told)


def run_one(place: int) -> bool:
    """:meth:`Worker.run_one` of this process's worker."""
    return _worker.run_one(place)
