"""Dropout in the tutorial's form and in the inverted form."""

import numpy as np
import pytest
from gradient_check import assert_backward, normal

from dlskills import Affine, Dropout, MultiLayerNetExtend, Sequential, to_host

both_forms = pytest.mark.parametrize("inverted", [False, True])


@both_forms
@pytest.mark.parametrize("train_flg", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 2, 2)])
def test_backward_with_a_fixed_mask(backend, inverted, train_flg, shape):
    assert_backward(Dropout(0.3, inverted=inverted, seed=0), normal(backend, *shape), train_flg)


@both_forms
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_kept_fraction_and_scale(backend, inverted, ratio):
    ones = backend.zeros((200, 200), "float64") + 1.0
    y = to_host(Dropout(ratio, inverted=inverted, seed=0).forward(ones))
    kept = y[y != 0]

    np.testing.assert_allclose(kept, 1 / (1 - ratio) if inverted else 1)
    sigma = np.sqrt(ratio * (1 - ratio) / y.size)
    assert abs(kept.size / y.size - (1 - ratio)) < 4 * sigma


@both_forms
def test_output_at_inference(backend, inverted):
    x = normal(backend, 5, 4)
    y = Dropout(0.2, inverted=inverted).forward(x, train_flg=False)

    np.testing.assert_allclose(to_host(y), to_host(x) * (1 if inverted else 0.8), rtol=1e-15)


@both_forms
def test_training_and_inference_agree_on_average(backend, inverted):
    layer = Dropout(0.3, inverted=inverted, seed=0)
    x = normal(backend, 4, 5)
    passes = 2000
    many = backend.xp.broadcast_to(x, (passes, 4, 5)) + 0.0
    mean = to_host(layer.forward(many)).mean(axis=0)
    at_inference = to_host(layer.forward(x, train_flg=False))

    scale = np.abs(to_host(x)) / (0.7 if inverted else 1)
    assert (np.abs(mean - at_inference) < 4.5 * scale * np.sqrt(0.3 * 0.7 / passes)).all()


@both_forms
def test_each_forward_draws_a_new_mask_that_backward_uses(backend, inverted):
    layer = Dropout(0.5, inverted=inverted, seed=0)
    ones = backend.zeros((10, 10), "float64") + 1.0
    masks = []
    for _ in range(3):
        masks.append(to_host(layer.forward(ones)))
        np.testing.assert_array_equal(to_host(layer.backward(ones)), masks[-1])
    assert len({mask.tobytes() for mask in masks}) == 3


def test_the_same_seed_gives_the_same_masks_everywhere(backend):
    ones = np.ones((10, 10))
    here, there = Dropout(seed=4), Dropout(seed=4)
    for _ in range(3):
        expected = here.forward(ones)
        np.testing.assert_array_equal(to_host(there.forward(backend.asarray(ones))), expected)
    assert (Dropout(seed=5).forward(ones) != Dropout(seed=4).forward(ones)).any()
    assert (Dropout().forward(ones) != Dropout().forward(ones)).any()


def test_each_layer_of_a_network_has_its_own_stream():
    ones = np.ones((10, 10))

    def masks(seed):
        network = MultiLayerNetExtend(3, [10, 10], 2, use_dropout=True, seed=seed)
        return [layer.forward(ones) for layer in network.layers if isinstance(layer, Dropout)]

    first, second = masks(0)
    assert (first != second).any()
    np.testing.assert_array_equal(masks(0), [first, second])
    assert (masks(1)[0] != first).any()


def test_a_network_keeps_a_layers_own_seed():
    ones = np.ones((10, 10))
    layer = Dropout(seed=4)
    Sequential([Affine(3, 10), layer], seed=0)

    np.testing.assert_array_equal(layer.forward(ones), Dropout(seed=4).forward(ones))


@both_forms
def test_a_ratio_of_0_keeps_all_units(backend, inverted):
    x = normal(backend, 5, 4)
    layer = Dropout(0, inverted=inverted)
    for train_flg in (True, False):
        np.testing.assert_array_equal(to_host(layer.forward(x, train_flg)), to_host(x))
        np.testing.assert_array_equal(to_host(layer.backward(x)), to_host(x))


@pytest.mark.parametrize("ratio", [1, 1.5, -0.1, float("nan")])
def test_an_invalid_ratio_is_rejected(ratio):
    with pytest.raises(ValueError, match="dropout_ratio must be .*at least 0 and less than 1, got"):
        Dropout(ratio)


def test_the_tutorials_arguments_work():
    layer = Dropout(dropout_ratio=0.5)
    with pytest.raises(ValueError, match="dropout_ratio must be .*at least 0 and less than 1, got"):
        layer.dropout_ratio = 2.0
    y = layer.forward(np.ones((4, 3)), train_flg=True)

    np.testing.assert_array_equal(layer.backward(np.ones((4, 3))), y)


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_an_invalid_seed_is_rejected(seed):
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        Dropout(seed=seed)


@pytest.mark.parametrize(("keyword", "own"), [("p", "dropout_ratio"), ("rate", "dropout_ratio")])
def test_keywords_of_other_libraries_are_rejected_with_the_right_name(keyword, own):
    with pytest.raises(TypeError, match=f"Dropout has no argument '{keyword}'. Write {own}=..."):
        Dropout(**{keyword: 0.5})
