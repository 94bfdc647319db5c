"""Ranks that share each batch compute what one process does."""

import numpy as np
import pytest
from rank_threads import on_ranks
from small_batches import BATCHES, T, X, make_network

from dlskills import Momentum, MultiLayerNet
from dlskills.arrays.share import rows_of
from dlskills.distributed import DataParallel
from dlskills.training.accumulation import Accumulated


def steps(network, gradient, optimizer, batches):
    losses = []
    for x, t in batches:
        loss, grads = gradient(x, t)
        optimizer.update(network.params, grads)
        losses.append(float(loss))
    return losses


def assert_all_follow(found, alone, expected):
    """Compare each rank's network and losses with those of one process."""
    whole = alone.state_dict()
    for network, losses in found:
        np.testing.assert_allclose(losses, expected, rtol=1e-12)
        mine = network.state_dict()
        for name, value in whole.items():
            np.testing.assert_allclose(mine[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("width", [9, 16])  # masks that start within a block, and at one
def test_ranks_follow_one_process(ranks, width, backend):
    batches = [(backend.asarray(x), backend.asarray(t)) for x, t in BATCHES]
    alone = make_network(backend, width=width)
    expected = steps(alone, alone.loss_and_gradient, Momentum(0.1), batches)

    def run(communicator):
        network = make_network(backend, width=width)
        parallel = DataParallel(network, communicator)
        return network, steps(network, parallel.loss_and_gradient, Momentum(0.1), batches)

    assert_all_follow(on_ranks(ranks, run), alone, expected)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("parts", [2, 5, 100])
def test_ranks_that_accumulate_follow_one_process(ranks, parts, backend):
    batches = [(backend.asarray(x), backend.asarray(t)) for x, t in BATCHES]
    alone = make_network(backend)
    one = Accumulated(alone, parts)
    expected = steps(alone, one.loss_and_gradient, Momentum(0.1), batches)

    def run(communicator):
        network = make_network(backend)
        parallel = DataParallel(network, communicator, accumulate=parts)
        return network, steps(network, parallel.loss_and_gradient, Momentum(0.1), batches)

    assert_all_follow(on_ranks(ranks, run), alone, expected)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_do_not_change_the_gradient_of_a_batch(ranks, parts):
    def network():
        return MultiLayerNet(7, [9], 3, weight_decay_lambda=0.1, seed=1, dtype="float64")

    loss, grads = network().loss_and_gradient(X, T)

    def run(communicator):
        parallel = DataParallel(network(), communicator, accumulate=parts)
        rows = np.r_[tuple(rows_of(len(X), communicator.rank, ranks, parts))]
        return parallel.loss_and_gradient(X[rows], T[rows], len(X))

    for own, found in on_ranks(ranks, run):
        np.testing.assert_allclose(own, loss, rtol=1e-13)
        np.testing.assert_allclose(found.flat, grads.flat, rtol=1e-11, atol=1e-15)


def test_without_sync_each_rank_takes_its_own_statistics():
    def run(communicator):
        network = make_network()
        parallel = DataParallel(network, communicator, sync=False)
        parallel.loss_and_gradient(X, T)
        before = network.state_dict()["layers.1.running_mean"]
        parallel.average_statistics()
        return before, network.state_dict()["layers.1.running_mean"]

    (first, mean), (second, other) = on_ranks(2, run)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(mean, (first + second) / 2)
    np.testing.assert_array_equal(mean, other)


def test_state_becomes_that_of_rank_0():
    def run(communicator):
        network = make_network(seed=communicator.rank)
        network.loss_and_gradient(X[: 4 + communicator.rank], T[: 4 + communicator.rank])
        DataParallel(network, communicator)
        return network.state_dict()

    first, second = on_ranks(2, run)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


def test_rows_of_a_batch_may_be_given_with_its_size():
    expected = make_network().loss_and_gradient(X, T)[0]

    def run(communicator):
        parallel = DataParallel(make_network(), communicator)
        rows = parallel.share_of_batch(len(X)).rows
        return float(parallel.loss_and_gradient(X[rows], T[rows], len(X))[0])

    np.testing.assert_allclose(on_ranks(3, run), float(expected), rtol=1e-13)


def test_loss_at_inference_is_that_of_the_whole_batch():
    expected = float(make_network().loss(X, T))

    def run(communicator):
        return float(DataParallel(make_network(), communicator).loss(X, T))

    np.testing.assert_allclose(on_ranks(3, run), expected, rtol=1e-13)


def test_gradients_are_summed_in_one_operation():
    def run(communicator):
        network = make_network()
        DataParallel(network, communicator, sync=False).loss_and_gradient(X, T)
        return communicator.calls, network.grads.flat.shape

    for calls, shape in on_ranks(2, run):
        assert calls == [("allreduce", (1,)), ("allreduce", shape)]  # the loss, and then
