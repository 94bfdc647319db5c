"""The loop: what a step is, what callbacks see, and how it goes on after an error."""

import numpy as np
import pytest
from small_run import make_network, make_trainer, points

from dlskills import SGD, Adam, MultiLayerNet, to_host
from dlskills.training import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    Loop,
    ReduceOnPlateau,
)


def batches(backend, count=5, size=6):
    x, t = points(count * size)
    return [
        (
            backend.asarray(x[i * size : (i + 1) * size], "float64"),
            backend.asarray(t[i * size : (i + 1) * size]),
        )
        for i in range(count)
    ]


def plain(backend, **options):
    return MultiLayerNet(
        4, [8], 3, seed=0, dtype="float64", xp=backend.xp, device=backend.device, **options
    )


def test_it_trains_as_the_loop_written_out(backend):
    network, twin = plain(backend), plain(backend)
    given = batches(backend)
    loop = Loop(network, Adam(lr=0.01), given)
    loop.run(epochs=2)
    optimizer, losses = Adam(lr=0.01), []
    for x, t in given * 2:
        loss, grads = twin.loss_and_gradient(x, t)
        optimizer.update(twin.params, grads)
        losses.append(float(loss))
    np.testing.assert_array_equal(to_host(network.params.flat), to_host(twin.params.flat))
    assert loop.losses == losses
    assert (loop.step, loop.epoch) == (10, 2)
    assert float(loop.loss) == losses[-1]


@pytest.fixture
def numpy_batches():
    from dlskills.arrays.backend import get_backend

    return batches(get_backend())


def made(given, callbacks=(), **options):
    return Loop(make_network(), SGD(), given, callbacks, **options)


def test_a_generator_is_taken_to_its_end(numpy_batches):
    loop = made(batch for batch in numpy_batches)
    loop.run()
    assert loop.step == 5
    loop.run()
    assert loop.step == 5
    with pytest.raises(ValueError, match="no known number per epoch; give steps="):
        loop.run(epochs=1)


def test_a_number_of_steps(numpy_batches):
    loop = made(numpy_batches)
    loop.run(steps=3)
    assert (loop.step, loop.epoch) == (3, 0)
    loop.run(epochs=1)  # the one that has begun
    assert (loop.step, loop.epoch) == (5, 1)
    loop.run(steps=0)
    assert loop.step == 5
    loop.run()  # an epoch
    assert loop.step == 10
    with pytest.raises(ValueError, match="epochs or steps, got epochs=1 and steps=1"):
        loop.run(epochs=1, steps=1)


@pytest.mark.parametrize("wrong", [3, None])
def test_what_gives_no_batches_is_refused(wrong):
    with pytest.raises(TypeError, match="batches must be an iterable of"):
        made(wrong)


def test_a_batch_of_ones_own_leaves_the_position(numpy_batches):
    loop, other = made(numpy_batches), made(numpy_batches)
    loop.run(steps=2)
    loop.train_on(*numpy_batches[0])
    assert loop.step == 3
    other.train_on(*numpy_batches[0])
    other.train_on(*numpy_batches[1])
    other.train_on(*numpy_batches[0])
    assert np.array_equal(loop.network.params.flat, other.network.params.flat)
    assert loop.batches.state_dict() == {"position": 2}


# Callbacks


class Recorder(Callback):
    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def before_training(self, trainer):
        self.seen.append("before")

    def after_step(self, trainer, batch):
        self.seen.append((trainer.step, batch[0].shape))
        return trainer.step == self.stop_at

    def after_epoch(self, trainer):
        self.seen.append(f"epoch {trainer.epoch}")

    def step_complete(self, trainer):
        self.seen.append("complete")

    def after_training(self, trainer):
        self.seen.append("after")

    def close(self, trainer):
        self.seen.append("closed")


def test_the_events_and_their_order(numpy_batches):
    recorder = Recorder()
    made(numpy_batches[:2], [recorder]).run(epochs=1)
    assert recorder.seen == [
        "before", (1, (6, 4)), "complete", (2, (6, 4)), "epoch 1", "complete", "after", "closed",
    ]  # fmt: skip


def test_true_stops_the_training(numpy_batches):
    recorder = Recorder(stop_at=3)
    loop = made(numpy_batches, [recorder])
    loop.run(epochs=2)
    assert loop.step == 3
    assert loop.stopped
    assert recorder.seen[-2:] == ["after", "closed"]
    loop.run(epochs=2)
    assert loop.step == 3
    loop.stopped = False
    loop.run(steps=2)
    assert loop.step == 5


