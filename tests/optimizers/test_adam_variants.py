"""Adamax, RAdam, Yogi and Adan: against PyTorch and Optax, and consequences of the formulas."""

import numpy as np
import pytest
from textbook import GRADIENTS, START, torch_trajectory, trajectory

from dlskills import Adam, Adamax, Adan, AMSGrad, RAdam, Yogi, get_backend

NUMPY = get_backend("cpu")
SHARED = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
THEIRS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adamax(**SHARED), lambda optim, w: optim.Adamax(w, **THEIRS)),
        (Adamax(), lambda optim, w: optim.Adamax(w)),
        (RAdam(**SHARED), lambda optim, w: optim.RAdam(w, **THEIRS)),
        (RAdam(), lambda optim, w: optim.RAdam(w)),
    ],
    ids=lambda value: repr(value) if not callable(value) else "",
)
def test_updates_agree_with_torch(ours, theirs):
    pytest.importorskip("torch")
    np.testing.assert_allclose(
        trajectory(ours, NUMPY), torch_trajectory(theirs), rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            Yogi(**SHARED),
            lambda optax: optax.chain(
                optax.scale_by_yogi(0.8, 0.95, 1e-3, initial_accumulator_value=0.0),
                optax.scale(-0.05),
            ),
        ),
        # With beta2 = 0.5, where 1 - beta2 = beta2: for others, Optax 0.2 multiplies the change by
        # 1 - beta2, where the paper (whose beta2 is 1 minus ours) and its code have beta2.
        (
            Adan(**SHARED | {"beta2": 0.5}, beta3=0.9),
            lambda optax: optax.adan(0.05, 0.8, 0.5, 0.9, 1e-3, eps_root=0.0),
        ),
    ],
    ids=lambda value: repr(value) if not callable(value) else "",
)
def test_updates_agree_with_optax(ours, theirs):
    optax = pytest.importorskip("optax")
    w, steps = START.astype("float32"), []
    optimizer = theirs(optax)
    state = optimizer.init(w)
    for gradient in GRADIENTS:
        change, state = optimizer.update(gradient.astype("float32"), state, w)
        w = optax.apply_updates(w, change)
        steps.append(np.asarray(w))
    np.testing.assert_allclose(trajectory(ours, NUMPY), steps, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_without_bias_correction_the_counterexample_of_amsgrads_paper_holds():
    """Reddi, Kale & Kumar (2018), section 3: Adam ends at the wrong end of [-1, 1]."""

    def end(rule):
        optimizer = rule(
            lambda step: 0.5 / np.sqrt(step + 1), 0.9, 0.99, bias_correction=False, bounds=(-1, 1)
        )
        params = {"x": 0.0}
        for step in range(1, 10_001):
            optimizer.update(params, {"x": 1010.0 if step % 101 == 1 else -10.0})
        return params["x"]

    assert end(Adam) == pytest.approx(1.0, abs=0.05)
    assert end(AMSGrad) < 0.9


def test_the_first_step_of_adam_is_larger_without_bias_correction():
    corrected, plain = {"x": 0.0}, {"x": 0.0}
    Adam(0.1).update(corrected, {"x": 5.0})
    Adam(0.1, bias_correction=False).update(plain, {"x": 5.0})
    assert plain["x"] / corrected["x"] == pytest.approx(0.1 / np.sqrt(0.001), rel=1e-6)


def test_radam_begins_as_momentum_and_is_rectified_from_the_sixth_update():
    for step in range(1, 6):
        assert RAdam().coefficients(step)[1] == 0
    plain, adaptive, *_ = RAdam().coefficients(6)
    assert plain == 0
    assert adaptive > 0
    late = RAdam().coefficients(10**6)[1]
    assert late == pytest.approx(0.001, rel=1e-6)  # as Adam


def test_yogi_forgets_large_gradients_more_slowly_than_adam():
    def second_moment(optimizer):
        params = {"x": 0.0}
        for gradient in (100.0, *[1.0] * 50):
            optimizer.update(params, {"x": gradient})
        return optimizer.state_dict()["v/x"]

    assert second_moment(Yogi(beta2=0.9)) == pytest.approx(1000 - 50 * 0.1)
    assert second_moment(Adam(beta2=0.9)) < 10
