"""Checks that each rank runs, started by test_mpi.py: `mpiexec -n N python mpi_ranks.py CHECK`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from mpi4py import MPI
from small_run import make_network, make_trainer, points

from dlskills import Adam, MultiLayerNet
from dlskills.distributed import DataParallel, Sharded, mpi
from dlskills.distributed.communicator import sections
from dlskills.training import Callback, Checkpoint

ranks = mpi()


def collectives():
    total = sum(range(1, ranks.size + 1))
    for dtype in (np.float32, np.float64, np.float16):
        array = np.full(70, ranks.rank + 1, dtype)
        ranks.allreduce(array, mean=False)
        assert (array == total).all()
        array = np.full(70, ranks.rank + 1, dtype)
        ranks.allreduce(array)
        np.testing.assert_allclose(array, total / ranks.size, rtol=1e-3)
        bounds = sections(70, ranks.size, 32)
        own = slice(*bounds[ranks.rank])
        array = np.full(70, ranks.rank + 1, dtype)
        ranks.reduce_scatter(array, bounds, mean=False)
        assert (array[own] == total).all()
        assert np.count_nonzero(array != total) == (
            0 if ranks.size == 1 else 70 - own.stop + own.start
        )
        ranks.allgather(array, bounds)
        assert (array == total).all()
        array = np.full(70, ranks.rank + 1, dtype)
        ranks.broadcast(array)
        assert (array == 1).all()
    assert ranks.allgather_object(ranks.rank) == list(range(ranks.size))
    assert ranks.broadcast_object({"rank": ranks.rank}) == {"rank": 0}
    ranks.barrier()


def in_place():
    """The flat gradient buffer itself is what MPI gets."""
    buffers = []

    class Seen:
        def __getattr__(self, name):
            return getattr(MPI.COMM_WORLD, name)

        def Allreduce(self, send, buffer, op):
            buffers.append(buffer)
            MPI.COMM_WORLD.Allreduce(send, buffer, op=op)

    ranks._comm = Seen()
    network = make_network()
    DataParallel(network, ranks, sync=False).loss_and_gradient(*points(12))
    assert buffers[-1] is network.grads.flat


def trainings():
    for options in ({}, {"sampling": "epoch", "remainder": "fold"}, {"accumulate": 3}):
        for sharded in (False, True):
            alone = make_trainer(optimizer="momentum", **options)
            alone.train()
            shared = make_trainer(
                optimizer="momentum", communicator=ranks, sharded=sharded, **options
            )
            shared.train()
            np.testing.assert_allclose(shared.train_loss_list, alone.train_loss_list, rtol=1e-9)
            np.testing.assert_allclose(
                shared.network.params.flat, alone.network.params.flat, rtol=1e-8, atol=1e-10
            )
            assert shared.test_acc == alone.test_acc


def state_memory():
    network = MultiLayerNet(784, [100] * 3, 10, seed=0)
    sharded = Sharded(Adam(), network.params, ranks)
    sharded.prepare()
    held = sum(slot.flat.nbytes for slot in sharded.optimizer.state.values())
    whole = 2 * network.params.flat.nbytes
    assert held <= (1 / ranks.size + 0.02) * whole, held / whole


def checkpoints(folder, epochs):
    trainer = make_trainer(
        optimizer="momentum", communicator=ranks, sharded=True, epochs=int(epochs),
        callbacks=[Checkpoint(folder)],
    )  # fmt: skip
    begun = trainer.resume(folder)
    trainer.train()
    if ranks.rank == 0:
        print("from", begun, "loss", repr(trainer.train_loss_list[-1]))


class Fail(Callback):
    def __init__(self, how):
        self.how = how

    def after_step(self, trainer, batch):
        if ranks.rank != 1 or trainer.step != 7:
            return
        if self.how == "killed":
            os.kill(os.getpid(), 9)
        if self.how == "exits":
            sys.exit(0)
        raise ValueError("this rank is broken")


def fault(how):
    trainer = make_trainer(communicator=ranks, epochs=100, callbacks=[Fail(how)])
    if how == "caught":
        try:
            trainer.train()
        except ValueError:
            return
    trainer.train()


def differ():
    make_trainer(make_network(seed=ranks.rank), communicator=ranks)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
