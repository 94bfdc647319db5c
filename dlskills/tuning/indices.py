"""Trial indices: stable positions in a search, across retries and workers.

Optuna numbers trials in the order in which they start. An interrupted trial keeps its number, and
the trial that repeats it gets a new one, but both have the same index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_NOTES = "dlskills.search"
"""The user attribute that stores notes; all other names are free for the user."""

_INDEX, _ERROR, _CALL = "place", "error", "call"  # keys in existing studies: never change them


def notes(noted: Any) -> dict[str, Any]:
    """Return the notes on a trial or a study."""
    found = noted.user_attrs.get(_NOTES)
    return found if isinstance(found, dict) else {}


def note(noted: Any, **news: Any) -> None:
    """Add to the notes on a trial or a study."""
    noted.set_user_attr(_NOTES, notes(noted) | news)


def index_of(trial: Any) -> int:
    """Return the index of a trial, from 0; in studies created elsewhere, its number."""
    return int(notes(trial).get(_INDEX, trial.number))


def taken(study: optuna.Study, trial: Any) -> bool:
    """Return whether a started trial is redundant: an earlier one with its index counts or runs.

    Two processes can find the same free index at the same time. The storage numbers their trials
    consecutively, so all processes agree on which was first. If one process starts the trial that
    another enqueued, the other gets a trial without an index.
    """
    index = index_of(trial)
    return _INDEX not in notes(trial) or any(
        other.number < trial.number and index_of(other) == index and (counts(other) or _runs(other))
        for other in study.get_trials(deepcopy=False)
    )


def note_error(trial: Any, error: Exception) -> None:
    """Note the error of a failing trial, so that it counts and is not repeated."""
    note(trial, **{_ERROR: f"{type(error).__name__}: {error}"})


def note_call(trial: Any, call: str) -> None:
    """Note which call of the search started a trial."""
    note(trial, **{_CALL: call})


def fail_those_of(study: optuna.Study, call: str) -> None:
    """Fail the running trials of a call whose processes have ended, freeing their indices."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if notes(trial).get(_CALL) == call:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def errors(study: optuna.Study) -> dict[int, str]:
    """Return the errors of failed trials by trial number."""
    return {
        trial.number: notes(trial)[_ERROR]
        for trial in study.get_trials(deepcopy=False)
        if _ERROR in notes(trial)
    }


def counts(trial: Any) -> bool:
    """Return whether a trial finished by itself: completed, pruned or failed."""
    from optuna.trial import TrialState

    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or _ERROR in notes(trial)


def finished(study: optuna.Study) -> set[int]:
    """Return the indices of finished trials."""
    return {index_of(trial) for trial in study.get_trials(deepcopy=False) if counts(trial)}


def running(study: optuna.Study) -> set[int]:
    """Return the indices of trials running in any process."""
    from optuna.storages import fail_stale_trials

    fail_stale_trials(study)  # trials of dead processes
    return {index_of(trial) for trial in study.get_trials(deepcopy=False) if _runs(trial)}


def enqueue(study: optuna.Study, index: int) -> None:
    """Enqueue the trial with this index, for the next process that asks the study for one."""
    from optuna.trial import TrialState

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    # It is already enqueued if a process died between this call and the start of the trial.
    if index not in map(index_of, waiting):
        study.enqueue_trial({}, user_attrs={_NOTES: {_INDEX: index}})
    # A process may die before the first heartbeat of its trial, which no other could tell from one
    # that runs: every waiting trial has a heartbeat.
    storage = study._storage
    if getattr(storage, "get_heartbeat_interval", lambda: None)() is not None:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            storage.record_heartbeat(trial._trial_id)


def _runs(trial: Any) -> bool:
    from optuna.trial import TrialState

    return bool(trial.state == TrialState.RUNNING)
