"""The report, over two small experiments."""

import pytest
import small_experiments

from dlskills.experiments import EXPERIMENTS
from dlskills.report import write


@pytest.fixture
def small(monkeypatch):
    """Two small experiments, and records of them."""
    for name, experiment in small_experiments.EXPERIMENTS.items():
        monkeypatch.setitem(EXPERIMENTS, name, experiment)
    return small_experiments.RECORDS


@pytest.fixture
def undrawn(monkeypatch):
    """Saves the time that figures take."""

    def inline_svg(figure, prefix, attributes):
        texts = " ".join(text.get_text() for text in figure.texts)
        return f'<svg id="{prefix}">{texts}</svg>'

    monkeypatch.setattr(write, "inline_svg", inline_svg)
