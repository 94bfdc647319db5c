"""The tutorial's experiments: one module a figure, and one way to run them.

An experiment is a module with

- ``TITLE`` and ``run(settings, ...)``, which gives its numbers: a dict that JSON can hold;
- ``plot(numbers)``, which draws them, and ``table(numbers)``, the few that matter.
"""

from dlskills.experiments import optimizer_mnist, optimizer_paths
from dlskills.experiments.results import Settings, write_results

EXPERIMENTS = {
    "optimizer-paths": optimizer_paths,
    "optimizer-mnist": optimizer_mnist,
}

__all__ = ["EXPERIMENTS", "Settings", "write_results"]
