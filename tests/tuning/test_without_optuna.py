"""Behaviour without Optuna; these tests run whether or not it is installed."""

import re
import subprocess
import sys

import pytest

from dlskills.installation import install_command
from dlskills.tuning import OptunaMissingError, search


def test_without_optuna_the_error_gives_the_install_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptunaMissingError, match=re.escape(install_command("tune")) + "$"):
        search(len, storage=tmp_path / "folder" / "tuning.db")
    assert list(tmp_path.iterdir()) == []


def test_optuna_is_imported_only_by_a_search():
    code = "import sys, dlskills.tuning, dlskills.cli; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
