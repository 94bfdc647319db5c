"""Figures of a study: best curves, scores over each hyperparameter, parallel coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.experiments.trials import SHOWN, Trial, best, plot_best_curves, plot_rates
from dlskills.plotting import Figures, new_figure, plain, styled
from dlskills.tuning.heat_map import plot_heat_map
from dlskills.tuning.indices import counts, notes

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure


def completed(study: optuna.Study) -> list[Trial]:
    """Return the trials that were neither pruned nor failed, with numeric hyperparameters.

    Trials with an infinite score, which some objectives return for bad values, are omitted.
    """
    from optuna.trial import TrialState

    return [
        Trial(
            trial.number,
            {name: value for name, value in trial.params.items() if _is_number(value)},
            trial.value,
            {"score": [_finite(score) for _, score in sorted(trial.intermediate_values.items())]},
            steps=sorted(trial.intermediate_values),
        )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if math.isfinite(trial.value)
    ]


def _label(name: str) -> str:
    return plain(name.replace("_", " "))


def _finite(score: float) -> float:
    return score if math.isfinite(score) else math.nan  # NaN is not drawn


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@styled
def plot_study(study: optuna.Study) -> Figures:
    """Plot the completed trials of a study.

    Parameters
    ----------
    study : optuna.Study

    Returns
    -------
    Figures
        A dict of figures, which notebooks show. ``tuning-curves``: the best 20 over time, if they
        reported scores. ``tuning-rates``: the score over each numeric hyperparameter.
        ``tuning-parallel``: parallel coordinates, one line per trial through all hyperparameters
        to its score. ``tuning-heat-map``: the score over the two hyperparameters of a grid, if it
        varies two. Empty if no trial is complete.
    """
    trials = completed(study)
    if not trials:
        return Figures()
    spaces = _spaces(study)
    count = sum(map(counts, study.get_trials(deepcopy=False)))
    title = plain(f"Study {study.study_name}: {len(trials)} of {count} trials")
    figures = Figures()
    if any(trial.curves["score"] for trial in trials):
        figures["tuning-curves"] = plot_best_curves(trials, title, "score", "step")
    names = [name for name in spaces if any(name in trial.params for trial in trials)]
    if names:
        labels = {name: _label(name) for name in names}
        log = [name for name in names if spaces[name].log]
        figures["tuning-rates"] = plot_rates(trials, title, "score", labels, log)
    if spaces:
        figures["tuning-parallel"] = _plot_parallel(study, trials, spaces, title)
    grid = notes(study).get("grid") or {}
    varied = [name for name, values in grid.items() if len(values) > 1]
    if len(varied) == 2:
        figures["tuning-heat-map"] = plot_heat_map(study, *varied)
    return figures


@dataclass(frozen=True)
class _Space:
    """The search space of a hyperparameter: a range, or `choices`."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def height(self, value: Any) -> float:
        """Return the relative position of a value, from 0 to 1."""
        if self.choices:
            return self.choices.index(value) / max(len(self.choices) - 1, 1)
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def ticks(self) -> list[tuple[float, str]]:
        """Return heights and their labels."""
        values = self.choices or (self.low, self.high)
        texts = (f"{value:g}" if _is_number(value) else str(value) for value in values)
        return [(self.height(value), text) for value, text in zip(values, texts, strict=True)]


def _spaces(study: optuna.Study) -> dict[str, _Space]:
    """Return for each hyperparameter the union of the spaces of all trials, which may differ."""
    spaces: dict[str, _Space] = {}
    for trial in study.get_trials(deepcopy=False):
        for name, found in trial.distributions.items():
            known = spaces.get(name)
            if hasattr(found, "choices"):  # Optuna does not allow them to change
                spaces[name] = _Space(choices=tuple(found.choices))
            elif known is None:
                spaces[name] = _Space(found.low, found.high, found.log)
            else:
                low, high = min(known.low, found.low), max(known.high, found.high)
                spaces[name] = _Space(low, high, known.log)
    return spaces


def _plot_parallel(
    study: optuna.Study, trials: list[Trial], spaces: dict[str, _Space], title: str
) -> Figure:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    ranked = best(trials)
    low, high = ranked[-1].score, ranked[0].score
    shade = ScalarMappable(Normalize(low, high if high > low else low + 1), "viridis_r")
    colors = shade.to_rgba(np.asarray([trial.score for trial in ranked]))
    figure, panel = new_figure(size=(max(2.2 * (len(spaces) + 1), 7), 4.8))
    params = {trial.number: trial.params for trial in study.get_trials(deepcopy=False)}
    for rank, trial in reversed(list(enumerate(ranked))):  # the best on top
        heights = [
            space.height(params[trial.number][name]) if name in params[trial.number] else math.nan
            for name, space in spaces.items()
        ]
        heights.append((trial.score - low) / (high - low) if high > low else 0.5)
        shown = rank < SHOWN
        panel.plot(
            heights, color=colors[rank], alpha=1 if shown else 0.35,
            linewidth=1.6 if shown else 0.8,
        )  # fmt: skip
    for x, space in enumerate(spaces.values()):
        for height, text in space.ticks():
            panel.annotate(plain(text), (x, height), (5, 0), textcoords="offset points", fontsize=9,
                           va="center", bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
        panel.axvline(x, color="#555555", linewidth=1)
    panel.axvline(len(spaces), color="#555555", linewidth=1)
    panel.set_xticks(range(len(spaces) + 1), [*map(_label, spaces), "score"])
    panel.set(yticks=[], ylim=(-0.04, 1.04), xlim=(-0.1, len(spaces) + 0.05), title=title)
    panel.spines[["left", "bottom"]].set_visible(False)
    panel.grid(visible=False)
    figure.colorbar(shade, ax=panel, label="score")
    return figure
