"""Checkpoints: resumed bit for bit, damaged ones refused by name, one process per folder."""

import copy
import functools
import json
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import finding, make_network, make_trainer, outcome, write_script

from dlskills import SGD, Adam, MultiLayerNet
from dlskills.files import FileFormatError
from dlskills.formulas.engines import ENGINES, engine
from dlskills.optimizers import schedules
from dlskills.training import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau
from dlskills.training.checkpoint_folder import CheckpointFolder, load_checked
from dlskills.training.state_file import read_state, write_state

STEPS_PER_EPOCH = 6  # of small_run


class Stop(Exception):
    """Ends a training as a crash would."""


def crash_at(step):
    def crash(trainer, batch):
        if trainer.step == step:
            raise Stop

    return crash


def never(trainer, batch):
    """A callback, so that both runs have as many."""


def crashed(folder, step, every=2, callbacks=(), **options):
    """A run with checkpoints that ends in a crash."""
    trainer = make_trainer(
        callbacks=[crash_at(step), *callbacks, Checkpoint(folder, every=every)], **options
    )
    with pytest.raises(Stop):
        trainer.train()
    return trainer


def resumed(folder, every=2, callbacks=(), **options):
    trainer = make_trainer(
        callbacks=[never, *callbacks, Checkpoint(folder, every=every)], **options
    )
    trainer.resume(folder)
    return trainer


def files(folder):
    return sorted(file.name for file in folder.glob("step-*"))


# Resuming


OPTIMIZERS = [
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "amsgrad",
    "nadam", "lion",
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_bit_for_bit(tmp_path, optimizer):
    whole = make_trainer(optimizer=optimizer)
    whole.train()
    crashed(tmp_path, 11, optimizer=optimizer)
    trainer = resumed(tmp_path, optimizer=optimizer)
    assert trainer.step == 10
    trainer.train()
    assert outcome(trainer) == outcome(whole)
    assert trainer.test_acc == whole.test_acc


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("record_loss", ["after", "both"])
@pytest.mark.parametrize("evaluate", ["first", "last"])
@pytest.mark.parametrize("step", [1, 6])
def test_every_position_goes_on_bit_for_bit(tmp_path, step, evaluate, record_loss, sampling):
    options = {"evaluate": evaluate, "record_loss": record_loss, "sampling": sampling}
    whole = make_trainer(**options)
    whole.train()
    crashed(tmp_path, step + 1, every=1, **options)
    trainer = resumed(tmp_path, every=1, **options)
    assert trainer.step == step
    trainer.train()
    assert outcome(trainer) == outcome(whole)
    assert trainer.eval_loss_list == whole.eval_loss_list


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(lr=schedules.CosineDecay(0.01, 18)),
        lambda: Adam(lr=schedules.Warmup(5, schedules.Linear(0.01, 0.001, 18))),
        lambda: SGD(lr=schedules.StepDecay(0.1, 4)),
        lambda: Adam(weight_decay=0.1, decay=lambda name: name.startswith("W"), clip_norm=0.5),
        lambda: Adam(rates={"W1": 0.1}, frozen=("b1",), clip_value=0.1, grad_scale=0.5),
    ],
    ids=["cosine", "warmup", "step", "decay", "groups"],
)
def test_schedules_and_groups_go_on_bit_for_bit(tmp_path, make):
    whole = make_trainer(optimizer=make())
    whole.train()
    crashed(tmp_path, 11, optimizer=make())
    trainer = resumed(tmp_path, optimizer=make())
    trainer.train()
    assert outcome(trainer) == outcome(whole)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_goes_on_bit_for_bit(tmp_path, name):
    try:
        with engine(name):
            whole = make_trainer()
            whole.train()
    except Exception as error:
        pytest.skip(f"no engine {name} here: {error}")
    with engine(name):
        crashed(tmp_path, 11)
        trainer = resumed(tmp_path)
        trainer.train()
    assert outcome(trainer) == outcome(whole)


