"""Fixtures for the tests of optimizers."""

import pytest

from dlskills.optimizers import ENGINES


@pytest.fixture(scope="session")  # as hypothesis requires
def engine_names():
    """Return the names of the engines available for a backend."""

    def names(backend):
        return [
            engine.name
            for engine in ENGINES.values()
            if engine.library in (None, backend.name) and engine.missing() is None
        ]

    return names
