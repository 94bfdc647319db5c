"""Random masks in formulas on the engine `cuda`, computed in the kernel, match NumPy's."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from dlskills.arrays.random import MaskStream
from dlskills.formulas.formula import along, elementwise

pytestmark = pytest.mark.backends("cupy")


@elementwise
def dropped(xp):
    return lambda x, mask, scale: x * mask * scale


@elementwise
def two_masks(xp):
    return lambda x, mask, other, y: (mask + 2 * other, x * y * mask)


@along
def summed(xp):
    return lambda x, mask, axis: xp.sum(x * mask, axis=axis, keepdims=True)


def masks(backend, shape, ratio, uses_before=0, seed=0):
    """Return the same mask on the device, and its values on the host."""
    here, host = MaskStream(seed, "mask"), MaskStream(seed, "mask")
    for _ in range(uses_before):
        here.draw(np.empty(5), 0.5), host.draw(np.empty(5), 0.5)
    return (
        here.draw(backend.xp.empty(shape), ratio),
        host.draw(np.empty(shape), ratio).values().astype("float64"),
    )


@hypothesis.given(
    shape=st.lists(st.integers(0, 40), min_size=0, max_size=3).map(tuple),
    ratio=st.floats(0, 1),
    uses_before=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_masks_match_numpy(backend, shape, ratio, uses_before, seed, dtype):
    mask, wanted = masks(backend, shape, ratio, uses_before, seed)
    result = dropped(backend.xp.ones(shape, dtype=dtype), mask, 2.0)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.get(), 2 * wanted)
    np.testing.assert_array_equal(mask.values().get(), wanted)


@pytest.mark.parametrize("shape", [(1,), (8,), (257, 3), (100, 100)])
def test_a_mask_takes_no_memory_and_no_launch(shape, backend, device_counters):
    x = backend.xp.ones(shape, dtype="float32")
    out = backend.xp.empty(shape, dtype="float32")
    mask, wanted = masks(backend, shape, 0.5)
    dropped(x, mask, 2.0, out=[out])
    with device_counters.counting() as added:
        for _ in range(2):  # forward and backward use the same mask
            dropped(x, mask, 2.0, out=[out])
            np.testing.assert_array_equal(out.get(), 2 * wanted)
    assert added["kernel_launches"] == 2
    assert added["allocs"] == added["copies_h2d"] == 0


def test_several_masks_and_numbers_on_the_device(backend):
    x, y = backend.xp.ones((9, 5)), backend.asarray(np.float32(3.0))
    mask, wanted = masks(backend, (9, 5), 0.5)
    other, other_wanted = masks(backend, (9, 5), 0.3, seed=1)
    both, product = two_masks(x, mask, other, y)
    np.testing.assert_array_equal(both.get(), wanted + 2 * other_wanted)
    np.testing.assert_array_equal(product.get(), 3 * wanted)


@pytest.mark.parametrize("shape", [(5,), (9, 1), (2, 9, 5)])
def test_operands_of_other_shapes_combine_with_the_mask(shape, backend):
    mask, wanted = masks(backend, (9, 5), 0.5)
    result = dropped(backend.xp.ones(shape), mask, 2.0)
    np.testing.assert_array_equal(result.get(), np.ones(shape) * 2 * wanted)


def test_masks_apply_to_any_strides(backend):
    mask, wanted = masks(backend, (9, 5), 0.5)
    x = backend.asarray(np.arange(45.0).reshape(5, 9)).T
    np.testing.assert_array_equal(dropped(x, mask, 1.0).get(), x.get() * wanted)


def test_reductions_accept_a_mask(backend):
    mask, wanted = masks(backend, (9, 5), 0.5)
    sums = summed(backend.xp.ones((9, 5)), mask, axis=0)
    np.testing.assert_array_equal(sums.get(), wanted.sum(0, keepdims=True))
