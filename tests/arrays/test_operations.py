"""Operations whose spelling differs between array libraries."""

import numpy as np
import pytest

from dlskills import to_host
from dlskills.arrays.operations import matmul_into, repeats_memory, sum_into


def test_matmul_into_writes_into_the_output(backend):
    a = backend.asarray([[1.0, 2.0]], "float32")
    b = backend.asarray([[3.0, 0.0], [4.0, 1.0]], "float32")
    flat = backend.zeros((4,), "float32")
    matmul_into(backend.xp.reshape(flat[1:3], (1, 2)), a, b)

    assert to_host(flat).tolist() == [0, 11, 2, 0]


@pytest.mark.parametrize("axis", [0, (0, 2)])
def test_sum_into_writes_into_the_output(backend, axis):
    array = np.arange(6.0).reshape((3, 2) if axis == 0 else (3, 2, 1))
    flat = backend.zeros((4,), "float64")
    sum_into(flat[1:3], backend.asarray(array), axis)

    assert to_host(flat).tolist() == [0, 6, 9, 0]


@pytest.mark.parametrize(
    "view",
    [
        lambda xp, a: xp.broadcast_to(a[:1], (3, 4)),
        lambda xp, a: xp.broadcast_to(a[:, :1], (4, 4)),
        lambda xp, a: xp.broadcast_to(a[0, 0], (2, 1, 3)),
    ],
)
@pytest.mark.backends("numpy", "torch", "cupy")
def test_broadcast_arrays_repeat_memory(backend, view):
    array = backend.asarray(np.arange(16.0).reshape(4, 4))
    assert repeats_memory(view(backend.xp, array))


@pytest.mark.parametrize("shape", [(2, 3), (3,)])
def test_windows_repeat_memory(shape):
    array = np.arange(6.0)
    assert repeats_memory(np.lib.stride_tricks.as_strided(array, shape, (4, 4)[: len(shape)]))
    assert repeats_memory(np.lib.stride_tricks.sliding_window_view(array, 3))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[1:, 2],
        lambda a: a[:, 1::2],
        lambda a: a[:2, :0],
        lambda a: a[1, 1, ...],
        lambda a: a[None, :1, None, ...],
    ],
)
def test_other_views_do_not_repeat_memory(backend, view):
    assert not repeats_memory(view(backend.asarray(np.arange(16.0).reshape(4, 4))))
    assert not repeats_memory(np.arange(6.0)[::-2])
