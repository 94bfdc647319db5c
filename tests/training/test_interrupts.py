"""Ctrl-C: held back until a step is complete, and then as it always is."""

import signal
import subprocess
import sys
import threading

import pytest
from small_run import make_trainer, outcome, write_script

from dlskills.training import Callback
from dlskills.training.interrupts import HeldInterrupts


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_it_is_held_back_until_the_end_of_the_block():
    done = False
    with pytest.raises(KeyboardInterrupt), HeldInterrupts():  # noqa: PT012
        ctrl_c()
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_is_delivered_between():
    with pytest.raises(KeyboardInterrupt), HeldInterrupts() as interrupts:  # noqa: PT012
        interrupts.deliver()  # nothing
        ctrl_c()
        interrupts.deliver()
        pytest.fail("the interrupt was not delivered")


def test_a_second_one_is_not_held_back():
    with pytest.raises(KeyboardInterrupt), HeldInterrupts():  # noqa: PT012
        ctrl_c()
        ctrl_c()
        pytest.fail("the interrupt was held back")


def test_the_previous_handler_is_called_and_restored():
    seen = []

    def handler(number, frame):
        seen.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        with HeldInterrupts():
            ctrl_c()
            assert seen == []
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldInterrupts():
            ctrl_c()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    found = []

    def work():
        with HeldInterrupts() as interrupts:
            found.append(interrupts.active)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_an_error_of_the_block_comes_before_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught, HeldInterrupts():  # noqa: PT012
        ctrl_c()
        raise LookupError
    assert isinstance(caught.value.__context__, LookupError)


class CtrlC(Callback):
    """Interrupts at a step, as a user would."""

    def __init__(self, step):
        self.step, self.told = step, []

    def after_step(self, trainer, batch):
        if trainer.step == self.step:
            ctrl_c()

    def interrupted(self, trainer):
        self.told.append(trainer.step)


@pytest.mark.parametrize("step", [1, 6, 18])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(step):
    undisturbed, callback = make_trainer(), CtrlC(step)
    undisturbed.train()
    trainer = make_trainer(callbacks=[callback])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.step == step
    assert callback.told == [step]
    trainer.train()
    assert outcome(trainer) == outcome(undisturbed)


@pytest.mark.parametrize("where", ["loss_and_gradient", "update", "loss", "accuracy"])
def test_within_a_step_it_waits_for_its_end(monkeypatch, where):
    undisturbed, trainer = make_trainer(), make_trainer()
    undisturbed.train()
    owner = trainer.optimizer if where == "update" else trainer.network
    work = getattr(owner, where)
    calls = []

    def interrupting(*args, **options):
        calls.append(where)
        if len(calls) == 3:
            ctrl_c()
        return work(*args, **options)

    monkeypatch.setattr(owner, where, interrupting)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    monkeypatch.undo()
    assert 0 < trainer.step < trainer.max_iter
    trainer.train()
    assert outcome(trainer) == outcome(undisturbed)


def test_a_step_by_hand_is_whole_too(monkeypatch):
    undisturbed, trainer = make_trainer(), make_trainer()
    undisturbed.train()
    update = trainer.optimizer.update

    def interrupting(params, grads):
        ctrl_c()
        update(params, grads)

    monkeypatch.setattr(trainer.optimizer, "update", interrupting)
    with pytest.raises(KeyboardInterrupt):
        trainer.train_step()
    monkeypatch.undo()
    assert trainer.step == 1
    trainer.train()
    assert outcome(trainer) == outcome(undisturbed)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_a_process_saves_and_ends_as_interrupted(tmp_path):
    script = write_script(
        tmp_path,
        "import time",
        "def slow(trainer, batch):",
        "    print('step', flush=True)",
        "    time.sleep(0.01)",
        "checkpoint = Checkpoint(sys.argv[1], every=10_000)",
        "make_trainer(epochs=2000, callbacks=[slow, checkpoint]).train()",
    )
    folder = tmp_path / "checkpoints"
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        error = process.stderr.read().decode()
    assert process.returncode == -signal.SIGINT, error  # which shells show as 130
    assert [file.suffix for file in folder.glob("step-*")] == [".safetensors"]
