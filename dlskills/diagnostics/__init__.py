"""Diagnostics: measurements inside a network during training, with figures and advice."""

from dlskills.diagnostics.measures import MEASURES
from dlskills.diagnostics.monitor import PERCENTILES, Monitor

__all__ = ["MEASURES", "PERCENTILES", "Monitor"]
