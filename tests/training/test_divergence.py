"""Where training left the finite numbers is named: the step, and the layer."""

import numpy as np
import pytest
from small_run import make_network, make_trainer

from dlskills import DivergedError
from dlskills.training.divergence import first_not_finite


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_layer_is_named_and_no_update_is_made(monkeypatch):
    trainer = make_trainer()
    trainer.train_step()
    layer = trainer.network.layers[1]
    forward = layer.forward

    def broken(x, train_flg=True):
        return forward(x, train_flg) * np.inf

    monkeypatch.setattr(layer, "forward", broken)
    before = trainer.network.params.flat.copy()
    with pytest.raises(
        DivergedError, match=r"the loss is nan at step 2 .*finite are the output of layers\[1\]"
    ):
        trainer.train()
    assert trainer.step == 1
    assert np.array_equal(trainer.network.params.flat, before)
    monkeypatch.undo()
    trainer.train()
    assert trainer.step == trainer.max_iter


def batch(network):
    backend = network.backend
    return backend.asarray(np.ones((4, 4)), "float64"), backend.asarray(np.array([0, 1, 2, 0]))


def test_the_first_place_is_found(backend):
    network = make_network(backend.xp, backend.device)
    assert first_not_finite(network, *batch(network)) == ""
    network.params["b2"] = backend.asarray(np.array([1, np.nan, 1]), "float64")
    assert first_not_finite(network, *batch(network)) == "those of the parameter b2"


def test_looking_changes_nothing():
    network, twin = make_network(), make_network()
    first_not_finite(network, *batch(network))
    for one, other in zip(network.layers, twin.layers, strict=True):
        assert repr(one.get_state()) == repr(other.get_state())
