"""A contender that does less work than its peers is refused, not timed."""

import numpy as np
import pytest

from benchmarks import tasks, turns
from benchmarks.contenders import CONTENDERS, ours
from benchmarks.tasks import LayerPass, TrainStep, Update

dlskills = pytest.importorskip("dlskills")
torch = pytest.importorskip("torch")

MASKED = TrainStep(100, ("dlskills", "torch-fused"), steps=1, checked=30, masked=True)


def result(name, task):
    return turns._prepare(turns._At(name, "cpu"), task)


def check(task, ours_, theirs):
    turns._check(task, {"torch-fused": theirs, "dlskills": ours_})


@pytest.fixture(scope="module")
def peer():
    return result("torch-fused", MASKED)


def test_a_complete_step_with_dropout_passes(peer):
    check(MASKED, result("dlskills", MASKED), peer)


def _no_dropout(network):
    for layer in network.layers:
        if isinstance(layer, dlskills.Dropout):
            layer.dropout_ratio = 0.0


def _other_ratio(network):
    for layer in network.layers:
        if isinstance(layer, dlskills.Dropout):
            layer.dropout_ratio = 0.3


def _one_mask(network):
    for layer in network.layers:
        if isinstance(layer, dlskills.Dropout):
            state = layer.get_state()

            def forward(x, train=True, layer=layer, state=state, forward=layer.forward):
                layer.set_state(state)
                return forward(x, train)

            layer.forward = forward


def _batch_norm_in_evaluation_mode(network):
    for layer in network.layers:
        if isinstance(layer, dlskills.BatchNormalization):
            layer.forward = lambda x, train=True, forward=layer.forward: forward(x, False)


@pytest.mark.parametrize(
    "shortcut", [_no_dropout, _other_ratio, _one_mask, _batch_norm_in_evaluation_mode]
)
def test_a_step_that_leaves_out_work_is_refused(monkeypatch, peer, shortcut):
    made = ours._network

    def network(task, device, dropout):
        network = made(task, device, dropout)
        if dropout:  # the network that is timed
            shortcut(network)
        return network

    monkeypatch.setattr(ours, "_network", network)
    with pytest.raises(RuntimeError, match="do not compute the same"):
        check(MASKED, result("dlskills", MASKED), peer)


@pytest.mark.parametrize("layout", ["1 x 10M", "1 x 100k"])
def test_a_missing_update_is_refused(layout):
    full = tasks.TASKS[f"Adam, {layout}"]
    task = Update("Adam", layout, {"W1": (1000,)}, (), steps=1, checked=full.checked)
    done = result("dlskills", task)
    check(task, result("torch-fused", task), done)
    with pytest.raises(RuntimeError, match="changes nothing"):
        check(task, task.result(task.params().values()), done)


def test_an_update_of_a_part_is_refused():
    task = Update("Adam", "1 x 1M", {"W1": (1_000_000,)}, (), steps=1)
    done = result("dlskills", task)
    part = {
        what: np.where(np.arange(change.size) < 900, change, 0) for what, change in done.items()
    }
    with pytest.raises(RuntimeError, match="change of the parameters"):
        check(task, part, done)


@pytest.mark.parametrize("name", ["dlskills", "torch-fused"])
@pytest.mark.parametrize("backward", [False, True])
def test_a_dropout_layer_that_keeps_its_mask_is_refused(name, backward):
    task = LayerPass("Dropout", 100, backward)
    expected = result(name, task)
    passed = CONTENDERS[name].work(task, "cpu")[1]
    x, dout = task.arrays()
    mask = 2 * (np.random.default_rng(0).random(x.shape) < 0.5)
    same = task.result(lambda: [x * mask, dout * mask])
    check(task, passed(), expected)
    with pytest.raises(RuntimeError, match="fraction kept in two passes"):
        check(task, same, expected)
