"""The report, one HTML page with every experiment; and the page to play with, with sliders."""

from dlskills.report.play import write_play
from dlskills.report.templates import LANGUAGES
from dlskills.report.write import write_report

__all__ = ["LANGUAGES", "write_play", "write_report"]
