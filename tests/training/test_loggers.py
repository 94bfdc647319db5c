"""Logs that are complete after each evaluation."""

import csv
import sys

import pytest
from small_run import make_trainer

from dlskills.training import Checkpoint, CSVLogger, TensorBoardLogger


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_file_grows_with_the_history(tmp_path):
    path, counts = tmp_path / "logs" / "run.csv", []
    trainer = make_trainer(
        callbacks=[CSVLogger(path), lambda trainer: counts.append(len(rows(path)))]
    )
    trainer.train()
    assert counts == [1, 2, 3]
    found = rows(path)
    assert list(found[0]) == list(trainer.history)
    for name, column in trainer.history.items():
        assert [float(row[name]) for row in found] == column


def test_after_resuming_no_row_is_written_twice(tmp_path):
    path = tmp_path / "run.csv"

    def trainer(epochs):
        return make_trainer(
            epochs=epochs, callbacks=[CSVLogger(path), Checkpoint(tmp_path / "checkpoints")]
        )

    trainer(2).train()
    second = trainer(4)
    second.resume(tmp_path / "checkpoints")
    second.train()
    assert [float(row["epoch"]) for row in rows(path)] == second.history["epoch"]
    assert len(second.history["epoch"]) == 4


def test_tensorboard_gets_each_number(tmp_path):
    pytest.importorskip("tensorboardX")
    trainer = make_trainer(callbacks=[TensorBoardLogger(tmp_path / "runs")])
    trainer.train()
    (file,) = (tmp_path / "runs").glob("events*")
    content = file.read_bytes()
    for tag in (b"accuracy/train", b"accuracy/test", b"loss", b"lr"):
        # with the length before it: two letters alone occur among the file's checksums, too
        assert content.count(b"\x0a" + bytes([len(tag)]) + tag) == 3  # one per evaluation


def test_without_a_writer_it_says_what_to_install(tmp_path, monkeypatch):
    for name in ("tensorboardX", "torch.utils.tensorboard", "torch.utils", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TensorBoardLogger(tmp_path)
