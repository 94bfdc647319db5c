"""SoftmaxWithLoss: values and gradients, also for huge scores, and its options."""

import math

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import SoftmaxWithLoss, numerical_gradient, to_host


def targets(backend, kind, dtype="float64"):
    labels = [2, 0, 1, 1, 2]
    if kind == "labels":
        return backend.asarray(labels)
    if kind == "one-hot":
        return backend.asarray(np.eye(3)[labels], dtype)
    smooth = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    return backend.asarray(smooth, dtype)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "probabilities"])
def test_cross_entropy(backend, kind):
    x, t, loss = normal(backend, 5, 3), targets(backend, kind), SoftmaxWithLoss()
    exps = np.exp(to_host(x))
    log_p = np.log(exps / exps.sum(axis=1, keepdims=True))
    rows = np.eye(3)[to_host(t)] if kind == "labels" else to_host(t)
    expected = -(log_p * rows).sum() / 5

    assert float(loss.forward(x, t)) == pytest.approx(expected, rel=1e-12)
    assert_same_gradient(
        loss.backward(), numerical_gradient(lambda: SoftmaxWithLoss().forward(x, t), {"x": x})["x"]
    )


@pytest.mark.parametrize("kind", ["labels", "one-hot", "probabilities"])
@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
def test_cross_entropy_with_epsilon_inside_the_logarithm(backend, kind, epsilon):
    x, t, loss = normal(backend, 5, 3), targets(backend, kind), SoftmaxWithLoss(epsilon)
    exps = np.exp(to_host(x))
    p = exps / exps.sum(axis=1, keepdims=True)
    rows = np.eye(3)[to_host(t)] if kind == "labels" else to_host(t)
    expected = -(np.log(p + epsilon) * rows).sum() / 5

    assert float(loss.forward(x, t)) == pytest.approx(expected, rel=1e-12)
    differences = numerical_gradient(lambda: SoftmaxWithLoss(epsilon).forward(x, t), {"x": x})
    assert_same_gradient(loss.backward(), differences["x"])


def test_epsilon_caps_the_loss(backend):
    x = backend.asarray([[1000.0, 0.0, 0.0]], "float32")
    t = backend.asarray([1])
    assert float(SoftmaxWithLoss().forward(x, t)) == 1000
    assert float(SoftmaxWithLoss(1e-7).forward(x, t)) == pytest.approx(16.118, abs=1e-3)
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        SoftmaxWithLoss(-1)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
def test_labels_of_every_integer_dtype_match_one_hot_targets(backend, dtype):
    x, loss = normal(backend, 5, 3, dtype="float32"), SoftmaxWithLoss()
    of_labels = loss.forward(x, backend.asarray([2, 0, 1, 1, 2], dtype))
    gradient = to_host(loss.backward())

    assert float(of_labels) == float(loss.forward(x, targets(backend, "one-hot", "float32")))
    np.testing.assert_array_equal(gradient, to_host(loss.backward()))


