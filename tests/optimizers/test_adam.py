"""Adam and its variants: against the tutorial and PyTorch, and consequences of the formulas."""

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
def test_updates_agree_with_torch(ours, theirs):
    pytest.importorskip("torch")

    np.testing.assert_allclose(
        trajectory(ours, NUMPY), torch_trajectory(theirs), rtol=1e-10, atol=1e-14
    )


def test_adam_matches_the_tutorials_code(backend):
    """The tutorial's lines in their order: bit-identical if square roots round alike."""
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
    ("mode", "factor"),
    [("tutorial", 1.0), ("paper", np.sqrt(1 - 0.999))],
    ids=["tutorial", "paper"],
)
def test_epsilon_mode_decides_where_epsilon_is_added(mode, factor):
    gradient = 1e-6  # small enough for epsilon to matter
    params = {"x": 0.0}
    Adam(lr=1.0, epsilon_mode=mode).update(params, {"x": gradient})
    root = np.sqrt(1 - 0.999)

    expected = -gradient * root / (gradient * root + 1e-7 * factor)
    assert params["x"] == pytest.approx(expected)


def test_epsilon_mode_is_validated_and_shown():
    assert "epsilon_mode='paper'" in repr(Adam(epsilon_mode="Paper"))
    assert "epsilon_mode='tutorial'" in repr(Adam())
    message = (
        r"epsilon_mode 'papper' is not known; did you mean 'paper'\? Choose from: 'tutorial', "
    )
    with pytest.raises(ValueError, match=message):
        Adam(epsilon_mode="papper")
    optimizer = Adam()
    with pytest.raises(ValueError, match=message):
        optimizer.epsilon_mode = "papper"
    assert repr(optimizer) == repr(Adam())


@pytest.mark.parametrize("rule", [Adam, AdamW, AMSGrad, NAdam])
def test_the_old_name_of_the_tutorials_epsilon_mode_still_works(rule):
    with pytest.warns(
        DeprecationWarning, match="epsilon_mode='page' is now called 'tutorial'"
    ) as w:
        optimizer = rule(epsilon_mode="page")
    assert w[0].filename == __file__
    assert repr(optimizer) == repr(rule(epsilon_mode="tutorial"))


def test_a_state_saved_under_the_old_name_of_epsilon_mode_loads_without_a_warning():
    saved = Adam(lr=0.25)
    params = {"x": 1.0}
    saved.update(params, {"x": 1e-6})
    state = saved.state_dict()
    state["hyperparameters"]["epsilon_mode"] = "page"
    loaded, twin = Adam(epsilon_mode="paper"), dict(params)
    loaded.load_state_dict(state)
    assert repr(loaded) == repr(saved)
    saved.update(params, {"x": 2e-6})
    loaded.update(twin, {"x": 2e-6})
    assert twin == params
    assert state["hyperparameters"]["epsilon_mode"] == "page"


@pytest.mark.parametrize("rule", [Adam, AdamW, AMSGrad, NAdam])
def test_the_first_step_is_about_as_large_as_the_learning_rate(rule):
    params = {"x": 0.0, "y": 0.0}
    optimizer = rule(lr=0.25)
    optimizer.update(params, {"x": 1e-2, "y": -300.0})

    scale = 0.25 if rule is not NAdam else -params["x"]
    assert params["x"] == pytest.approx(-scale, rel=1e-3)
    assert params["y"] == pytest.approx(scale, rel=1e-3)


def test_decoupled_weight_decay_needs_no_gradient():
    params = {"x": 2.0}
    AdamW(lr=0.1, weight_decay=0.5).update(params, {"x": 0.0})

    assert params["x"] == pytest.approx(2 * (1 - 0.1 * 0.5))


def test_amsgrad_keeps_the_largest_mean_of_squares():
    params, optimizer = {"x": 0.0}, AMSGrad(lr=0.1, beta2=0.5)
    small = {"x": 0.1}
    optimizer.update(params, {"x": 10.0})
    for _ in range(100):
        before = params["x"]
        optimizer.update(params, small)
    # The largest mean of squares is 0.5 * 10**2, from the first update.
    assert before - params["x"] == pytest.approx(0.1 * 0.1 / np.sqrt(50), rel=0.05)


def test_nadam_recomputes_its_momentum_product_after_a_reset():
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


def test_lion_moves_every_element_by_the_learning_rate():
    params = {"x": 0.0, "y": 0.0, "z": 0.0}
    Lion(lr=0.1).update(params, {"x": 1e-5, "y": -300.0, "z": 0.0})

    assert params == {"x": -0.1, "y": 0.1, "z": 0.0}


# The weight after each of five steps in Keras's own test of its Nadam, for the gradients 0.01, then
# 0.1 and 1
KERAS = [[0.4281, -0.1738, -0.7115, -1.2335, -1.7492], [0.4281, -0.1717, -0.7084, -1.2299, -1.7454]]


@pytest.mark.parametrize(("grad", "expected"), list(zip([0.1, 1.0], KERAS, strict=True)))
def test_nadam_is_that_of_keras_with_a_momentum_decay_of_1(grad, expected):
    def path(**settings):
        optimizer, params = NAdam(lr=0.5, beta1=0.5, beta2=0.67, epsilon=1e-5, **settings), {"x": 1}
        for step in range(5):
            optimizer.update(params, {"x": grad if step else 0.01})
            yield params["x"]

    np.testing.assert_allclose(list(path(momentum_decay=1.0)), expected, rtol=5e-4, atol=5e-4)
    assert min(np.abs(np.subtract(list(path()), expected))) > 5e-3  # the default is PyTorch's
