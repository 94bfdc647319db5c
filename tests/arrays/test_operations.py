"""What the libraries of arrays spell differently."""

import numpy as np
import pytest

from dlskills import to_host
from dlskills.arrays.operations import matmul_into, sum_into


def test_matmul_into_writes_where_it_is_told(backend):
    a = backend.asarray([[1.0, 2.0]], "float32")
    b = backend.asarray([[3.0, 0.0], [4.0, 1.0]], "float32")
    flat = backend.zeros((4,), "float32")
    matmul_into(backend.xp.reshape(flat[1:3], (1, 2)), a, b)

    assert to_host(flat).tolist() == [0, 11, 2, 0]


@pytest.mark.parametrize("axis", [0, (0, 2)])
def test_sum_into_writes_where_it_is_told(backend, axis):
    array = np.arange(6.0).reshape((3, 2) if axis == 0 else (3, 2, 1))
    flat = backend.zeros((4,), "float64")
    sum_into(flat[1:3], backend.asarray(array), axis)

    assert to_host(flat).tolist() == [0, 6, 9, 0]
