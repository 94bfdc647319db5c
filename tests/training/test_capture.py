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


def obstacle() -> str | None:
    """Why no graph with a product of matrices can be recorded here, as CuPy says it."""
    import cupy

    a, stream = cupy.ones((2, 2)), cupy.cuda.Stream(non_blocking=True)
    with stream:
        a @ a
        stream.synchronize()
        try:
            stream.begin_capture()
            try:
                a @ a
            finally:
                stream.end_capture()
        except (RuntimeError, NotImplementedError) as error:
            return str(error)
    return None


@pytest.mark.backends("cupy")
def test_a_captured_training_is_an_eager_one(backend):
    if problem := obstacle():
        pytest.skip(problem)
    captured, eager = trainer(backend), trainer(backend, capture=False)
    captured.train()
    eager.train()
    assert captured.train_loss_list == pytest.approx(eager.train_loss_list, rel=1e-6)
    assert captured.test_acc == eager.test_acc


@pytest.mark.backends("cupy")
def test_missing_graphs_are_reported_before_training(backend):
    if obstacle() is None:
        pytest.skip("this device records graphs")
    with pytest.raises(
        RuntimeError, match=r"no CUDA graph can be recorded here \(.+\)\. Leave capture out"
    ):
        trainer(backend)
    eager = trainer(backend, capture=False)
    eager.train()  # the device is none the worse for it
    assert len(eager.train_loss_list) == 15


class Stream:
    """Records as CUDA does, and CuPy up to 14 lets it: all but products of matrices."""

    recording = False

    def __init__(self, non_blocking):
        assert non_blocking  # the default stream can't record

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def synchronize(self):
        assert not self.recording

    def begin_capture(self):
        Stream.recording = True

    def end_capture(self):
        Stream.recording = False


@pytest.fixture
def recording(monkeypatch):
    """CuPy with streams that seem to record."""
    import cupy

    monkeypatch.setattr(cupy.cuda, "Stream", Stream)
    return monkeypatch


@pytest.mark.backends("cupy")
def test_products_that_are_not_recorded_are_named(backend, recording):
    import cupy

    matmul = cupy.matmul

    def refusing(*args, **options):
        if Stream.recording:
            raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")
        return matmul(*args, **options)

    recording.setattr(cupy, "matmul", refusing)
    with pytest.raises(
        RuntimeError, match=r"recorded here \(calling cuBLAS API .*\)\. Leave capture out"
    ):
        trainer(backend)
    assert not Stream.recording


@pytest.mark.backends("cupy")
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay_lambda": 0.1}, {"compute_dtype": "float16"}, {"dtype": "float64"}],
)
def test_a_step_repeated_as_it_was_recorded_is_the_same_training(backend, recording, options):
    """A graph's launches are imitated: the same work once more, on the recorded arrays alone."""
    from dlskills.training import capture

    class Graph:
        def __init__(self, work, result):
            self.work, self.loss = work, result[0]

        def launch(self):
            self.loss[...] = self.work()[0]

    real = capture._record

    def record(stream, work):
        _, result = real(stream, work)
        return (Graph(work, result) if isinstance(result, tuple) else None), result

    recording.setattr(capture, "_record", record)
    captured, eager = trainer(backend, **options), trainer(backend, capture=False, **options)
    captured.train()
    eager.train()
    assert captured.train_loss_list == eager.train_loss_list
    assert captured.test_acc == eager.test_acc


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("option", ["use_dropout", "use_batchnorm"])
def test_layers_that_change_from_step_to_step_are_named(backend, option):
    kind = {"use_dropout": "Dropout", "use_batchnorm": "BatchNormalization"}[option]
    with pytest.raises(
        ValueError, match=rf"change from step to step: {kind}\(.*\. Leave capture out"
    ):
        trainer(backend, network=MultiLayerNetExtend, **{option: True})


@pytest.mark.backends("numpy")
def test_the_host_has_no_graphs(backend):
    with pytest.raises(ValueError, match="capture needs a network on a CUDA device, got one on"):
        trainer(backend)
