"""Random streams are reproducible and independent, and leave the global state alone."""

import json
import math
import random

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills import SGD, MultiLayerNetExtend, backend_of, to_host
from dlskills.arrays.random import MaskStream, fresh_seed, resolve_seed, stream


def test_a_stream_is_determined_by_its_seed_and_names():
    numbers = stream(7, "weights", "W1").standard_normal(5)

    np.testing.assert_array_equal(stream(7, "weights", "W1").standard_normal(5), numbers)


def test_stream_values_never_change():
    # if these numbers change, all published results that used a seed change
    assert stream(0, "weights", "W1").integers(0, 1000, 5).tolist() == [225, 444, 519, 488, 399]


def test_different_names_and_seeds_give_independent_streams():
    names = [("weights", "W1"), ("weights", "W2"), ("W1", "weights"), ("weights",), (), ("0", 1)]
    draws = [stream(seed, *name).standard_normal(4000) for seed in (0, 1) for name in names]

    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64, np.int64(5)])
def test_a_valid_seed_is_returned_as_an_int(seed):
    assert resolve_seed(seed) == seed
    assert type(resolve_seed(seed)) is int
    stream(resolve_seed(seed), "weights")


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "seed must be at least 0, got -1"),
        (1.0, TypeError, "seed must be a whole number, got 1.0"),
        ("1", TypeError, "seed must be a whole number, got '1'"),
    ],
)
def test_an_invalid_seed_is_rejected(seed, error, message):
    with pytest.raises(error, match=message):
        resolve_seed(seed)


def test_fresh_seeds_differ_and_fit_32_bits():
    seeds = {fresh_seed() for _ in range(20)}

    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert resolve_seed(None) != resolve_seed(None)


def test_a_network_records_its_fresh_seed():
    network = MultiLayerNetExtend(3, [4], 2)
    again = MultiLayerNetExtend(3, [4], 2, seed=network.seed)

    np.testing.assert_array_equal(again.params.flat, network.params.flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_are_the_same_on_every_device(backend, dtype):
    like = backend.zeros((20, 30), dtype)
    mask = MaskStream(3, "dropout", "1").draw(like, 0.3).values()

    assert backend_of(mask) == backend
    assert mask.dtype == (np.bool if backend.name == "numpy" else like.dtype)
    expected = MaskStream(3, "dropout", "1").draw(np.zeros((20, 30)), 0.3).values()
    np.testing.assert_array_equal(to_host(mask), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    shape=npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=17),
    ratio=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**64),
)
def test_masks_compare_numpys_random_numbers_with_the_ratio(backend, dtype, shape, ratio, seed):
    like, masks = backend.zeros(shape, dtype), MaskStream(seed, "dropout")
    philox = stream(seed, "dropout")
    for _ in range(2):
        size = like.size if isinstance(like.size, int) else math.prod(shape)
        whole_blocks = -(-size // 8) * 8
        uniform = philox.random(whole_blocks, dtype=np.float32)[:size].reshape(shape)
        np.testing.assert_array_equal(to_host(masks.draw(like, ratio).values()), uniform >= ratio)


def test_a_large_mask_matches_numpy(backend):
    like, masks = backend.zeros((1_000_003,), "float32"), MaskStream(5, "dropout")
    masks.state = 2**40  # far into the stream
    philox = stream(5, "dropout")
    philox.bit_generator.advance(2**40)
    uniform = philox.random(1_000_008, dtype=np.float32)[:1_000_003]
    np.testing.assert_array_equal(
        to_host(masks.draw(like, 0.3).values()), uniform >= np.float32(0.3)
    )


@pytest.mark.backends("cupy")
def test_a_mask_takes_one_launch_and_no_copy(backend, device_counters):
    like, masks = backend.zeros((128, 100), "float32"), MaskStream(0, "dropout")
    masks.draw(like, 0.5).values()
    with device_counters.counting() as added:
        for _ in range(3):
            masks.draw(like, 0.5).values()
    assert added["kernel_launches"] == 3
    assert added["copies_h2d"] == added["copies_d2h"] == 0


def test_masks_have_the_requested_ratio_of_zeros():
    mask = MaskStream(0, "dropout").draw(np.zeros(100_000), 0.3).values()

    assert set(np.unique(mask)) == {0, 1}
    sigma = np.sqrt(0.3 * 0.7 / mask.size)
    assert abs(mask.mean() - 0.7) < 4 * sigma


def test_restoring_the_state_repeats_the_masks(backend):
    like = backend.zeros((3, 5), "float32")
    masks = MaskStream(0, "dropout")
    masks.draw(like, 0.5).values()  # an odd number of elements leaves half a word unused
    state = masks.state
    first = [to_host(masks.draw(like, 0.5).values()) for _ in range(3)]
    masks.state = state
    again = [to_host(masks.draw(like, 0.5).values()) for _ in range(3)]

    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("seed", [None, 0])
def test_the_global_random_state_is_not_touched(seed):
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    network = MultiLayerNetExtend(3, [4], 2, use_dropout=True, use_batchnorm=True, seed=seed)
    x = np.ones((5, 3), dtype=np.float32)
    grads = network.gradient(x, np.zeros(5, dtype=int))
    SGD().update(network.params, grads)
    after = np.random.get_state(), random.getstate()  # noqa: NPY002

    np.testing.assert_equal(after, before)


def test_a_position_continues_the_stream_of_another_seed(backend):
    like = backend.zeros((7, 5), "float32")
    first, second = MaskStream(3, "dropout", "1"), MaskStream(4, "dropout", "2")
    for masks in (first, second, second):
        masks.draw(like, 0.3).values()
    second.position = json.loads(json.dumps(first.position))
    assert second.position == first.position
    for _ in range(3):
        masks = [to_host(stream.draw(like, 0.3).values()) for stream in (first, second)]
        np.testing.assert_array_equal(*masks)


def test_a_position_without_a_key_keeps_the_stream():
    like, masks, twin = np.zeros(9), MaskStream(3, "dropout"), MaskStream(3, "dropout")
    expected = masks.draw(like, 0.3).values()
    twin.draw(like, 0.3)
    twin.position = {"masks": 0}
    np.testing.assert_array_equal(twin.draw(like, 0.3).values(), expected)