def test_every_backend_goes_on_bit_for_bit(tmp_path, backend):
    def network():
        return make_network(backend.xp, backend.device)

    whole = make_trainer(network())
    whole.train()
    trainer = make_trainer(network(), callbacks=[crash_at(11), Checkpoint(tmp_path, every=2)])
    with pytest.raises(Stop):
        trainer.train()
    trainer = make_trainer(network(), callbacks=[never, Checkpoint(tmp_path, every=2)])
    assert trainer.resume(tmp_path) == 10
    trainer.train()
    assert outcome(trainer) == outcome(whole)


def test_without_a_seed_too(tmp_path):
    whole = crashed(tmp_path, 11, network=make_network(seed=None), validation=None)
    trainer = resumed(tmp_path, network=make_network(seed=None))
    assert trainer.network.seed != whole.network.seed
    trainer.train()
    again = resumed(tmp_path, network=make_network(seed=None))
    assert again.train_loss_list[:10] == whole.train_loss_list[:10]
    assert again.step == trainer.step


def test_callbacks_go_on_as_well(tmp_path):
    def callbacks():
        return [
            EarlyStopping("test_accuracy", patience=2),
            ReduceOnPlateau("test_accuracy", patience=1),
        ]

    options = {"epochs": 12, "optimizer": "sgd"}
    whole = make_trainer(callbacks=callbacks(), **options)
    whole.train()
    assert whole.stopped  # else this would show little
    crashed(tmp_path, 9, callbacks=callbacks(), **options)
    trainer = resumed(tmp_path, callbacks=callbacks(), **options)
    trainer.train()
    assert outcome(trainer) == outcome(whole)
    assert trainer.callbacks[1].best == whole.callbacks[0].best
    finished = resumed(tmp_path, callbacks=callbacks(), **options)
    finished.train()  # it was stopped, and stays so
    assert outcome(finished) == outcome(whole)


def test_an_empty_folder_begins_anew(tmp_path):
    trainer = make_trainer()
    assert trainer.resume(tmp_path / "missing") == 0
    assert trainer.resume(tmp_path) == 0
    assert trainer.step == 0


def test_a_finished_run_can_be_extended(tmp_path):
    whole = make_trainer(epochs=5)
    whole.train()
    make_trainer(epochs=3, callbacks=[Checkpoint(tmp_path)]).train()
    trainer = make_trainer(epochs=3, callbacks=[Checkpoint(tmp_path)])
    trainer.resume(tmp_path)
    trainer.train(epochs=2)
    assert trainer.epochs == 5
    assert outcome(trainer) == outcome(whole)


# Which are kept


def test_the_newest_are_kept(tmp_path):
    make_trainer(callbacks=[Checkpoint(tmp_path, every=4, keep=2)]).train()
    assert files(tmp_path) == ["step-00000016.safetensors", "step-00000018.safetensors"]


def test_by_default_one_per_epoch(tmp_path):
    make_trainer(callbacks=[Checkpoint(tmp_path, keep=10)]).train()
    steps = [1, 2, 3]
    assert files(tmp_path) == [f"step-{6 * n:08d}.safetensors" for n in steps]


