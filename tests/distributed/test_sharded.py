"""Optimizer state divided among ranks gives the same updates."""

import numpy as np
import pytest
from rank_threads import on_ranks
from small_batches import BATCHES, make_network

from dlskills import Parameters, make_optimizer
from dlskills.distributed import DataParallel, Sharded
from dlskills.distributed.communicator import sections

OPTIONS = [
    {},
    {"clip_norm": 0.05, "grad_scale": 0.5},
    {"weight_decay": 0.1, "decay": lambda name: name.startswith("W"), "rates": {"W2": 0.5}},
    {"frozen": ["W1", "b3"], "clip_norm": 0.05},
]


def trained(network, optimizer, communicator):
    parallel = DataParallel(network, communicator)
    sharded = Sharded(optimizer, network.params, communicator)
    sharded.prepare()
    for x, t in BATCHES[:3]:
        _, grads = parallel.loss_and_own_gradient(x, t)
        sharded.update(grads)
    return sharded


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rule", ["momentum", "rmsprop", "amsgrad"])
def test_updates_are_those_of_one_process(rule, options, ranks):
    alone, optimizer = make_network(), make_optimizer(rule, lr=0.001, **options)
    for x, t in BATCHES[:3]:
        optimizer.update(alone.params, alone.loss_and_gradient(x, t)[1])

    def run(communicator):
        network = make_network()
        trained(network, make_optimizer(rule, lr=0.001, **options), communicator)
        return network.params

    for params in on_ranks(ranks, run):
        np.testing.assert_allclose(params.flat, alone.params.flat, rtol=1e-7, atol=1e-9)


def test_each_rank_keeps_its_part_of_the_state():
    whole = make_network().params.flat.nbytes * 2  # Adam's m and v

    def run(communicator):
        sharded = trained(make_network(), make_optimizer("adam"), communicator)
        state = sharded.optimizer.state
        return sum(slot.flat.nbytes for slot in state.values()), sharded.state_bytes()

    for held, stated in on_ranks(2, run):
        assert held == stated <= 0.6 * whole  # a section starts at a multiple of 32 elements
    assert sum(held for held, _ in on_ranks(2, run)) == whole


def test_more_ranks_than_sections():
    params = Parameters({"x": np.arange(40.0)})

    def run(communicator):
        own = params.copy()
        sharded = Sharded(make_optimizer("adam", clip_norm=1.0), own, communicator)
        sharded.update(Parameters({"x": np.full(40, 0.25)}))
        return np.array(own["x"])

    assert sections(40, 4, 32) == [(0, 32), (32, 40), (0, 0), (0, 0)]
    alone = params.copy()
    make_optimizer("adam", clip_norm=1.0).update(alone, Parameters({"x": np.ones(40)}))
    for own in on_ranks(4, run):
        np.testing.assert_allclose(own, alone["x"])


def test_pieces_of_a_whole_state():
    def run(communicator):
        sharded = Sharded(make_optimizer("adam"), make_network().params, communicator)
        return sharded.piece_of({"step": 3, "m/W2": np.arange(81.0).reshape(9, 9)})

    parts = on_ranks(2, run)
    assert [part["step"] for part in parts] == [3, 3]
    np.testing.assert_array_equal(np.concatenate([part["m/W2"] for part in parts]), np.arange(81))


def test_other_optimizers_are_refused():
    def run(communicator):
        Sharded(object(), make_network().params, communicator)

    with pytest.raises(TypeError, match="needs an optimizer of dlskills"):
        on_ranks(2, run)


def test_gradients_are_scattered():
    def run(communicator):
        network = make_network()
        trained(network, make_optimizer("adam"), communicator)
        shape = network.params.flat.shape
        return [call for call in communicator.calls if call[1] == shape]

    for calls in on_ranks(2, run):
        assert [name for name, _ in calls] == ["reduce_scatter"] * 3
