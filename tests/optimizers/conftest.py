"""What tests of the optimizers share: processes of their own, and the engines of a backend."""

import pytest

from dlskills.optimizers import ENGINES


@pytest.fixture(scope="session")  # so that it goes with hypothesis
def engine_names():
    """The names of the engines that are available for a backend."""

    def names(backend):
        return [
            engine.name
            for engine in ENGINES.values()
            if engine.library in (None, backend.name) and engine.missing() is None
        ]

    return names
