"""The heat map of a study: the score over two hyperparameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.checks import check_choice
from dlskills.experiments.heat_map import draw_heat_map
from dlskills.plotting import new_figure, plain, styled

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

_MOST = 30  # values per axis, whose cells can still be read


@styled
def plot_heat_map(study: optuna.Study, x: str, y: str) -> Figure:
    """Plot the best score for each pair of values of two hyperparameters.

    Parameters
    ----------
    study : optuna.Study
        Of a search with a grid, or with hyperparameters of few values.
    x, y : str
        Names of the hyperparameters across and upwards.

    Returns
    -------
    matplotlib.figure.Figure
        Each cell shows the best score among the completed trials with its pair of values; the best
        cell of all is framed. Cells without one are empty, as are those whose scores are infinite.

    Raises
    ------
    ValueError
        No completed trial has both hyperparameters, a name is unknown, both are the same, or one
        has more than 30 values.
    """
    scores = _scores(study, x, y)
    across, upwards = (_ordered(key[i] for key in scores) for i in (0, 1))
    for name, values in ((x, across), (y, upwards)):
        if len(values) > _MOST:
            raise ValueError(
                f"a heat map needs hyperparameters of at most {_MOST} values, got {len(values)} of "
                f"{name!r}. Search over a grid: search(objective, grid={{{name!r}: [...]}})"
            )
    cells = np.full((len(upwards), len(across)), math.nan)
    for (column, row), score in scores.items():
        cells[upwards.index(row), across.index(column)] = score
    size = (0.85 * len(across) + 2.8, 0.6 * len(upwards) + 1.6)
    figure, panel = new_figure(size=(max(size[0], 5), max(size[1], 3.5)))
    image = draw_heat_map(
        panel, cells, [*map(_text, across)], [*map(_text, upwards)]
    )  # fmt: skip
    panel.set(
        xlabel=_label(x), ylabel=_label(y), title=plain(f"Study {study.study_name}: best scores")
    )
    figure.colorbar(image, ax=panel, label="score")
    return figure


def _scores(study: optuna.Study, x: str, y: str) -> dict[tuple[Any, Any], float]:
    """Return the best finite score for each pair of values."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    known = sorted({name for trial in trials for name in trial.params})
    x, y = check_choice("x", x, known), check_choice("y", y, known)
    if x == y:
        raise ValueError(f"x and y must be two hyperparameters, got {x!r} twice")
    scores: dict[tuple[Any, Any], float] = {}
    for trial in trials:
        if x in trial.params and y in trial.params and math.isfinite(trial.value):
            key = trial.params[x], trial.params[y]
            scores[key] = max(scores.get(key, -math.inf), trial.value)
    if not scores:
        raise ValueError(f"no completed trial has a finite score and both {x!r} and {y!r}")
    return scores


def _ordered(values: Any) -> list[Any]:
    """Return the different values: numbers in ascending order, before text."""
    return sorted(set(values), key=lambda value: (isinstance(value, str), _rank(value)))


def _rank(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else -math.inf


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else plain(str(value))


def _label(name: str) -> str:
    return plain(name.replace("_", " "))
