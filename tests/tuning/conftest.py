"""Fixtures for the tests of tuning."""

import pytest

FILE = '''
def score(trial):
    """Best at lr = 0.01."""
    lr = trial.suggest_float("lr", 1e-4, 1, log=True)
    return -abs(lr - 0.01)


NUMBER = 3
'''


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """Create a user's file with the function `score`."""
    monkeypatch.syspath_prepend(tmp_path)  # restores sys.path afterwards
    path = tmp_path / "my.py"
    path.write_text(FILE, encoding="utf-8")
    return path