@pytest.mark.parametrize("background", [True, False])
def test_the_best_is_kept(tmp_path, background):
    accuracies = finding([0.5, 0.9, 0.2, 0.3], "test", "accuracy")
    checkpoint = Checkpoint(
        tmp_path, every=100, keep=1, best_by="test_accuracy", background=background
    )
    make_trainer(epochs=4, callbacks=[checkpoint], **accuracies).train()
    assert files(tmp_path) == ["step-00000007.safetensors", "step-00000024.safetensors"]
    assert checkpoint.best_file == tmp_path / "step-00000007.safetensors"
    other = Checkpoint(tmp_path, best_by="test_accuracy")
    make_trainer(callbacks=[other], **finding([], "test", "accuracy")).resume(tmp_path)
    assert other.best_file == checkpoint.best_file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"best_by": "my_metric"}, "'my_metric' does not tell whether smaller or larger"),
        ({"best_by": "loss", "mode": "least"}, "mode 'least' is not known"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(tmp_path, **options)


def test_what_is_not_measured_is_named(tmp_path):
    with pytest.raises(ValueError, match="no 'validation_loss' is measured, only .*validation=0.2"):
        make_trainer(callbacks=[Checkpoint(tmp_path, best_by="validation_loss")])


# Damage


def newest(folder):
    return folder / files(folder)[-1]


def damaged_by(change):
    def damage(path):
        content = bytearray(path.read_bytes())
        path.write_bytes(change(content))

    return damage


def flipped(content):
    content[-100] ^= 4
    return content


def newer(path):
    state = read_state(path)
    state["head"]["version"] += 2
    write_state(path, state)


def with_an_array_as_its_kind(path):
    state = read_state(path)
    state["head"]["kind"] = np.ones(3)
    write_state(path, state)


def of_another_run(path):
    state = read_state(path)
    state["head"]["run"] = "another"
    write_state(path, state)


def lacking(path):
    state = read_state(path)
    del state["state"]["network"]["W1"]
    write_state(path, state)


def with_an_array_in_its_head(path):
    state = read_state(path)
    state["head"]["about"]["loss"] = np.ones(3)
    write_state(path, state)


DAMAGE = {
    "cut short": (damaged_by(lambda content: content[:-10]), "cut short"),
    "empty": (damaged_by(lambda content: b""), "holds 0 bytes"),
    "flipped": (damaged_by(flipped), "is damaged: its checksum"),
    "newer": (newer, "is of version 3, and this dlskills reads up to 2"),
    "array as the kind": (with_an_array_as_its_kind, "is no checkpoint of a training"),
    "another run": (of_another_run, "is of another run than the folder"),
    "array in the head": (with_an_array_in_its_head, "is of another training .loss: array"),
    "lacking": (lacking, "does not fit this training"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_checkpoint_is_refused_by_name_and_the_one_before_taken(tmp_path, kind):
    damage, reason = DAMAGE[kind]
    whole = make_trainer()
    whole.train()
    crashed(tmp_path, 11)
    damage(newest(tmp_path))
    with pytest.warns(UserWarning, match=rf"step-00000010.*{reason}"):
        trainer = resumed(tmp_path)
    assert trainer.step == 8
    trainer.train()
    assert outcome(trainer) == outcome(whole)


def test_where_none_is_good_nothing_is_begun_anew(tmp_path):
    crashed(tmp_path, 11)
    for file in tmp_path.glob("step-*"):
        file.write_bytes(b"0" * 100)
    with pytest.raises(FileFormatError, match=r"no checkpoint in .* is good: .*step-00000010"):
        resumed(tmp_path)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"mini_batch_size": 4}, "mini_batch_size: 8 there, 4 here"),
        ({"optimizer": "sgd"}, "optimizer: 'Adam' there, 'SGD' here"),
        ({"sampling": "epoch"}, "sampling: 'replacement' there, 'epoch' here"),
        ({"network": make_network(dtype="float32")}, "[(]dtype: 'float64' there, 'float32' here"),
        ({"validation": 0.2}, "validation data: None there, '8 samples"),
        ({"network": make_network(dropout_ratio=0.5)}, "layers: .*Dropout"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, options, difference):
    crashed(tmp_path, 11)
    with pytest.raises(FileFormatError, match=difference):
        resumed(tmp_path, **options)


def test_a_checkpoint_that_does_not_name_newer_settings_is_resumed(tmp_path):
    crashed(tmp_path, 11)
    for file in files(tmp_path):
        content = read_state(tmp_path / file)
        for setting in ("dtype", "compute dtype", "remainder"):
            del content["head"]["about"][setting]
        write_state(tmp_path / file, content)
    assert resumed(tmp_path).step == 10
    with pytest.raises(FileFormatError, match=r"here; mini_batch_size: 8 there, 4 here\); "):
        resumed(tmp_path, mini_batch_size=4)


def test_a_checkpoint_of_other_remainders_is_refused(tmp_path):
    """Both have as many batches per epoch, of other samples."""
    crashed(tmp_path, 11, sampling="epoch", remainder="drop")
    with pytest.raises(FileFormatError, match="remainder: 'drop' there, 'fold' here"):
        resumed(tmp_path, sampling="epoch", remainder="fold")


@pytest.mark.parametrize(
    ("network", "other"),
    [
        ({"dtype": "float64", "compute_dtype": "float32"}, {"dtype": "float32"}),
        ({"dtype": "float32", "compute_dtype": "float16"}, {"dtype": "float32"}),
    ],
)
def test_a_checkpoint_of_another_precision_is_refused(tmp_path, network, other):
    crashed(tmp_path, 11, network=make_network(**network))
    with pytest.raises(FileFormatError, match="dtype: .* there, .* here"):
        resumed(tmp_path, network=make_network(**other))


FORGED = {
    "a value that is no number": lambda own, _: own.update(best=np.ones(2)),
    "a count that is none": lambda own, _: own.update(waited=[]),
    "a step that is none": lambda own, _: own.update(best_step="7"),
    "a best network of another shape": lambda own, _: own["network"].update(W1=np.zeros((2, 2))),
    "no best network": lambda own, _: own.update(network=3),
    "an epoch that is none": lambda _, state: state.update(current_epoch=None),
    "names that are arrays": lambda _, state: state["optimizer"]["hyperparameters"].update(
        decay=np.ones((2, 3))
    ),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_checkpoint_is_refused_by_name_and_changes_nothing(tmp_path, change):
    crashed(tmp_path, 11, callbacks=[EarlyStopping("test_accuracy")])
    file = newest(tmp_path)
    content = read_state(file)
    change(content["state"]["callbacks"][1], content["state"])
    for other in tmp_path.glob("step-*"):
        other.unlink()
    write_state(file, content)  # with a checksum that fits
    trainer = make_trainer(callbacks=[never, EarlyStopping("test_accuracy"), Checkpoint(tmp_path)])
    before = outcome(trainer)
    with pytest.raises(FileFormatError, match=rf"{file.name} does not fit this training"):
        trainer.resume(tmp_path)
    assert outcome(trainer) == before


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("content")
    crashed(folder, 11, callbacks=[EarlyStopping("test_accuracy"), ReduceOnPlateau("test_loss")],
            metrics=["accuracy", "loss"])  # fmt: skip
    return read_state(newest(folder))


WRONG = [
    None, -1, 10**30, 1.5, math.nan, True, "x", "../../x", [], [1, 2], [[[]]], {}, {"a": 1},
    np.zeros(0), np.ones((2, 3)), np.array(3), np.array([True]),
]  # fmt: skip


def places(value, path=()):
    """Yield the paths to all values of a nested state, but for long lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3])
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_value_that_is_replaced_is_refused_by_name_or_loaded(content, data):
    forged = copy.deepcopy(content)
    path = data.draw(st.sampled_from(list(places(content))))
    owner = functools.reduce(lambda inner, key: inner[key], path[:-1], forged)
    owner[path[-1]] = data.draw(st.sampled_from(WRONG))
    trainer = make_trainer(
        callbacks=[never, EarlyStopping("test_accuracy"), ReduceOnPlateau("test_loss"), never],
        metrics=["accuracy", "loss"],
    )
    before, refusal = outcome(trainer), ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of schedules, and of numbers that are cast
        try:
            load_checked(
                forged, "a-file", None, trainer.about(), lambda s, _: trainer.load_state_dict(s)
            )
        except FileFormatError as error:
            refusal = str(error)
    if refusal:
        assert "a-file" in refusal
        assert outcome(trainer) == before
    else:
        assert trainer.step == forged["state"]["step"]


def test_a_checkpoint_swapped_with_another_runs_is_refused(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    crashed(one, 11)
    crashed(other, 13)
    (other / "step-00000012.safetensors").rename(one / "step-00000012.safetensors")
    with pytest.warns(UserWarning, match="step-00000012.* is of another run than the folder"):
        trainer = resumed(one)
    assert trainer.step == 10


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_change_of_a_byte_is_found(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    crashed(folder, 3)
    file = newest(folder)
    content = bytearray(file.read_bytes())
    positions = st.sets(st.integers(0, len(content) - 1), min_size=1, max_size=3)
    for position in data.draw(positions):
        content[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    trainer = make_trainer(callbacks=[never, Checkpoint(folder, every=2)])
    with pytest.raises(FileFormatError, match=file.name):
        trainer.resume(folder)
    assert trainer.step == 0


# Faults


def test_a_new_run_does_not_write_into_an_old_ones_folder(tmp_path):
    crashed(tmp_path, 11)
    before = {file: (tmp_path / file).read_bytes() for file in files(tmp_path)}
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(RuntimeError, match=r"checkpoints of another run, .*step-00000010.*resume"):
        trainer.train()
    assert {file: (tmp_path / file).read_bytes() for file in files(tmp_path)} == before


def test_two_trainings_do_not_share_a_folder(tmp_path):
    found = []

    def second(trainer, batch):
        other = make_trainer(callbacks=[Checkpoint(tmp_path)])
        attempts = [other.train, lambda: other.resume(tmp_path)]
        for attempt in attempts[: 2 if files(tmp_path) else 1]:
            with pytest.raises(RuntimeError, match="another training writes its checkpoints to"):
                attempt()
            found.append(trainer.step)

    make_trainer(epochs=1, callbacks=[second, Checkpoint(tmp_path, every=1)]).train()
    assert found.count(1) == 1
    assert found.count(STEPS_PER_EPOCH) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="the mode of a folder has no effect there")
def test_a_read_only_folder_is_named_at_the_start(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(OSError, match="the folder .* can't be written to: .*Checkpoint.folder"):
        trainer.train()
    assert trainer.step == 0


def test_a_file_in_the_folders_place_is_named_at_the_start(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "checkpoints")])
    with pytest.raises(OSError, match="the folder .* can't be written to: .*Checkpoint.folder"):
        trainer.train()
    assert trainer.step == 0


@pytest.mark.parametrize("background", [True, False])
def test_a_full_disk_ends_the_training_and_loses_nothing(tmp_path, monkeypatch, background):
    whole = make_trainer()
    whole.train()

    def checkpoint():
        return Checkpoint(tmp_path, every=2, background=background)

    trainer = make_trainer(callbacks=[checkpoint()])
    for _ in range(5):
        trainer.train_step()
    trainer.callbacks[0]._wait()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"step-0000.*can't be written: No space left on device"):
        trainer.train()
    monkeypatch.undo()
    assert files(tmp_path) == ["step-00000002.safetensors", "step-00000004.safetensors"]
    assert not list(tmp_path.glob(".*part"))
    trainer.train()  # with space again
    assert outcome(trainer) == outcome(whole)
    other = make_trainer(callbacks=[checkpoint()])
    other.resume(tmp_path)
    assert outcome(other) == outcome(whole)


def test_run_json_says_what_was_trained(tmp_path):
    crashed(tmp_path, 3)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["about"]["mini_batch_size"] == 8
    assert content["about"]["optimizer"] == "Adam"
    (tmp_path / "run.json").write_text("{")  # damaged: the checkpoints are still good
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resumed(tmp_path).step == 2


def test_a_checkpoint_is_a_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path)])
    trainer.train()
    arrays = safetensors.load_file(newest(tmp_path))
    np.testing.assert_array_equal(arrays["state/network/W1"], trainer.network.params["W1"])


# Kills


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be forked")
def test_of_200_kills_none_loses_anything(tmp_path, record_property):
    """Kills in training and in saves: each resume and the end are exact."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).parents[1] / "kills.py"),
         str(tmp_path), "200"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    print(counts)
    record_property("kills", counts)
    assert counts["kills"] >= 200
    assert counts["in_saves"] >= 10
    assert counts["trainings"] >= 4


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of files' sizes")
def test_a_disk_that_is_full_in_mid_file_leaves_the_good_checkpoints(tmp_path):
    """A real limit: files of this process can't grow beyond some kilobytes."""
    script = write_script(
        tmp_path,
        "import resource",
        "checkpoint = Checkpoint(sys.argv[1], every=2, background=False)",
        "def fill(trainer, batch):",
        "    if trainer.step == 5:",
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))",
        "make_trainer(callbacks=[fill, checkpoint]).train()",
    )
    folder = tmp_path / "checkpoints"
    result = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert re.search(r"OSError: .*step-00000006.* can't be written.*File too large", result.stderr)
    assert files(folder) == ["step-00000002.safetensors", "step-00000004.safetensors"]
    assert not list(folder.glob("*.part"))
    assert resumed(folder).step == 4


