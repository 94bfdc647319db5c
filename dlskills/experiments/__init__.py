"""The tutorial's experiments, and what an experiment of your own is made of.

Each module below defines one :class:`Experiment` and registers it, in the tutorial's order; the
package ``beyond`` has those on the claims of papers. Texts in both languages are in the catalogue,
the folder ``texts``.
"""

from dlskills.experiments.claims import OURS, Check, Claim, Measured, Source, Verdict, judge
from dlskills.experiments.experiment import (
    BEYOND,
    EXPERIMENTS,
    Experiment,
    Option,
    find,
    register,
)
from dlskills.experiments.loading import load_experiments
from dlskills.experiments.settings import Settings
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Text

# isort: off
from dlskills.experiments import (
    optimizer_paths,
    optimizer_mnist,
    symmetry,
    activation_histograms,
    weight_init_mnist,
    batch_norm,
    overfitting,
    weight_decay,
    dropout,
    hyperparameters,
    beyond,
)

# isort: on
from dlskills.experiments.executors import open_executor
from dlskills.experiments.outcome import Outcome, Record
from dlskills.experiments.results import write_results
from dlskills.experiments.runner import run

__all__ = [
    "BEYOND",
    "EXPERIMENTS",
    "OURS",
    "Check",
    "Claim",
    "Experiment",
    "Measured",
    "Number",
    "Option",
    "Outcome",
    "Record",
    "Settings",
    "Source",
    "Table",
    "Text",
    "Verdict",
    "activation_histograms",
    "batch_norm",
    "beyond",
    "dropout",
    "find",
    "hyperparameters",
    "judge",
    "load_experiments",
    "open_executor",
    "optimizer_mnist",
    "optimizer_paths",
    "overfitting",
    "register",
    "run",
    "symmetry",
    "weight_decay",
    "weight_init_mnist",
    "write_results",
]
