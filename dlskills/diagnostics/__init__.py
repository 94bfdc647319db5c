"""Diagnostics: measurements inside a network during training, with figures and advice."""

from dlskills.diagnostics.monitor import MEASURES, Monitor

__all__ = ["MEASURES", "Monitor"]
