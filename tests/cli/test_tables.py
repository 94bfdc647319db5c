"""Tables: legible in narrow terminals, plain text elsewhere."""

import io
import re
import sys

import pytest

from dlskills import terminal
from dlskills.cli.tables import show_table

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLUMNS = ["method", "lr", "final training loss", "test accuracy", "seconds"]
ROWS = [
    ["SGD", "0.01", "1.234567e-05", "98.76543 %", "12.3456"],
    ["Momentum", "0.1", "(-0.387, -0.094)", "9.9 %", "1.5"],
]


@pytest.fixture
def shown(monkeypatch):
    """Print a table and return its lines."""

    def shown(columns, rows, width=None, *, boxed=False, **options):
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        if width:
            monkeypatch.setenv("COLUMNS", str(width))
        if boxed:
            monkeypatch.setenv("FORCE_COLOR", "1")
        show_table(terminal.console(), columns, rows, **options)
        return ESCAPES.sub("", sys.stdout.getvalue()).splitlines()

    return shown


@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("width", [25, 30, 40, 60, 80, 120])
def test_no_cell_is_truncated_and_no_line_too_long(shown, width, boxed):
    lines = shown(COLUMNS, ROWS, width, boxed=boxed)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    dropped = " ".join(" ".join(lines).split()).partition("Omitted")[2]
    for i, name in enumerate(COLUMNS):
        for row in ROWS:
            assert (row[i] in text) != (name in dropped)
    assert (dropped == "") == (width > 60 or (width == 60 and not boxed))


def test_columns_are_omitted_from_the_right_or_in_the_given_order(shown):
    assert "seconds" not in shown(COLUMNS, ROWS, 50, boxed=True)[1]
    lines = shown(COLUMNS, ROWS, 50, boxed=True, first_dropped=[1, 2])
    assert "12.3456" in "".join(lines)
    assert "Omitted at a width of 50: lr, final training loss." in lines


def test_prose_is_wrapped_and_long_words_are_folded(shown):
    rows = [("a", "what it says " * 4), ("b", "x" * 60)]
    lines = shown(["name", "text"], rows, 40, boxed=True, prose=[1])
    assert max(map(len, lines)) <= 40
    assert "".join(lines).count("x") >= 60
    assert "".join(lines).count("says") == 4


@pytest.mark.parametrize("width", [10, 15])
def test_cells_are_folded_in_a_very_narrow_terminal(shown, width):
    lines = shown(["name", "value"], [["abcdef", "1234567890"]], width)
    assert max(map(len, lines)) <= width
    assert sorted("".join(re.findall(r"\d", "".join(lines)))) == sorted("1234567890")


def test_outside_a_terminal_each_row_is_one_line_without_borders(shown):
    text = ("a sentence of many words " * 20).rstrip()
    lines = shown(["name", "text"], [["a", text], ["b", "short"]], prose=[1], title="Title")
    assert lines[0] == "Title"
    assert len(lines) == 4
    assert lines[2].split(maxsplit=1) == ["a", text]
    assert not re.search("[─-╿|+]", "".join(lines))


def test_outside_a_terminal_no_line_ends_with_blanks(shown):
    lines = shown(["name", "value"], [["a", "x"], ["b", "a much longer value"]])
    assert [line.rstrip() for line in lines] == lines
    assert [line.split()[0] for line in lines] == ["name", "a", "b"]


def test_columns_may_have_equal_names(shown):
    lines = shown(["score", "score"], [["1", "2"]])
    assert lines[1].split() == ["1", "2"]


def test_wide_characters_take_two_columns(shown):
    lines = shown(["名称", "值"], [["激活函数", "1.5"], ["a", "2"]], 18, boxed=True)
    assert "激活函数" in "".join(lines)
    assert "1.5" in "".join(lines)
