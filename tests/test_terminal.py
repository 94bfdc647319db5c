"""Printing to any kind of standard output, or to none."""

import errno
import io
import subprocess
import sys

import numpy as np
import pytest

from dlskills import MultiLayerNet, Trainer, terminal
from dlskills.training.progress import Progress

TEXT = "x² → 中文 é \udcff"


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding, newline="")


def written(target, encoding):
    target.flush()
    return target.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("gbk", "x? → 中文 é ?"),
        ("cp1252", "x² ? ?? é ?"),
        ("ascii", "x? ? ?? ? ?"),
        ("utf-8", "x² → 中文 é ?"),
        ("utf-16", "x² → 中文 é ?"),
    ],
)
def test_characters_missing_from_an_encoding_are_replaced(monkeypatch, encoding, expected):
    target = stream(encoding)
    monkeypatch.setattr(sys, "stdout", target)
    terminal.say(TEXT)
    terminal.console().print(TEXT)
    with Progress(1, TEXT) as progress:
        progress.note("1")
    text = written(target, encoding).replace("\ufeff", "")
    assert text == f"{expected}\n{expected}\n{expected}: 1\n"


class OnlyWrite:
    """Standard output as replaced by some loggers."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def closed():
    target = io.StringIO()
    target.close()
    return target


STREAMS = {"none": lambda: None, "only write": OnlyWrite, "closed": closed}


def train():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(20, 4)), rng.integers(3, size=20)
    trainer = Trainer(MultiLayerNet(4, [5], 3, seed=0), x, t, x, t, 2, 5, verbose=True)
    trainer.train()
    return trainer


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_training_works_with_any_standard_output(monkeypatch, make):
    target = make()
    monkeypatch.setattr(sys, "stdout", target)
    monkeypatch.setattr(sys, "stderr", target)
    trainer = train()
    terminal.say("the end")
    terminal.console(stderr=True).print("the very end")
    assert len(trainer.train_loss_list) == 8
    if isinstance(target, OnlyWrite):
        assert target.text.startswith("training: epoch 1/2")
        assert target.text.endswith("the end\nthe very end\n")


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_libraries_can_print_to_tolerant_streams(monkeypatch, make):
    target = make()
    monkeypatch.setattr(sys, "stdout", target)
    monkeypatch.setattr(sys, "stderr", target)
    with terminal.tolerant_streams():
        print(TEXT, flush=True)
        assert not sys.stderr.isatty()
        sys.stderr.writelines(["a", "b"])
    assert sys.stdout is target
    assert sys.stderr is target


@pytest.mark.parametrize("text", ["lr[encoder]", "cifar[/aug]", "[red]", "[/]", ":smile:", r"\[a]"])
def test_text_is_not_interpreted_as_markup(monkeypatch, text):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    terminal.console().print(text)
    assert sys.stdout.getvalue() == f"{text}\n"


def test_a_full_disk_behind_standard_output_is_named(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="standard output can't be written to: No space left"):
        terminal.say("text")


def test_rich_is_imported_only_for_a_console():
    code = "import sys, dlskills.terminal; dlskills.terminal.say(str('rich' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
