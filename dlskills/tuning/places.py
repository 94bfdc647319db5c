"""Places of a search: what its trials are numbered by, whoever runs them, and how often.

Optuna numbers trials as they begin. One that was interrupted has a number, too, and the trial
that makes up for it gets another; its place in the search stays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_PLACE, _ERROR = "place", "error"


def place_of(trial: Any) -> int:
    """A trial's place, counted from 0; of a study that was not begun here, its number."""
    return int(trial.user_attrs.get(_PLACE, trial.number))


def note_error(trial: Any, error: Exception) -> None:
    """Let a trial that is about to fail count: it would fail again."""
    trial.set_user_attr(_ERROR, f"{type(error).__name__}: {error}")


def finished(study: optuna.Study) -> set[int]:
    """The places whose trial came to an end of its own, be it a bad one."""
    from optuna.trial import TrialState

    ends = (TrialState.COMPLETE, TrialState.PRUNED)
    return {
        place_of(trial)
        for trial in study.get_trials(deepcopy=False)
        if trial.state in ends or _ERROR in trial.user_attrs
    }


def running(study: optuna.Study) -> set[int]:
    """The places whose trial runs somewhere."""
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    fail_stale_trials(study)  # those of processes that have died
    return _in_state(study, TrialState.RUNNING)


def enqueue(study: optuna.Study, place: int) -> None:
    """Have the trial at a place run next, by whichever process asks the study first."""
    from optuna.trial import TrialState

    # there is one already if a process has died between this line and the trial's beginning
    if place not in _in_state(study, TrialState.WAITING):
        study.enqueue_trial({}, user_attrs={_PLACE: place})


def _in_state(study: optuna.Study, state: Any) -> set[int]:
    return {place_of(trial) for trial in study.get_trials(deepcopy=False, states=(state,))}