# Damage beyond one file, and errors


@pytest.mark.parametrize("content", ["{", '{"run": null}', "3", None])
def test_a_run_is_resumed_without_a_good_run_json(tmp_path, content):
    crashed(tmp_path, 11)
    run = json.loads((tmp_path / "run.json").read_text())["run"]
    (tmp_path / "run.json").unlink()
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    trainer = resumed(tmp_path)
    trainer.train()
    assert trainer.step == trainer.max_iter
    assert json.loads((tmp_path / "run.json").read_text())["run"] == run


def test_damaged_checkpoints_do_not_count_among_those_kept(tmp_path):
    crashed(tmp_path, 11)
    for step in (8, 10):
        (tmp_path / f"step-{step:08d}.safetensors").write_bytes(b"damaged")
    trainer = make_trainer(callbacks=[crash_at(8), Checkpoint(tmp_path, every=1, keep=1)])
    with pytest.warns(UserWarning, match="step-00000006.safetensors was taken"):
        assert trainer.resume(tmp_path) == 6
    with pytest.raises(Stop):
        trainer.train()
    assert files(tmp_path)[0] == "step-00000007.safetensors"


def test_after_another_callbacks_error_in_close_the_folder_is_free(tmp_path):
    class Careless(Callback):
        def close(self, trainer):
            raise Stop

    trainer = make_trainer(callbacks=[Careless(), Checkpoint(tmp_path)], epochs=1)
    with pytest.raises(Stop):
        trainer.train()
    again = make_trainer(callbacks=[Callback(), Checkpoint(tmp_path)], epochs=1)
    assert again.resume(tmp_path) == STEPS_PER_EPOCH


