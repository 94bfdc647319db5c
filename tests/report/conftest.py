"""The report, over two small experiments."""

import pytest
import small_experiments

from dlskills.report import write


@pytest.fixture
def small(monkeypatch):
    """The only experiments there are, and records of them."""
    monkeypatch.setattr(write, "EXPERIMENTS", small_experiments.EXPERIMENTS)
    return small_experiments.RECORDS


@pytest.fixture
def undrawn(monkeypatch):
    """Saves the time that figures take."""

    def inline_svg(figure, prefix, attributes):
        texts = " ".join(text.get_text() for text in figure.texts)
        return f'<svg id="{prefix}">{texts}</svg>'

    monkeypatch.setattr(write, "inline_svg", inline_svg)
