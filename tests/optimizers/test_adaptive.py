"""AdaGrad, RMSprop and AdaDelta: against PyTorch, and consequences of their formulas."""

import numpy as np
import pytest
from textbook import torch_trajectory, trajectory

from dlskills import AdaDelta, AdaGrad, RMSprop, get_backend, schedules


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (AdaGrad(0.3), lambda optim, w: optim.Adagrad(w, 0.3, eps=1e-7)),
        (RMSprop(0.1, 0.9, 1e-3), lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.9, eps=1e-3)),
        (
            AdaGrad(0.3, initial_accumulator=0.1),
            lambda optim, w: optim.Adagrad(w, 0.3, eps=1e-7, initial_accumulator_value=0.1),
        ),
        (
            RMSprop(0.1, 0.9, 1e-3, centered=True),
            lambda optim, w: optim.RMSprop(w, 0.1, alpha=0.9, eps=1e-3, centered=True),
        ),
        (
            RMSprop(0.1, 0.9, 1e-3, centered=True, momentum=0.7),
            lambda optim, w: optim.RMSprop(
                w, 0.1, alpha=0.9, eps=1e-3, centered=True, momentum=0.7
            ),
        ),
        (AdaDelta(0.5, 0.7, 1e-3), lambda optim, w: optim.Adadelta(w, 0.5, rho=0.7, eps=1e-3)),
    ],
    ids=lambda value: type(value).__name__ if not callable(value) else "",
)
def test_updates_agree_with_torch(ours, theirs):
    pytest.importorskip("torch")

    np.testing.assert_allclose(
        trajectory(ours, get_backend("cpu")), torch_trajectory(theirs), rtol=1e-11, atol=1e-14
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_first_step_is_independent_of_the_gradients_scale(scale):
    params = {"x": 0.0, "y": 0.0}
    AdaGrad(lr=0.5).update(params, {"x": scale, "y": -scale})

    assert params["x"] == pytest.approx(-0.5, rel=1e-3)
    assert params["y"] == -params["x"]


def test_adagrad_steps_shrink_but_rmsprop_steps_do_not():
    def steps(optimizer):
        params, positions = {"x": 0.0}, [0.0]
        for _ in range(100):
            optimizer.update(params, {"x": 1.0})
            positions.append(params["x"])
        return -np.diff(positions)

    np.testing.assert_allclose(steps(AdaGrad(0.1)), 0.1 / np.sqrt(np.arange(1, 101)), rtol=1e-5)
    assert steps(RMSprop(0.1, decay_rate=0.9))[-1] == pytest.approx(0.1, rel=1e-4)


def test_adadelta_needs_no_learning_rate():
    params = {"x": 0.0}
    AdaDelta().update(params, {"x": 100.0})

    # sqrt(epsilon) / sqrt(0.05 g²) g
    assert params["x"] == pytest.approx(-1e-3 / np.sqrt(0.05), rel=1e-6)


@pytest.mark.parametrize("rule", [AdaGrad, RMSprop, AdaDelta])
def test_a_zero_gradient_changes_nothing(rule):
    params = {"x": 3.0}
    rule().update(params, {"x": 0.0})

    assert params == {"x": 3.0}


def test_rmsprop_takes_slots_for_its_variants_only():
    assert RMSprop().slots == RMSprop.slots == ("h",)
    assert RMSprop(centered=True).slots == ("h", "mean")
    assert RMSprop(momentum=0.5).slots == ("h", "v")
    assert RMSprop(momentum=schedules.Linear(0, 0.9, steps=5)).slots == ("h", "v")
    with pytest.raises(TypeError, match="centered must be True or False, got 1"):
        RMSprop(centered=1)


def test_rmsprop_gains_momentum_during_training():
    params, optimizer = {"w": np.zeros(3)}, RMSprop(0.1, 0.9)
    twin, other = {"w": np.zeros(3)}, RMSprop(0.1, 0.9)
    for each, values in ((optimizer, params), (other, twin)):
        each.update(values, {"w": np.ones(3)})
    optimizer.momentum = 0.5
    for each, values in ((optimizer, params), (other, twin)):
        each.update(values, {"w": np.ones(3)})
    np.testing.assert_array_equal(params["w"], twin["w"])  # the velocity starts at 0
    for each, values in ((optimizer, params), (other, twin)):
        each.update(values, {"w": np.ones(3)})
    assert (params["w"] < twin["w"]).all()