def test_a_callbacks_array_that_changes_in_place_is_saved_as_it_was():
    class Average(Callback):
        def __init__(self):
            self.mean = np.zeros(3)

        def state_dict(self):
            return {"nested": [{"mean": self.mean}]}

    average = Average()
    state = make_trainer(callbacks=[average]).state_dict()
    average.mean += 1
    np.testing.assert_array_equal(state["callbacks"][0]["nested"][0]["mean"], 0)


def test_where_the_seed_chooses_samples_another_one_is_refused(tmp_path):
    options = {"evaluate_samples": "random", "evaluate_sample_num_per_epoch": 5}
    crashed(tmp_path, 11, seed=1, **options)
    with pytest.raises(FileFormatError, match="seed: 1 there, 2 here"):
        resumed(tmp_path, seed=2, **options)
    assert resumed(tmp_path, seed=1, **options).step == 10


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    crashed(tmp_path, 11)
    with pytest.raises(NotADirectoryError, match="takes the folder of the checkpoints"):
        make_trainer().resume(tmp_path / files(tmp_path)[-1])


def test_an_optimizer_without_a_state_is_refused_at_the_start(tmp_path):
    class Plain:
        def update(self, params, grads):
            """Change nothing."""

    trainer = make_trainer(callbacks=[Checkpoint(tmp_path)], optimizer=Plain())
    with pytest.raises(TypeError, match=r"has no state_dict\(\) and load_state_dict"):
        trainer.train()
    assert trainer.step == 0


