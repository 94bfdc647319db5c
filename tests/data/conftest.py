"""Fixtures for the tests of data."""

import pytest


@pytest.fixture(autouse=True)
def _without_the_users_folder(monkeypatch):
    monkeypatch.delenv("DLSKILLS_DATA_DIR", raising=False)
