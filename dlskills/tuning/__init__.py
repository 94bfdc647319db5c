"""Search for hyperparameters with Optuna, which the extra ``tune`` installs.

Optuna is imported when a search begins, not with this package.
"""

from dlskills.tuning.errors import OptunaMissingError, StudyError
from dlskills.tuning.figures import plot_study
from dlskills.tuning.objectives import PageTask, load_objective
from dlskills.tuning.search import PRUNERS, SAMPLERS, search

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "OptunaMissingError",
    "PageTask",
    "StudyError",
    "load_objective",
    "plot_study",
    "search",
]
