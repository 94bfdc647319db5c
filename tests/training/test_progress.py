"""Progress: a bar where a terminal watches, plain lines elsewhere, nothing where unwanted."""

import contextlib
import io
import re
import sys

import numpy as np
import pytest

from dlskills import DivergedError, MultiLayerNet, Trainer
from dlskills.training.progress import Progress

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SHOW_CURSOR = "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def watching(self):
        return contextlib.redirect_stdout(self)

    def lines(self):
        return [line for line in re.split(r"[\r\n]+", ESCAPES.sub("", self.getvalue())) if line]


@pytest.fixture
def terminal(monkeypatch):
    """80 columns, with colours and a cursor that moves."""
    for variable in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def work(show=True):
    with Progress(3, "counting", show=show) as progress:
        for step in range(3):
            progress.advance()
            if step != 1:
                progress.note(f"step {step} [of 3]")


def make_trainer(lr=0.01, epochs=3):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(20, 4)), rng.integers(3, size=20)
    network = MultiLayerNet(4, [5], 3, seed=0)
    return Trainer(network, x, t, x, t, epochs, 5, "sgd", {"lr": lr})


def test_without_a_terminal_each_note_is_a_line(capsys):
    work()
    assert capsys.readouterr() == ("counting: step 0 [of 3]\ncounting: step 2 [of 3]\n", "")


@pytest.mark.parametrize("columns", [40, 50, 60, 80])
def test_no_number_is_cut_in_a_narrow_terminal(terminal, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal.watching(), Progress(60_000, "activation-histograms", done=12_345):
        pass
    shown = terminal.lines()[0]
    assert "12345/60000" in shown
    assert "…" not in shown
    assert ("-:--:--" in shown) == (columns >= 60)


def test_nothing_is_shown_if_not_wanted(capsys, terminal):
    with terminal.watching():
        work(show=False)
    assert terminal.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_the_note_below(terminal):
    with terminal.watching():
        work()
    assert terminal.getvalue().count(SHOW_CURSOR) == 1
    bar, note = terminal.lines()[-2:]
    assert bar.startswith("counting ━")
    assert "3/3" in bar
    assert note == "step 2 [of 3]"  # brackets are no markup


def test_a_training_fits_a_terminal_of_80_columns(terminal):
    trainer = make_trainer(epochs=3)
    with terminal.watching():
        trainer.train()
    lines = terminal.lines()
    assert max(map(len, lines)) <= 80
    assert "12/12" in lines[-2]
    assert lines[-1] == f"final test accuracy {trainer.test_acc:.4f}"
    assert "…" not in terminal.getvalue()  # nothing was cut off


def test_what_is_printed_meanwhile_stands_above_the_bar(terminal):
    with terminal.watching(), Progress(1, "counting") as progress:
        print("by the way")
        progress.advance()
    assert "by the way" in terminal.lines()
    assert "1/1" in terminal.lines()[-1]


def test_an_error_gives_the_terminal_back(terminal):
    with terminal.watching():
        with pytest.raises(ZeroDivisionError), Progress(2, "counting"):
            raise ZeroDivisionError
        assert terminal.getvalue().rstrip().endswith(SHOW_CURSOR)
        assert sys.stdout is terminal
        work()  # and the next bar can begin


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_gives_the_terminal_back(terminal):
    with terminal.watching(), pytest.raises(DivergedError):
        make_trainer(lr=1e30).train()
    assert terminal.getvalue().rstrip().endswith(SHOW_CURSOR)
    assert "Traceback" not in terminal.getvalue()


def test_no_steps_at_all(terminal):
    with terminal.watching(), Progress(0, "counting"):
        pass
    assert "0/0" in terminal.lines()[-1]