def test_the_number_of_classes_may_change(backend):
    loss, labels = SoftmaxWithLoss(), backend.asarray([0, 1])
    for classes in (3, 5, 2):
        value = loss.forward(backend.zeros((2, classes), "float64"), labels)
        assert float(value) == pytest.approx(math.log(classes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_scores_give_finite_and_accurate_losses(backend, dtype, scale):
    x = backend.asarray([[scale, 0, -scale], [0, scale, 0], [-scale, -scale, -scale]], dtype)
    loss = SoftmaxWithLoss()
    right = float(loss.forward(x, backend.asarray([0, 1, 2])))
    assert right == pytest.approx(math.log(3) / 3, rel=1e-6)
    expected = np.asarray([[0, 0, 0], [0, 0, 0], [1 / 9, 1 / 9, -2 / 9]])
    np.testing.assert_allclose(to_host(loss.backward()), expected, atol=1e-7)

    wrong = float(loss.forward(x[:2, :], backend.asarray([2, 1])))
    assert wrong == pytest.approx(scale, rel=1e-6)  # (2 * scale + 0) / 2


def test_the_default_loss_is_not_capped(backend):
    # the book adds 1e-7 inside the logarithm, which caps the loss at 16.1
    x = backend.asarray([[0.0, 100.0]], "float64")

    assert float(SoftmaxWithLoss().forward(x, backend.asarray([0]))) == pytest.approx(100)


def test_equal_scores_give_the_logarithm_of_the_number_of_classes(backend):
    x = backend.zeros((4, 10), "float64")

    assert float(SoftmaxWithLoss().forward(x, backend.asarray([0, 3, 6, 9]))) == pytest.approx(
        math.log(10)
    )


@pytest.mark.parametrize(
    ("t", "got"),
    [
        ([0, 1], r"int64 of shape \(2,\)"),
        ([0.0] * 5, r"float\d\d of shape \(5,\)"),
        ([[0, 1]] * 5, r"int64 of shape \(5, 2\)"),
        ([[0]] * 5, r"int64 of shape \(5, 1\)"),
        ([True] * 5, r"bool of shape \(5,\)"),
    ],
)
def test_labels_of_the_wrong_shape_or_dtype_are_rejected(backend, t, got):
    message = rf"integers of shape \(5,\) or one-hot of shape \(5, 3\), got .*{got}$"
    with pytest.raises(ValueError, match=message):
        SoftmaxWithLoss().forward(normal(backend, 5, 3), backend.asarray(t))


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("label", [-1, 3, 1000])
def test_a_label_out_of_range_gives_nan(backend, epsilon, label):
    loss = SoftmaxWithLoss(epsilon)
    value = loss.forward(normal(backend, 3, 3), backend.asarray([0, label, 2]))
    dx = to_host(loss.backward())

    assert math.isnan(float(value))
    assert np.isnan(dx[1]).all()
    assert np.isfinite(dx[[0, 2]]).all()


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("epsilon", [0.0, 1e-7])
def test_half_precision_distinguishes_thousands_of_classes(backend, epsilon):
    x, labels = normal(backend, 3, 5000, dtype="float16"), [2049, 2051, 4999]
    results = []
    for scores in (x, backend.asarray(x, "float64")):
        loss = SoftmaxWithLoss(epsilon)
        value = loss.forward(scores, backend.asarray(labels))
        assert value.dtype == loss.backward().dtype == scores.dtype
        results.append((float(value), to_host(loss.backward())))
    (value, dx), (expected, expected_dx) = results

    assert value == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-3, atol=1e-7)
    assert (dx < 0).nonzero()[1].tolist() == labels


# Rows of arbitrary targets


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


TARGETS = {
    "all zero": [[0, 0, 0], [0, 1, 0]],
    "weighted": [[0, 2.5, 0], [0.5, 0, 0]],
    "several classes": [[1, 0, 1], [1, 1, 1]],
    "probabilities": [[0.2, 0.3, 0.5], [0.1, 0.9, 0]],
}


@pytest.mark.parametrize("rows", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
def test_loss_and_gradient_for_arbitrary_target_rows(backend, rows, epsilon):
    x, t = normal(backend, 2, 3), backend.asarray(np.array(rows, dtype="float64"))
    loss = SoftmaxWithLoss(epsilon)
    value = float(loss.forward(x, t))
    host, targets = to_host(x), np.array(rows)
    expected = -np.sum(targets * np.log(softmax(host) + epsilon)) / 2
    assert value == pytest.approx(expected, rel=1e-9)
    gradient = loss.backward()
    numerical = numerical_gradient(lambda: SoftmaxWithLoss(epsilon).forward(x, t), {"x": x})["x"]
    assert_same_gradient(gradient, numerical)
    if not epsilon:
        by_hand = (targets.sum(1, keepdims=True) * softmax(host) - targets) / 2
        np.testing.assert_allclose(to_host(gradient), by_hand, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("shape", [(1, 3), (200, 30)])
def test_rows_of_zeros_exclude_their_samples(backend, shape):
    loss = SoftmaxWithLoss()
    zeros = backend.zeros(shape, "float64")
    assert float(loss.forward(zeros + 1.0, zeros)) == 0
    assert not np.any(to_host(loss.backward()))


@pytest.mark.parametrize("targets", ["labels", "one-hot"])
@pytest.mark.parametrize(
    ("scores", "label", "dtype", "expected"),
    [
        ([-np.inf, 0, 1], 2, "float64", 0.31326168751822286),
        ([-np.inf, 0, 1], 2, "float32", 0.31326168751822286),
        ([0, -np.inf, -np.inf], 0, "float32", 0.0),
        ([3e38, -3e38], 0, "float32", 0.0),
        ([1e308, -1e308], 0, "float64", 0.0),
        ([6e4, -6e4], 0, "float16", 0.0),
        ([-np.inf, 0, 1], 2, "float16", 0.31326168751822286),
    ],
)
@pytest.mark.parametrize("samples", [1, 2000])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
def test_scores_of_other_classes_may_be_infinite(
    backend, targets, scores, label, dtype, expected, samples, epsilon
):
    if not hasattr(backend.xp, dtype):
        pytest.skip(f"{backend.name} has no {dtype}")
    x = backend.asarray(np.array([scores] * samples), dtype)
    t = np.array([label] * samples)
    if targets == "one-hot":
        t = np.eye(len(scores))[t]
    loss = SoftmaxWithLoss(epsilon)
    found = float(loss.forward(x, backend.asarray(t)))
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    assert found == pytest.approx(expected, rel=tolerance, abs=1e-8)
    assert np.all(np.isfinite(to_host(loss.backward())))


def test_minus_infinity_for_the_right_class_gives_an_infinite_loss(backend):
    x = backend.asarray(np.array([[-np.inf, 0.0, 1.0]]))
    assert float(SoftmaxWithLoss().forward(x, backend.asarray([0]))) == np.inf


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([[7, 3], [1, 0]], r"must be one-hot \(0 or 1, .*, got 7\. Pass labels as an array"),
        ([[0.5, -0.1], [1, 0]], "t must be at least 0, got -0.1"),
        ([[-1, 1], [1, 0]], "t must be at least 0, got -1"),
        ([[0.5, np.nan], [1, 0]], "t must be at least 0, got nan"),
    ],
)
def test_invalid_targets_are_rejected(t, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxWithLoss().forward(np.ones((2, 2)), np.array(t))


@pytest.mark.parametrize("t", [[0, 0], [[1], [1]]], ids=["labels", "one-hot"])
def test_softmax_with_one_class_is_rejected(backend, t):
    x = backend.zeros((2, 1), "float32")
    with pytest.raises(ValueError, match=r"at least 2 classes.*BinaryCrossEntropy\(\)"):
        SoftmaxWithLoss().forward(x, backend.asarray(np.array(t)))


# Label smoothing and class weights

LABELS = [2, 0, 1, 1, 2]
CLASS_WEIGHTS = [0.5, 2.0, 1.25]
OPTIONS = [
    {"label_smoothing": 0.1},
    {"class_weights": CLASS_WEIGHTS},
    {"label_smoothing": 0.3, "class_weights": CLASS_WEIGHTS},
    {"label_smoothing": 0.3, "class_weights": CLASS_WEIGHTS, "epsilon": 0.01},
]


def by_hand(x, rows, epsilon=0.0, label_smoothing=0.0, class_weights=(1, 1, 1), weights=1.0):
    rows = rows * np.asarray(class_weights)
    smooth = (1 - label_smoothing) * rows + label_smoothing * rows.mean(1, keepdims=True)
    losses = -np.sum(smooth * np.log(softmax(x) + epsilon), axis=1)
    return np.mean(losses * weights)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options))
