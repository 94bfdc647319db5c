"""The tutorial's experiments: one module a figure, and one way to run them.

An experiment is a module with

- ``TITLE`` and ``ABOUT``, what it shows and how, in the report's languages;
- ``run(settings, *, ...)``, which gives its numbers for one seed: a dict that JSON can hold. Its
  keyword arguments are the command's options (``OPTIONS`` describes them), their defaults are the
  page's, and ``QUICK`` has those of a shortened run. ``RANDOM`` says whether the seed matters;
  ``USES``, if it is there, which of ``"data"`` (MNIST) and ``"engine"`` (of updates) play a part.
  ``SPLIT``, if it is there, names an option that is a list: a run of each item alone, the dicts
  joined, gives the same numbers, so that parallel processes can share them out;
  ``finish(settings, numbers)``, if it is there, gives the numbers with what only a whole run has;
- ``plot(numbers)``, the figures by the names of their files, and ``ALT``, each one in words;
- ``table(numbers)``, the few numbers that matter;
- ``CLAIMS``, what the tutorial says, to be held against the numbers.
"""

from dlskills.experiments import (
    activation_histograms,
    batch_norm,
    dropout,
    hyperparameters,
    optimizer_mnist,
    optimizer_paths,
    overfitting,
    symmetry,
    weight_decay,
    weight_init_mnist,
)
from dlskills.experiments.claims import Check, Claim, Measured, Verdict, judge
from dlskills.experiments.results import write_results
from dlskills.experiments.runner import Record, run
from dlskills.experiments.settings import Settings
from dlskills.experiments.text import Text

EXPERIMENTS = {
    "optimizer-paths": optimizer_paths,
    "optimizer-mnist": optimizer_mnist,
    "symmetry": symmetry,
    "activation-histograms": activation_histograms,
    "weight-init-mnist": weight_init_mnist,
    "batch-norm": batch_norm,
    "overfitting": overfitting,
    "weight-decay": weight_decay,
    "dropout": dropout,
    "hyperparameters": hyperparameters,
}

__all__ = [
    "EXPERIMENTS",
    "Check",
    "Claim",
    "Measured",
    "Record",
    "Settings",
    "Text",
    "Verdict",
    "judge",
    "run",
    "write_results",
]
