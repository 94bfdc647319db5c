"""The report: one HTML page with every experiment, its figures, and the verdicts on its claims."""

from dlskills.report.write import LANGUAGES, write_report

__all__ = ["LANGUAGES", "write_report"]
