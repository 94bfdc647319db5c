"""Places of a search: what its trials are numbered by, whoever runs them, and how often.

Optuna numbers trials as they begin. One that was interrupted has a number, too, and the trial
that makes up for it gets another; its place in the search stays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_OURS = "dlskills.search"
"""The user attribute that holds our notes: all other names are free for the user's."""

_PLACE, _ERROR, _CALL = "place", "error", "call"


def notes(noted: Any) -> dict[str, Any]:
    """Return our notes on a trial or a study."""
    found = noted.user_attrs.get(_OURS)
    return found if isinstance(found, dict) else {}


def note(noted: Any, **news: Any) -> None:
    """Add to our notes on a trial or a study."""
    noted.set_user_attr(_OURS, notes(noted) | news)


def place_of(trial: Any) -> int:
    """Return a trial's place, counted from 0; in a study not begun here, its number."""
    return int(notes(trial).get(_PLACE, trial.number))


def taken(study: optuna.Study, trial: Any) -> bool:
    """Whether a trial that has begun is one too many: its place has an earlier one that counts.

    Two processes that look for a free place at the same moment both find it. The storage numbers
    their trials one after the other, so that all of them agree on which one was first. And where
    one process has begun what another enqueued, the other is given a trial of no place.
    """
    place = place_of(trial)
    return _PLACE not in notes(trial) or any(
        other.number < trial.number and place_of(other) == place and (counts(other) or _runs(other))
        for other in study.get_trials(deepcopy=False)
    )


def note_error(trial: Any, error: Exception) -> None:
    """Make a trial that is about to fail count: it would fail again."""
    note(trial, **{_ERROR: f"{type(error).__name__}: {error}"})


def note_call(trial: Any, call: str) -> None:
    """Note which call of the search began a trial."""
    note(trial, **{_CALL: call})


def fail_those_of(study: optuna.Study, call: str) -> None:
    """End the trials of a call whose processes are gone; their places are free again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if notes(trial).get(_CALL) == call:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def errors(study: optuna.Study) -> dict[int, str]:
    """Return why trials failed, by their numbers."""
    return {
        trial.number: notes(trial)[_ERROR]
        for trial in study.get_trials(deepcopy=False)
        if _ERROR in notes(trial)
    }


def counts(trial: Any) -> bool:
    """Whether a trial came to an end of its own, be it a bad one."""
    from optuna.trial import TrialState

    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or _ERROR in notes(trial)


def finished(study: optuna.Study) -> set[int]:
    """The places whose trial came to its end."""
    return {place_of(trial) for trial in study.get_trials(deepcopy=False) if counts(trial)}


def running(study: optuna.Study) -> set[int]:
    """The places whose trial runs somewhere."""
    from optuna.storages import fail_stale_trials

    fail_stale_trials(study)  # those of processes that have died
    return {place_of(trial) for trial in study.get_trials(deepcopy=False) if _runs(trial)}


def enqueue(study: optuna.Study, place: int) -> None:
    """Have the trial at a place run next, by whichever process asks the study first."""
    from optuna.trial import TrialState

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    # there is one already if a process has died between this line and the trial's beginning
    if place not in map(place_of, waiting):
        study.enqueue_trial({}, user_attrs={_OURS: {_PLACE: place}})


def _runs(trial: Any) -> bool:
    from optuna.trial import TrialState

    return bool(trial.state == TrialState.RUNNING)
