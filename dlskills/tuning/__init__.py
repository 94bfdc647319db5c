"""Hyperparameter search with Optuna, which the extra ``tune`` installs.

Optuna is imported when a search starts, not with this package.
"""

from dlskills.tuning.errors import OptunaMissingError, StudyError
from dlskills.tuning.figures import plot_study
from dlskills.tuning.heat_map import plot_heat_map
from dlskills.tuning.objectives import TutorialTask, load_objective
from dlskills.tuning.search import PRUNERS, SAMPLERS, search

PageTask = TutorialTask  # the former name

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "OptunaMissingError",
    "PageTask",
    "StudyError",
    "TutorialTask",
    "load_objective",
    "plot_heat_map",
    "plot_study",
    "search",
]
