"""Mini-batches: contents of an epoch, reproducibility and errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills.data import Batches

sizes = st.integers(1, 300)
batch_sizes = st.integers(1, 400)
seeds = st.integers(0, 2**64)


@given(sizes, batch_sizes, seeds)
def test_an_epoch_contains_every_sample_once_with_a_partial_last_batch(size, batch_size, seed):
    batches = Batches(size, batch_size, seed=seed)
    for _ in range(2):
        epoch = list(batches)
        assert len(epoch) == len(batches) == math.ceil(size / batch_size)
        assert all(batch.dtype == np.int64 and batch.ndim == 1 for batch in epoch)
        assert all(len(batch) == batch_size for batch in epoch[:-1])
        assert len(epoch[-1]) == size - batch_size * (len(epoch) - 1)
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(size))


@pytest.mark.parametrize("remainder", ["drop", "fold"])
@given(size=sizes, batch_size=batch_sizes, seed=seeds)
def test_leftover_samples_are_dropped_or_folded_into_the_last_batch(
    remainder, size, batch_size, seed
):
    batches = Batches(size, batch_size, remainder=remainder, seed=seed)
    kept = Batches(size, batch_size, seed=seed).epoch()
    epoch = list(batches)
    assert len(epoch) == len(batches) == max(size // batch_size, 1)
    assert all(len(batch) == batch_size for batch in epoch[:-1])
    together = np.concatenate(epoch)
    np.testing.assert_array_equal(together, kept[: len(together)])  # the same permutation
    left_over = size % batch_size
    if remainder == "fold" or size < batch_size:
        assert len(together) == size
    else:
        assert len(together) == size - left_over


@given(sizes, batch_sizes)
def test_bounds_are_a_sequence(size, batch_size):
    batches = Batches(size, batch_size, remainder="fold", seed=0)
    bounds = list(batches.bounds)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == size
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert batches.bounds[-1] == bounds[-1]
    assert batches.bounds[1:] == bounds[1:]
    assert batches.largest == max(stop - start for start, stop in bounds)
    with pytest.raises(IndexError):
        batches.bounds[len(bounds)]


def test_each_epoch_drops_different_samples():
    batches = Batches(10, 3, remainder="drop", seed=0)
    assert set(np.concatenate([batches.epoch() for _ in range(10)])) == set(range(10))


def test_remainder_is_validated():
    with pytest.raises(
        ValueError, match="remainder must be 'keep' for batches with replacement, got 'drop'"
    ):
        Batches(10, 3, replacement=True, remainder="drop")
    with pytest.raises(ValueError, match="remainder 'dorp' is not known; did you mean 'drop'"):
        Batches(10, 3, remainder="dorp")


@given(sizes, batch_sizes, seeds)
def test_with_replacement_every_batch_is_full_and_within_the_data(size, batch_size, seed):
    batches = Batches(size, batch_size, replacement=True, seed=seed)
    epoch = list(batches)
    assert len(epoch) == len(batches) == math.ceil(size / batch_size)
    assert all(batch.dtype == np.int64 and batch.shape == (batch_size,) for batch in epoch)
    assert all(batch.min() >= 0 and batch.max() < size for batch in epoch)


@given(sizes, batch_sizes, seeds, st.booleans())
def test_a_seed_fixes_the_batches_of_both_interfaces(size, batch_size, seed, replacement):
    one = Batches(size, batch_size, replacement=replacement, seed=seed)
    two = Batches(size, batch_size, replacement=replacement, seed=seed)
    for _ in range(3):
        np.testing.assert_array_equal(np.concatenate(list(one)), two.epoch())


@pytest.mark.parametrize("replacement", [False, True])
def test_epochs_differ(replacement):
    batches = Batches(100, 10, replacement=replacement, seed=0)
    assert not np.array_equal(batches.epoch(), batches.epoch())


def test_an_epoch_is_shuffled():
    assert not np.array_equal(Batches(100, 10, seed=0).epoch(), np.arange(100))


def test_different_seeds_give_different_batches():
    assert not np.array_equal(Batches(100, 10, seed=0).epoch(), Batches(100, 10, seed=1).epoch())


def test_draws_with_replacement_are_uniform_and_miss_a_fraction_of_1_over_e():
    drawn = Batches(10_000, 100, replacement=True, seed=0).epoch()
    assert len(np.unique(drawn)) / 10_000 == pytest.approx(1 - math.exp(-1), abs=0.02)
    assert drawn.mean() == pytest.approx(5_000, abs=150)  # five standard errors


def test_a_batch_size_above_the_data_gives_one_batch_of_all_samples():
    (batch,) = Batches(3, 100, seed=0)
    assert sorted(batch) == [0, 1, 2]


def test_a_batch_drawn_with_replacement_may_be_larger_than_the_data():
    (batch,) = Batches(3, 100, replacement=True, seed=0)
    assert batch.shape == (100,)
    assert set(batch) == {0, 1, 2}


def test_the_stream_of_a_seed_never_changes():
    """A change here changes every recorded training run; these are recorded values."""
    assert Batches(8, 3, seed=42).epoch().tolist() == [3, 4, 2, 7, 6, 1, 5, 0]
    drawn = Batches(8, 3, replacement=True, seed=42).epoch()
    assert drawn.tolist() == [0, 6, 5, 3, 3, 6, 0, 5, 1]


def test_without_a_seed_a_fresh_one_is_drawn_and_recorded():
    first, second = Batches(100, 10), Batches(100, 10)
    assert first.seed != second.seed
    np.testing.assert_array_equal(Batches(100, 10, seed=first.seed).epoch(), first.epoch())


def test_a_given_generator_is_used_and_exposed():
    generator = np.random.Generator(np.random.PCG64(7))
    batches = Batches(100, 10, seed=generator)
    assert batches.seed is None
    assert batches.generator is generator
    np.testing.assert_array_equal(batches.epoch(), Batches(100, 10, seed=7).epoch())


def test_the_generators_state_resumes_the_stream():
    batches = Batches(100, 10, seed=7)
    batches.epoch()
    state = batches.generator.bit_generator.state
    expected = batches.epoch()
    resumed = Batches(100, 10, seed=0)
    resumed.generator.bit_generator.state = state
    np.testing.assert_array_equal(resumed.epoch(), expected)


def test_the_global_random_state_is_neither_read_nor_written():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    list(Batches(100, 10))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_numpy_integers_are_integers():
    batches = Batches(np.int32(5), np.uint8(2), replacement=np.bool_(False), seed=np.int64(3))
    assert (batches.size, batches.batch_size, batches.seed) == (5, 2, 3)
    assert all(type(value) is int for value in (batches.size, batches.batch_size, batches.seed))
    assert batches.replacement is False


def test_repr_shows_how_batches_are_drawn():
    assert repr(Batches(5, 2, seed=3)) == "Batches(5, 2, replacement=False, seed=3)"
    folded = Batches(5, 2, remainder="fold", seed=3)
    assert repr(folded) == "Batches(5, 2, replacement=False, remainder='fold', seed=3)"
    generator = np.random.default_rng(0)
    assert "seed=Generator(PCG64)" in repr(Batches(5, 2, seed=generator))


NOT_INTEGERS = [2.0, "2", True, np.bool_(True), None, np.array([1, 2]), np.array(2.0)]


@pytest.mark.parametrize("value", NOT_INTEGERS, ids=repr)
def test_values_that_are_not_integers_are_refused(value):
    with pytest.raises(TypeError, match=r"^size must be a whole number, got .*len\(x_train"):
        Batches(value, 1)
    with pytest.raises(TypeError, match=r"^batch_size must be a whole number, got .*100"):
        Batches(1, value)
    if value is not None:
        with pytest.raises(TypeError, match=r"^seed must be a whole number, got .*fresh"):
            Batches(1, 1, seed=value)


@pytest.mark.parametrize("value", [0, -1])
def test_sizes_below_1_are_refused(value):
    with pytest.raises(ValueError, match=f"^size must be at least 1, got {value}; pass"):
        Batches(value, 1)
    with pytest.raises(ValueError, match=f"^batch_size must be at least 1, got {value}; pass"):
        Batches(1, value)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"^seed must be at least 0, got -1; pass"):
        Batches(1, 1, seed=-1)


@pytest.mark.parametrize("value", [1, None, "yes"], ids=repr)
def test_a_replacement_that_is_not_a_bool_is_refused(value):
    with pytest.raises(TypeError, match=f"^replacement must be True or False, got {value!r}"):
        Batches(1, 1, replacement=value)
