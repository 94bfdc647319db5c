"""CUDA graphs of a training step: equal to eager ones where there are graphs, else refused."""

import numpy as np
import pytest

from dlskills import MultiLayerNet, MultiLayerNetExtend, Trainer


def trainer(backend, capture=True, network=MultiLayerNet, **options):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((70, 8), np.float32), rng.integers(3, size=70)
    device = "cuda" if backend.name == "cupy" else "cpu"
    return Trainer(
        network(8, [6, 6], 3, device=device, seed=0, **options), x, t, x, t, epochs=3,
        mini_batch_size=16, sampling="epoch", optimizer="adam", optimizer_param={"lr": 0.01},
        capture=capture, verbose=False,
    )  # fmt: skip


def graphs() -> bool:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    try:
        with stream:
            stream.begin_capture()
            stream.end_capture()
    except (RuntimeError, NotImplementedError):
        return False
    return True


@pytest.mark.backends("cupy")
def test_a_captured_training_is_an_eager_one(backend):
    if not graphs():
        pytest.skip("this device records no graphs")
    captured, eager = trainer(backend), trainer(backend, capture=False)
    captured.train()
    eager.train()
    assert captured.train_loss_list == pytest.approx(eager.train_loss_list, rel=1e-6)
    assert captured.test_acc == eager.test_acc


@pytest.mark.backends("cupy")
def test_a_device_without_graphs_says_so_and_nothing_is_lost(backend):
    if graphs():
        pytest.skip("this device records graphs")
    captured, eager = trainer(backend), trainer(backend, capture=False)
    before = captured.network.params.flat.copy()
    with pytest.raises(
        RuntimeError, match=r"no CUDA graph can be recorded here \(.+\); leave capt"
    ):
        captured.train()
    assert (captured.network.params.flat == before).all()
    assert captured.train_loss_list == []
    eager.train()  # the device is none the worse for it
    assert len(eager.train_loss_list) == 15


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("option", ["use_dropout", "use_batchnorm"])
def test_layers_that_change_from_step_to_step_are_named(backend, option):
    kind = {"use_dropout": "Dropout", "use_batchnorm": "BatchNormalization"}[option]
    with pytest.raises(
        ValueError, match=rf"change from step to step: {kind}\(.*; leave capture out"
    ):
        trainer(backend, network=MultiLayerNetExtend, **{option: True})


@pytest.mark.backends("numpy")
def test_the_host_has_no_graphs(backend):
    with pytest.raises(
        ValueError, match="capture needs a network on a CUDA device, this one is on"
    ):
        trainer(backend)
