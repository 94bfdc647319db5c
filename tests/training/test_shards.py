"""Checkpoints of several ranks: one set of files, which any number of ranks can go on from."""

import warnings

import numpy as np
import pytest
from rank_threads import on_ranks
from small_run import make_trainer

from dlskills.files import FileFormatError
from dlskills.training import Checkpoint
from dlskills.training.shards import with_shards

STOPPED = 10


def never(trainer):
    """Stands for the callback Checkpoint in a training that only resumes."""


def train(folder, communicator=None, sharded=False, epochs=3, resume=False, **options):
    trainer = make_trainer(
        optimizer="momentum", communicator=communicator, sharded=sharded, epochs=epochs,
        callbacks=[Checkpoint(folder, every=2)], **options,
    )  # fmt: skip
    if resume:
        trainer.resume(folder)
        assert trainer.step == 12
    trainer.train()
    return np.array(trainer.network.params.flat), trainer.train_loss_list


@pytest.mark.parametrize("sharded_after", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("ranks", "ranks_after"), [(2, 2), (2, 3), (3, 1), (1, 2)])
@pytest.mark.slow
def test_another_number_of_ranks_goes_on(tmp_path, ranks, ranks_after, sharded, sharded_after):
    params, losses = train(tmp_path / "whole")
    folder = tmp_path / "ranks"
    on_ranks(ranks, lambda c: train(folder, c, sharded, epochs=2))
    shards = sorted(file.name for file in folder.glob("shard-00000012*"))
    names = [f"shard-00000012.{rank}-of-{ranks}.safetensors" for rank in range(ranks)]
    assert shards == (names if sharded else [])
    for own_params, own_losses in on_ranks(
        ranks_after, lambda c: train(folder, c, sharded_after, resume=True)
    ):
        np.testing.assert_allclose(own_params, params, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(own_losses, losses, rtol=1e-9)


def test_one_process_goes_on_from_shards(tmp_path):
    params, _ = train(tmp_path / "whole")
    on_ranks(2, lambda c: train(tmp_path / "ranks", c, True, epochs=2))
    own, _ = train(tmp_path / "ranks", resume=True)
    np.testing.assert_allclose(own, params, rtol=1e-8, atol=1e-10)


def test_old_shards_are_removed(tmp_path):
    on_ranks(2, lambda c: train(tmp_path, c, True))
    train_again = sorted({file.name[6:14] for file in tmp_path.glob("shard-*")})
    assert len(train_again) <= 4  # three are kept, and another rank may be a step ahead
    assert train_again[-1] == "00000018"


def test_a_checkpoint_without_a_shard_is_refused_on_all_ranks(tmp_path):
    on_ranks(2, lambda c: train(tmp_path, c, True, epochs=2))
    (tmp_path / "shard-00000012.1-of-2.safetensors").unlink()

    def resume(communicator):
        trainer = make_trainer(
            optimizer="momentum", communicator=communicator, sharded=True, callbacks=[never]
        )
        return trainer.resume(tmp_path)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert on_ranks(3, resume) == [STOPPED] * 3
    assert "shard-00000012.1-of-2.safetensors is missing" in str(seen[0].message)


def test_a_shard_of_another_run_is_refused(tmp_path):
    on_ranks(2, lambda c: train(tmp_path / "a", c, True, epochs=1))
    on_ranks(2, lambda c: train(tmp_path / "b", c, True, epochs=1))
    name = "shard-00000006.1-of-2.safetensors"
    (tmp_path / "a" / name).replace(tmp_path / "b" / name)
    trainer = make_trainer(optimizer="momentum", callbacks=[never])
    with pytest.warns(UserWarning, match="is no part of the checkpoint of step 6"):
        assert trainer.resume(tmp_path / "b") == 4


def test_missing_elements_are_named(tmp_path):
    on_ranks(2, lambda c: train(tmp_path, c, True, epochs=1))
    first = tmp_path / "shard-00000006.0-of-2.safetensors"
    state = {"network": make_trainer().network.state_dict(), "optimizer": {}}
    trainer = make_trainer(optimizer="momentum", callbacks=[never])
    trainer.resume(tmp_path)
    with pytest.raises(FileFormatError, match="elements of v/"):
        with_shards(state, [first], 6, trainer.run_id, None)


def test_a_folder_of_another_run_is_refused_on_all_ranks(tmp_path):
    on_ranks(2, lambda c: train(tmp_path, c, epochs=1))

    def run(communicator):
        with pytest.raises(RuntimeError, match="holds checkpoints of another run"):
            train(tmp_path, communicator)

    on_ranks(2, run)
