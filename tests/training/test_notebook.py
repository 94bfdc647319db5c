"""Progress in a notebook: one line, replaced as work goes on."""

import sys
import types

import pytest

from dlskills.training import notebook
from dlskills.training.progress import Progress


class Handle:
    """Keeps what is displayed, as IPython's does."""

    def __init__(self, shown):
        self.texts = [shown._repr_html_()]

    def update(self, shown):
        self.texts.append(shown._repr_html_())


@pytest.fixture
def handles(monkeypatch):
    made = []

    def display(shown, display_id):
        assert display_id
        made.append(Handle(shown))
        return made[-1]

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return made


def test_one_line_is_replaced(handles, capsys):
    with Progress(100, "training <x>", done=10) as progress:
        for step in range(90):
            progress.advance()
            if step % 30 == 29:
                progress.note(f"loss < {step}")
    (handle,) = handles
    assert handle.texts[0].startswith("training &lt;x&gt; <progress")
    assert "100/100 loss &lt; 89" in handle.texts[-1]
    assert 5 <= len(handle.texts) < 50  # not one per step
    assert capsys.readouterr() == ("", "")


def test_elsewhere_there_is_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not notebook.in_notebook()
    terminal = types.ModuleType("IPython")
    terminal.get_ipython = lambda: types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not notebook.in_notebook()


def test_nothing_is_shown_where_nothing_is_wanted(handles):
    with Progress(2, "training", show=False) as progress:
        progress.advance()
    assert handles == []
