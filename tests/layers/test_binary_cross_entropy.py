"""BinaryCrossEntropy: values, gradients, extreme scores, predictions."""

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import Affine, BinaryCrossEntropy, Sequential, numerical_gradient, to_host


def binary(x, t):
    """Compute the textbook formula in float64."""
    p = 1 / (1 + np.exp(-x))
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


@pytest.mark.parametrize("shape", [(7,), (7, 1), (9000, 1)])
@pytest.mark.parametrize("kind", ["labels", "bool", "probabilities"])
def test_binary_cross_entropy_matches_the_textbook_formula(backend, shape, kind):
    x = normal(backend, *shape)
    t = np.arange(shape[0]) % 2 if kind != "probabilities" else np.linspace(0, 1, shape[0])
    t = t.astype(bool) if kind == "bool" else t
    loss = BinaryCrossEntropy()
    found = float(loss.forward(x, backend.asarray(t)))
    assert found == pytest.approx(binary(to_host(x).reshape(-1), t), rel=1e-9)
    if shape[0] < 10:
        t = backend.asarray(t)
        expected = numerical_gradient(lambda: BinaryCrossEntropy().forward(x, t), {"x": x})["x"]
        assert_same_gradient(loss.backward(), expected)


@pytest.mark.parametrize(
    ("score", "target", "expected"),
    [(np.inf, 1, 0.0), (-np.inf, 0, 0.0), (1e30, 0, 1e30), (-800.0, 1, 800.0), (np.inf, 0, np.inf)],
)
def test_binary_cross_entropy_of_extreme_scores(backend, score, target, expected):
    x, loss = backend.asarray(np.array([[score]])), BinaryCrossEntropy()
    assert float(loss.forward(x, backend.asarray([target]))) == pytest.approx(expected)
    assert np.all(np.isfinite(to_host(loss.backward())))


def test_a_score_above_0_predicts_class_1(backend):
    network = Sequential(
        [Affine(2, 1)], BinaryCrossEntropy(), device=backend.device, xp=backend.xp, seed=0
    )
    network.params["W1"] = backend.asarray([[1.0], [0.0]])
    x = backend.asarray([[3.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [np.nan, 0.0]], "float32")
    assert network.accuracy(x, backend.asarray([1, 0, 0, 1])) == 0.5
    assert network.accuracy(x, backend.asarray([[1], [0], [1], [0]])) == 0.75


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (np.ones((3, 2)), np.ones(3), r"one score per sample, got scores of shape \(3, 2\)"),
        (np.ones((3, 1)), np.ones(2), r"must have shape \(3,\), got \(2,\)"),
        (np.ones(3), np.ones((3, 2)), r"must have shape \(3,\), got \(3, 2\)"),
        (np.ones(3), np.array([0, 1, 2]), "values from 0 to 1, got values from 0 to 2"),
        (np.ones(3), np.array([0, 1, np.nan]), "values from 0 to 1"),
    ],
)
def test_binary_cross_entropy_rejects_invalid_input(x, t, message):
    with pytest.raises(ValueError, match=message):
        BinaryCrossEntropy().forward(x, t)


def test_the_weighted_loss_matches_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, t, weights = rng.standard_normal(40), rng.random(40), rng.random(40)
    x = torch.tensor(scores, requires_grad=True)
    theirs = torch.nn.BCEWithLogitsLoss(weight=torch.tensor(weights))(x, torch.tensor(t))
    theirs.backward()
    ours = BinaryCrossEntropy()
    assert float(ours.forward(scores, t, weights)) == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(ours.backward(), x.grad.numpy(), rtol=1e-10, atol=1e-15)