def test_functions_are_callbacks(numpy_batches):
    steps, epochs = [], []
    loop = made(
        numpy_batches,
        [
            lambda trainer, batch: steps.append(trainer.step),
            lambda trainer: epochs.append(trainer.epoch),
        ],
    )
    loop.run(epochs=2)
    assert steps == list(range(1, 11))
    assert epochs == [1, 2]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (Recorder(), TypeError, "callbacks must be a list"),
        ([Recorder], TypeError, r"got <class .*make one: Recorder\(...\)"),
        ([3], TypeError, "a callback must be .* got 3"),
        ([lambda: None], TypeError, "has 0 required arguments"),
        ([lambda a, b, c: None], TypeError, "has 3 required arguments"),
    ],
)
def test_what_is_no_callback_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        made([], wrong)


@pytest.mark.parametrize("where", ["after_step", "after_epoch", "step_complete"])
def test_a_callback_that_raises_is_not_asked_twice_and_the_others_are_not_left_out(
    numpy_batches, where
):
    recorder, undisturbed = Recorder(), Recorder()

    class Raises(Callback):
        pass

    def raising(self, trainer, *batch):
        if trainer.step == 5:
            raise LookupError("enough")

    setattr(Raises, where, raising)
    loop = made(numpy_batches, [Raises(), recorder])
    with pytest.raises(LookupError, match="enough"):
        loop.run(epochs=2)
    loop.run(steps=5)
    made(numpy_batches, [undisturbed]).run(epochs=2)
    assert [event for event in recorder.seen if event not in ("before", "closed")] == [
        event for event in undisturbed.seen if event not in ("before", "closed")
    ]


# Errors


@pytest.mark.parametrize("where", ["gradient", "update"])
def test_after_an_error_the_same_batch_is_taken(numpy_batches, monkeypatch, where):
    loop, undisturbed = (Loop(make_network(), Adam(), numpy_batches) for _ in range(2))
    undisturbed.run(epochs=2)
    loop.run(steps=3)
    owner, name = (
        (loop.network, "loss_and_gradient") if where == "gradient" else (loop.optimizer, "update")
    )
    work = getattr(owner, name)

    def failing(*args):
        if where == "gradient":
            work(*args)
        raise LookupError

    monkeypatch.setattr(owner, name, failing)
    for _ in range(2):
        with pytest.raises(LookupError):
            loop.run()
        assert loop.step == 3
    monkeypatch.undo()
    loop.run(epochs=2)
    assert loop.losses == undisturbed.losses
    assert np.array_equal(loop.network.params.flat, undisturbed.network.params.flat)


def test_an_update_that_is_broken_off_is_not_taken_for_one(numpy_batches, monkeypatch):
    loop = made(numpy_batches)

    def broken_off(params, grads):
        raise KeyboardInterrupt  # a second Ctrl-C, which is not held back

    monkeypatch.setattr(loop.optimizer, "update", broken_off)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match=r"step 1 was broken off .*resume\(folder\)"):
        loop.run()


# Accumulation


@pytest.mark.parametrize("parts", [2, 3, 6, 100])
def test_the_gradient_in_parts_is_that_of_the_batch(backend, parts):
    given = batches(backend, count=2, size=7)
    loops = []
    for accumulate in (1, parts):
        network = plain(backend, weight_decay_lambda=0.1)
        loops.append(Loop(network, SGD(lr=0.1), given, accumulate=accumulate))
        loops[-1].run(epochs=3)
    np.testing.assert_allclose(loops[1].losses, loops[0].losses, rtol=1e-13)
    np.testing.assert_allclose(
        to_host(loops[1].network.params.flat), to_host(loops[0].network.params.flat), rtol=1e-11
    )


def test_a_part_has_no_more_samples_than_it_must(numpy_batches):
    sizes = []
    network = make_network()
    forward = network.layers[0].forward

    def watched(x, train_flg=True):
        sizes.append(x.shape[0])
        return forward(x, train_flg)

    network.layers[0].forward = watched
    Loop(network, SGD(), numpy_batches, accumulate=4).run(steps=1)
    assert sizes == [1, 2, 1, 2]


@pytest.mark.parametrize("wrong", [0, 1.5])
def test_a_wrong_number_of_parts_is_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="accumulate must be"):
        made([], accumulate=wrong)


# State


@pytest.mark.parametrize("steps", [0, 3, 5, 7])
def test_a_state_goes_on_bit_for_bit(backend, steps):
    given = batches(backend)

    def loop():
        return Loop(make_network(backend.xp, backend.device), Adam(), given)

    whole, first, second = loop(), loop(), loop()
    whole.run(steps=12)
    first.run(steps=steps)
    second.run(steps=4)  # which the state replaces
    second.load_state_dict(first.state_dict())
    first.run(steps=1)  # the state is a copy
    second.run(steps=12 - steps)
    assert second.losses == whole.losses
    assert np.array_equal(to_host(second.network.params.flat), to_host(whole.network.params.flat))