@pytest.mark.parametrize("kind", ["labels", "one-hot", "probabilities"])
@pytest.mark.parametrize("weighted", [False, True])
def test_options(backend, options, kind, weighted):
    x, t, loss = normal(backend, 5, 3), targets(backend, kind), SoftmaxWithLoss(**options)
    weights = backend.asarray([0.5, 0.0, 2.0, 1.0, 3.0], "float64") if weighted else None
    rows = np.eye(3)[LABELS] if kind == "labels" else to_host(t)
    expected = by_hand(to_host(x), rows, **options, weights=to_host(weights) if weighted else 1.0)

    assert float(loss.forward(x, t, weights)) == pytest.approx(expected, rel=1e-12)
    numerical = numerical_gradient(
        lambda: SoftmaxWithLoss(**options).forward(x, t, weights), {"x": x}
    )
    assert_same_gradient(loss.backward(), numerical["x"])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options))
def test_labels_match_one_hot_targets(backend, options):
    x, loss = normal(backend, 5, 3), SoftmaxWithLoss(**options)
    of_labels = float(loss.forward(x, targets(backend, "labels")))
    gradient = to_host(loss.backward())
    of_rows = float(loss.forward(x, targets(backend, "one-hot")))
    assert of_labels == pytest.approx(of_rows, rel=1e-14)
    np.testing.assert_allclose(gradient, to_host(loss.backward()), rtol=1e-12, atol=1e-16)


