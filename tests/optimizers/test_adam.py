"""Adam and its successors against the page and PyTorch, and what their formulas imply."""

import numpy as np
import pytest
from textbook import GRADIENTS, START, torch_trajectory, trajectory

from dlskills import Adam, AdamW, AMSGrad, Lion, NAdam, get_backend

NUMPY = get_backend("cpu")
SHARED = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
THEIRS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adam(**SHARED, epsilon_mode="paper"), lambda optim, w: optim.Adam(w, **THEIRS)),
        (AdamW(**SHARED), lambda optim, w: optim.AdamW(w, **THEIRS)),
        (
            AdamW(**SHARED, weight_decay=0.3),
            lambda optim, w: optim.AdamW(w, **THEIRS, weight_decay=0.3),
        ),
        (AMSGrad(**SHARED), lambda optim, w: optim.Adam(w, **THEIRS, amsgrad=True)),
        (NAdam(**SHARED), lambda optim, w: optim.NAdam(w, **THEIRS)),
        (
            NAdam(**SHARED, momentum_decay=0.1),
            lambda optim, w: optim.NAdam(w, **THEIRS, momentum_decay=0.1),
        ),
        (AdamW(), lambda optim, w: optim.AdamW(w)),
        (NAdam(), lambda optim, w: optim.NAdam(w)),
        (AMSGrad(), lambda optim, w: optim.Adam(w, amsgrad=True)),
    ],
    ids=lambda value: repr(value) if not callable(value) else "",
)
def test_they_agree_with_torch(ours, theirs):
    pytest.importorskip("torch")

    np.testing.assert_allclose(
        trajectory(ours, NUMPY), torch_trajectory(theirs), rtol=1e-10, atol=1e-14
    )


def test_adam_exactly_as_the_page_writes_it(backend):
    """The page's lines, in their order: equal to the last bit where roots are rounded alike."""
    w, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    lr, beta1, beta2, expected = 0.001, 0.9, 0.999, []
    for i, gradient in enumerate(GRADIENTS, start=1):
        lr_t = lr * np.sqrt(1.0 - beta2**i) / (1.0 - beta1**i)
        m += (1 - beta1) * (gradient - m)
        v += (1 - beta2) * (gradient**2 - v)
        w -= lr_t * m / (np.sqrt(v) + 1e-7)
        expected.append(w.copy())

    ours = trajectory(Adam(), backend)
    np.testing.assert_allclose(ours, expected, rtol=0 if backend.name == "numpy" else 1e-14)


@pytest.mark.parametrize(
    ("mode", "factor"), [("page", 1.0), ("paper", np.sqrt(1 - 0.999))], ids=["page", "paper"]
)
def test_where_epsilon_is_added(mode, factor):
    gradient = 1e-6  # so small that epsilon counts
    params = {"x": 0.0}
    Adam(lr=1.0, epsilon_mode=mode).update(params, {"x": gradient})
    root = np.sqrt(1 - 0.999)

    expected = -gradient * root / (gradient * root + 1e-7 * factor)
    assert params["x"] == pytest.approx(expected)


def test_epsilon_modes_are_checked_and_shown():
    assert "epsilon_mode='paper'" in repr(Adam(epsilon_mode="Paper"))
    assert "epsilon_mode='page'" in repr(Adam())
    message = r"epsilon_mode 'papper' is not known; did you mean 'paper'\? Choose from: 'page'"
    with pytest.raises(ValueError, match=message):
        Adam(epsilon_mode="papper")


@pytest.mark.parametrize("rule", [Adam, AdamW, AMSGrad, NAdam])
def test_the_first_step_is_about_the_learning_rate(rule):
    params = {"x": 0.0, "y": 0.0}
    optimizer = rule(lr=0.25)
    optimizer.update(params, {"x": 1e-2, "y": -300.0})

    scale = 0.25 if rule is not NAdam else -params["x"]
    assert params["x"] == pytest.approx(-scale, rel=1e-3)
    assert params["y"] == pytest.approx(scale, rel=1e-3)


def test_decoupled_decay_shrinks_without_a_gradient():
    params = {"x": 2.0}
    AdamW(lr=0.1, weight_decay=0.5).update(params, {"x": 0.0})

    assert params["x"] == pytest.approx(2 * (1 - 0.1 * 0.5))


def test_amsgrad_remembers_the_largest():
    params, optimizer = {"x": 0.0}, AMSGrad(lr=0.1, beta2=0.5)
    small = {"x": 0.1}
    optimizer.update(params, {"x": 10.0})
    for _ in range(100):
        before = params["x"]
        optimizer.update(params, small)
    # the largest average of squares was 0.5 * 10**2, and stays
    assert before - params["x"] == pytest.approx(0.1 * 0.1 / np.sqrt(50), rel=0.05)


def test_nadams_product_is_that_of_its_own_steps():
    fresh, used = NAdam(beta1=0.5), NAdam()
    used.update({"x": 1.0}, {"x": 1.0})
    used.reset()
    used.beta1 = 0.5
    results = []
    for optimizer in (fresh, used):
        params = {"x": 1.0}
        for gradient in (1.0, -2.0, 3.0):
            optimizer.update(params, {"x": gradient})
        results.append(params)

    assert results[0] == results[1]


def test_lion_moves_all_by_the_same_amount():
    params = {"x": 0.0, "y": 0.0, "z": 0.0}
    Lion(lr=0.1).update(params, {"x": 1e-5, "y": -300.0, "z": 0.0})

    assert params == {"x": -0.1, "y": 0.1, "z": 0.0}