def test_a_state_that_does_not_fit_changes_nothing(numpy_batches):
    loop = made(numpy_batches)
    loop.run(steps=3)
    state, before = loop.state_dict(), loop.state_dict()
    del state["network"]["b1"]
    state["batches"] = {"position": 0}
    with pytest.raises(ValueError, match="lacks 'b1'"):
        loop.load_state_dict(state)
    with pytest.raises(ValueError, match="the state has 1 callbacks, this training 0"):
        loop.load_state_dict(before | {"callbacks": [{}]})
    after = loop.state_dict()
    assert after["batches"] == before["batches"]
    assert np.array_equal(after["network"]["W1"], before["network"]["W1"])


def test_there_is_no_state_of_half_a_step(numpy_batches):
    def failing(trainer, batch):
        raise LookupError

    loop = made(numpy_batches, [failing, failing])
    with pytest.raises(LookupError):
        loop.run()
    with pytest.raises(RuntimeError, match="step 1 is not complete"):
        loop.state_dict()


class Unsized:
    """Three batches, again and again, with no length."""

    def __init__(self, given):
        self.given = given

    def __iter__(self):
        return iter(self.given)


def test_by_default_one_pass_over_batches_of_unknown_number(numpy_batches):
    loop = Loop(MultiLayerNet(4, [8], 3), SGD(), Unsized(numpy_batches[:3]))
    loop.run()
    assert loop.step == 3
    loop.run()
    assert loop.step == 6
    loop.run(steps=7)
    assert loop.step == 13


def test_no_batches_end_a_number_of_steps(numpy_batches):
    loop = Loop(MultiLayerNet(4, [8], 3), SGD(), Unsized([]))
    loop.run(steps=7)
    assert loop.step == 0


def test_the_optimizer_may_be_a_name(numpy_batches):
    loop = Loop(MultiLayerNet(4, [8], 3), "adam", numpy_batches)
    assert isinstance(loop.optimizer, Adam)
    with pytest.raises(TypeError, match="optimizer must be a name or an Optimizer, got 3"):
        Loop(MultiLayerNet(4, [8], 3), 3, numpy_batches)


def test_a_method_that_another_library_calls_is_refused():
    class OfKeras(Callback):
        def on_epoch_end(self, trainer):
            """Do nothing."""

    message = r"a method on_epoch_end, which is never called; write after_epoch\(self, trainer\)"
    with pytest.raises(TypeError, match=message):
        Loop(MultiLayerNet(4, [8], 3), SGD(), callbacks=[OfKeras()])


def test_a_trainer_takes_a_list_of_callbacks():
    with pytest.raises(TypeError, match="callbacks must be a list of callbacks"):
        make_trainer(callbacks=Callback())


# What a loop refuses, and what a refused state leaves alone


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: EarlyStopping("test_loss"),
        lambda folder: ReduceOnPlateau("test_loss"),
        lambda folder: CSVLogger(folder / "history.csv"),
        lambda folder: Checkpoint(folder, best_by="test_loss"),
    ],
)
def test_a_callback_that_needs_evaluations_is_refused(numpy_batches, tmp_path, make):
    with pytest.raises(ValueError, match=r"acts after evaluations, and a Loop makes none"):
        made(numpy_batches, [make(tmp_path)])


def test_a_checkpoint_by_steps_is_not_refused(numpy_batches, tmp_path):
    made(numpy_batches, [Checkpoint(tmp_path, every=2)]).run()
    loop = made(numpy_batches, [Checkpoint(tmp_path, every=2)])
    assert loop.resume(tmp_path) == 5


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_refused_state_takes_no_batch_of_a_generator(numpy_batches, ahead):
    other = Loop(make_network(), Adam(), numpy_batches)
    other.run(steps=4)
    loop = made(batch for batch in numpy_batches)
    loop.run(steps=ahead)
    with pytest.raises((ValueError, KeyError, TypeError)):
        loop.load_state_dict(other.state_dict() | {"losses": ["no number"]})
    loop.run()
    whole = made(numpy_batches)
    whole.run()
    assert loop.losses == whole.losses


def test_a_new_generator_is_taken_to_the_position_of_a_state(numpy_batches):
    first = made(batch for batch in numpy_batches)
    first.run(steps=3)
    state = first.state_dict()
    second = made(batch for batch in numpy_batches)
    second.load_state_dict(state)
    assert second.state_dict()["batches"] == {"position": 3}
    second.run()
    first.run()
    assert second.losses == first.losses
    assert second.step == 5
    with pytest.raises(ValueError, match="the state is at batch 3, .* of a generator, are at 5"):
        first.load_state_dict(state)
    short = made(batch for batch in numpy_batches[:2])
    short.load_state_dict(state)
    with pytest.raises(ValueError, match="at batch 3, and there are only 2 batches"):
        short.run()
