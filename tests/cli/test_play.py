"""`dlskills play`."""

import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.cli.options import WrongUseError


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Runs the command; its result, the page, and the addresses that were opened."""
    opened = []

    def open_page(address):
        opened.append(address)
        return True

    monkeypatch.setattr(cli.play.webbrowser, "open", open_page)

    def play(*args):
        result = CliRunner().invoke(cli.app, ["play", "--out", str(tmp_path), *map(str, args)])
        path = tmp_path / "play.html"
        return result, path.read_text(encoding="utf-8") if path.exists() else None, opened

    return play


def test_the_page_is_written_and_opened(play, tmp_path):
    result, page, opened = play()
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'play.html'}" in result.stdout
    assert opened == [(tmp_path / "play.html").as_uri()]
    assert "Update rule" in page
    assert "更新规则" in page


def test_no_open(play):
    _, page, opened = play("--no-open", "--lang", "en")
    assert opened == []
    assert "更新规则" not in page


def test_without_a_browser_the_command_says_so(play, monkeypatch):
    monkeypatch.setattr(cli.play.webbrowser, "open", lambda address: False)
    assert "Open the file yourself" in play()[0].stdout


def test_an_activation_of_a_file_is_shown_first(play, tmp_path):
    path = tmp_path / "cli_activation.py"
    path.write_text("def cube(x):\n    return x**3\n", encoding="utf-8")
    _, page, _ = play("--activation", f"{path}:cube", "--no-open")
    assert 'const FIRST = "cube"' in page
    result, _, _ = play("--activation", f"{path}:cubed")
    assert isinstance(result.exception, WrongUseError)
    assert "did you mean 'cube'" in str(result.exception)


def test_theme(play):
    assert '<html lang="en" data-theme="dark">' in play("--theme", "dark")[1]
    assert "data-theme=" not in play()[1].partition("<head>")[0]


def test_rules_with_settings(play):
    _, page, _ = play("Adam:lr=0.7", "SGD", "--no-open")
    first, second = page.split('\n"name": ')[1:3]
    assert first.startswith('"Adam"')
    assert '"value": 0.7' in first
    assert second.startswith('"SGD"')


@pytest.mark.parametrize("rule", ["Adam:clip_norm=1", "Adagrat", "nowhere.py:Rule", "Adam:lr=-1"])
def test_a_rule_that_cannot_be_played_with_is_wrong_use(play, rule):
    result, page, opened = play(rule)
    assert isinstance(result.exception, WrongUseError)
    assert page is None
    assert opened == []
