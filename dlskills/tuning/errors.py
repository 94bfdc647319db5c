"""Errors of a search."""

from __future__ import annotations


class OptunaMissingError(ImportError):
    """A search needs Optuna, which is not installed."""


class StudyError(ValueError):
    """A study, or the storage that should hold it, can't be used for this search."""
