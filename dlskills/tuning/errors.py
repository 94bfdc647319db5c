"""Exceptions of a hyperparameter search."""

from __future__ import annotations


class OptunaMissingError(ImportError):
    """A search needs Optuna, which is not installed."""


class StudyError(ValueError):
    """The study or its storage can't be used for this search."""