def test_the_weight_of_its_class_multiplies_a_samples_smoothed_loss(backend):
    x, t = normal(backend, 5, 3), targets(backend, "labels")
    weights = backend.asarray([CLASS_WEIGHTS[label] for label in LABELS], "float64")
    by_class = SoftmaxWithLoss(label_smoothing=0.2, class_weights=CLASS_WEIGHTS)
    by_sample = SoftmaxWithLoss(label_smoothing=0.2)
    found = float(by_class.forward(x, t))
    assert found == pytest.approx(float(by_sample.forward(x, t, weights)), rel=1e-14)
    np.testing.assert_allclose(to_host(by_class.backward()), to_host(by_sample.backward()), 1e-12)


def test_a_row_of_zeros_stays_excluded_with_label_smoothing(backend):
    loss = SoftmaxWithLoss(label_smoothing=0.2)
    assert float(loss.forward(normal(backend, 4, 3), backend.zeros((4, 3), "float64"))) == 0
    assert not np.any(to_host(loss.backward()))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_the_options_match_pytorch(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((50, 3)), rng.integers(0, 3, 50)
    rows, class_weights = rng.dirichlet(np.ones(3), 50), np.array(CLASS_WEIGHTS)
    sum_of_weights = class_weights[labels].sum()
    cases = [
        (labels, None, 1.0),
        (rows, None, 1.0),
        # PyTorch divides by the sum of the weights of the labels' classes, and with smoothing
        # weights each class's term by its own weight
        *([(labels, class_weights, sum_of_weights / 50)] if not smoothing else []),
        *([(rows, class_weights, 1.0)] if not smoothing else []),
    ]
    for targets, weight, factor in cases:
        x = torch.tensor(scores, requires_grad=True)
        theirs = torch.nn.CrossEntropyLoss(
            weight=None if weight is None else torch.tensor(weight), label_smoothing=smoothing
        )(x, torch.tensor(targets))
        theirs.backward()
        ours = SoftmaxWithLoss(label_smoothing=smoothing, class_weights=weight)
        assert float(ours.forward(scores, targets)) == pytest.approx(
            theirs.item() * factor, rel=1e-12
        )
        np.testing.assert_allclose(ours.backward(), x.grad.numpy() * factor, rtol=1e-10, atol=1e-14)


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options))
def test_options_in_half_precision(backend, options):
    x, t = normal(backend, 300, 40, dtype="float16"), backend.asarray(np.arange(300) % 40)
    options = options | {"class_weights": np.linspace(0.5, 2, 40)}
    results = []
    for scores in (x, backend.asarray(x, "float64")):
        loss = SoftmaxWithLoss(**options)
        value = loss.forward(scores, t, backend.asarray(np.linspace(0, 2, 300), "float32"))
        assert value.dtype == loss.backward().dtype == scores.dtype
        results.append((float(value), to_host(loss.backward())))
    (value, dx), (expected, expected_dx) = results
    assert value == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(dx, expected_dx, rtol=2e-3, atol=1e-6)


def test_class_weights_may_be_an_array_of_any_library(backend):
    given = backend.asarray(CLASS_WEIGHTS, "float32")
    assert SoftmaxWithLoss(class_weights=given).class_weights == (0.5, 2.0, 1.25)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1}, ValueError, "label_smoothing must be at least 0 and less than 1"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing must be at least 0"),
        ({"class_weights": [1, -1]}, ValueError, "class_weights must be at least 0, got -1"),
        ({"class_weights": [1, np.nan]}, ValueError, "class_weights must be finite"),
        ({"class_weights": 2.0}, TypeError, "class_weights must be a list with a number per class"),
        ({"class_weights": {0: 1.0}}, TypeError, "class_weights must be a list with a number"),
        ({"class_weights": "12"}, TypeError, "class_weights must be a list with a number"),
        ({"weight": [1, 2]}, TypeError, "has no argument 'weight'. Write class_weights=..."),
    ],
)
def test_invalid_options_are_rejected(options, error, message):
    with pytest.raises(error, match=message):
        SoftmaxWithLoss(**options)


def test_class_weights_for_another_number_of_classes_are_rejected(backend):
    loss = SoftmaxWithLoss(class_weights=[1, 2])
    message = "class_weights must hold one weight for each of the 3 classes, got 2"
    with pytest.raises(ValueError, match=message):
        loss.forward(normal(backend, 5, 3), targets(backend, "labels"))


def test_repr():
    loss = SoftmaxWithLoss(1e-7, label_smoothing=0.1, class_weights=(1, 2.5))
    shown = "SoftmaxWithLoss(epsilon=1e-07, label_smoothing=0.1, class_weights=[1, 2.5])"
    assert repr(loss) == shown
    assert repr(eval(shown)) == shown
