"""SGD, Momentum and Nesterov: against PyTorch, and consequences of their formulas."""

import numpy as np
import pytest
from textbook import GRADIENTS, START, torch_trajectory, trajectory

from dlskills import SGD, Momentum, Nesterov, get_backend


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(0.1), lambda optim, w: optim.SGD(w, 0.1)),
        (Momentum(0.1, 0.7), lambda optim, w: optim.SGD(w, 0.1, momentum=0.7)),
        (Nesterov(0.1, 0.7), lambda optim, w: optim.SGD(w, 0.1, momentum=0.7, nesterov=True)),
    ],
    ids=lambda value: type(value).__name__ if not callable(value) else "",
)
def test_updates_agree_with_torch(ours, theirs):
    pytest.importorskip("torch")

    np.testing.assert_allclose(
        trajectory(ours, get_backend("cpu")), torch_trajectory(theirs), rtol=1e-11, atol=1e-14
    )


def test_nesterov_agrees_with_the_books_code_since_2021():
    lr, momentum = 0.1, 0.7
    w, v = START.copy(), np.zeros_like(START)
    for gradient in GRADIENTS:
        w += momentum * momentum * v - (1 + momentum) * lr * gradient
        v = momentum * v - lr * gradient

    ours = trajectory(Nesterov(lr, momentum), get_backend("cpu"))
    np.testing.assert_allclose(ours[-1], w, rtol=1e-11)


def test_the_velocity_converges_under_a_constant_gradient():
    params = {"x": 0.0}
    optimizer = Momentum(lr=0.01, momentum=0.9)
    for _ in range(300):
        before = params["x"]
        optimizer.update(params, {"x": 1.0})

    assert params["x"] - before == pytest.approx(-0.01 / (1 - 0.9))


def test_a_new_learning_rate_does_not_rescale_the_velocity():
    # as in the tutorial; PyTorch would rescale the whole velocity
    params = {"x": 0.0}
    optimizer = Momentum(lr=1.0, momentum=0.5)
    optimizer.update(params, {"x": 1.0})
    optimizer.lr = 0.0
    optimizer.update(params, {"x": 1.0})

    assert params["x"] == -1.5
