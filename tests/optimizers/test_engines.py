"""How formulas are run: every engine gives the same, and one can be asked for."""

import numpy as np
import pytest

from dlskills import SGD, Adam, engine, optimizers, to_host
from dlskills.optimizers import engines


def test_an_engine_can_be_forced_for_a_block(backend, monkeypatch):
    runs = []

    def spy(rule, arrays, coefficients):
        runs.append(tuple(arrays[0].shape))
        engines.plain(rule, arrays, coefficients)

    monkeypatch.setitem(engines.ENGINES, "spy", spy)
    params = {"w": backend.zeros((3,), "float32")}
    grads = {"w": backend.zeros((3,), "float32") + 1.0}
    optimizer = SGD(lr=1.0)
    with engine("Spy"):
        optimizer.update(params, grads)
    optimizer.update(params, grads)

    assert runs == [(3,)]
    assert to_host(params["w"]).tolist() == [-2, -2, -2]


def test_blocks_nest_and_end_with_an_error(monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "other", engines.plain)
    with engine("other"):
        with pytest.raises(ZeroDivisionError), engine("plain"):
            1 / 0  # noqa: B018
        assert engines._forced.get() == "other"
    assert engines._forced.get() is None


def test_an_unknown_engine_is_refused():
    message = r"engine 'plian' is not known; did you mean 'plain'\?"
    with pytest.raises(ValueError, match=message), engine("plian"):
        pass


def test_all_engines_are_public():
    assert optimizers.ENGINES is engines.ENGINES
    assert "plain" in engines.ENGINES


def test_plain_gives_the_same_as_the_engine_that_is_chosen(backend):
    start = backend.asarray(np.random.default_rng(0).standard_normal(1000), "float32")
    grads = {"w": backend.asarray(np.random.default_rng(1).standard_normal(1000), "float32")}
    results = []
    for context in (engine("plain"), None):
        params, optimizer = {"w": start + 0.0}, Adam(lr=0.1)
        for _ in range(5):
            if context is None:
                optimizer.update(params, grads)
            else:
                with engine("plain"):
                    optimizer.update(params, grads)
        results.append(to_host(params["w"]))

    np.testing.assert_allclose(*results, rtol=1e-6)
