"""Diagnostics: what happens inside a network while it learns, in numbers, figures and words."""

from dlskills.diagnostics.monitor import MEASURES, Monitor

__all__ = ["MEASURES", "Monitor"]