def test_the_best_network_is_loaded(tmp_path):
    checkpoint = Checkpoint(tmp_path, best_by="test_accuracy", keep=1)
    params = {}

    def watch(trainer):
        params[trainer.epoch] = np.array(trainer.network.params.flat)

    trainer = make_trainer(
        callbacks=[checkpoint, watch], evaluate="last", epochs=3,
        **finding([0.0, 1.0, 0.0], "test", "accuracy"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="there is no best checkpoint"):
        checkpoint.load_best(trainer.network)
    trainer.train()
    network = make_network()
    checkpoint.load_best(network)
    np.testing.assert_array_equal(network.params.flat, params[2])
    with pytest.raises(FileFormatError, match="does not fit"):
        checkpoint.load_best(MultiLayerNet(4, [5], 3))


def test_an_error_while_copying_leaves_the_save_due_for_ctrl_c(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, every=4)
    trainer = make_trainer(callbacks=[checkpoint])
    trainer.train_step()
    with monkeypatch.context() as patched:
        patched.setattr(Adam, "state_dict", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(trainer)
    checkpoint.interrupted(trainer)
    checkpoint.close(trainer)
    assert files(tmp_path) == ["step-00000001.safetensors"]


# Callbacks that are not those of the checkpoint, the best file, and steps by hand


def test_other_callbacks_are_refused(tmp_path):
    def trainer(*callbacks):
        return make_trainer(validation=0.2, callbacks=[*callbacks, Checkpoint(tmp_path)], seed=1)

    stopping, reducing = EarlyStopping("validation_loss"), ReduceOnPlateau("validation_loss")
    trainer(stopping, reducing).train()
    accuracy = EarlyStopping("validation_accuracy")
    for others in (
        (reducing, stopping),
        (accuracy, ReduceOnPlateau("validation_loss")),
        (lambda trainer: None, reducing),
    ):
        with pytest.raises(
            FileFormatError,
            match=r"the state is of the callbacks \['EarlyStopping by validation_loss \(min\)', "
            r".* this training has .*; give the same ones in the same order",
        ):
            trainer(*others).resume(tmp_path)
    patient = EarlyStopping("validation_loss", patience=9)  # settings may change
    assert trainer(patient, ReduceOnPlateau("validation_loss", factor=0.5)).resume(tmp_path) == 15


def test_another_metric_of_the_best_is_refused(tmp_path):
    def trainer(best_by):
        return make_trainer(
            callbacks=[Checkpoint(tmp_path, best_by=best_by)], metrics=["accuracy", "loss"]
        )

    trainer("test_loss").train()
    with pytest.raises(FileFormatError, match=r"Checkpoint by test_loss \(min\)"):
        trainer("test_accuracy").resume(tmp_path)


@pytest.mark.parametrize("background", [True, False])
def test_the_best_file_exists_though_writing_a_better_one_failed(tmp_path, monkeypatch, background):
    checkpoint = Checkpoint(
        tmp_path, every=100, best_by="quality", mode="max", background=background
    )
    value = iter([1.0, 2.0, 3.0, 2.5, 2.6, 2.7])
    trainer = make_trainer(
        metrics={"quality": lambda outputs, targets: 0.0}, callbacks=[checkpoint], epochs=5
    )

    def measure():
        return {"quality": next(value)}

    monkeypatch.setattr(trainer._evaluation, "measure", measure)
    trainer.train_step()
    first = checkpoint.best_file
    assert first.name == "step-00000001.safetensors"
    assert first.exists()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            trainer.train()
    assert checkpoint.best_file == first
    assert first.exists()
    trainer.train(epochs=2)
    assert checkpoint.best_file != first
    assert checkpoint.best_file.exists()
    checkpoint.load_best(make_network())


def test_steps_by_hand_after_training_do_not_write_into_a_folder_in_use(tmp_path):
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path, every=1)])
    trainer.train()
    trainer.train_step()
    assert files(tmp_path)[-1] == "step-00000019.safetensors"
    other = CheckpointFolder(tmp_path)
    other.lock()  # the folder is free between such steps
    with pytest.raises(RuntimeError, match="another training writes its checkpoints"):
        trainer.train_step()
