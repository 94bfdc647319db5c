"""Layouts: operands as lines with at most three dimensions."""

import numpy as np
import pytest

from dlskills.formulas.layout import layout_of


@pytest.mark.parametrize(
    ("shapes", "axis", "dims", "sizes", "kinds"),
    [
        (((6, 4), None), None, "B", (1, 1, 24), ("B", "")),
        (((6, 4), (4,)), None, "LB", (1, 6, 4), ("LB", "B")),
        (((6, 1), (4,)), None, "LB", (1, 6, 4), ("L", "B")),
        (((2, 3, 4), (3, 1)), None, "ALB", (2, 3, 4), ("ALB", "L")),
        (((6, 4), (4,), (1, 4), (6, 1)), (0,), "AL", (6, 4, 1), ("AL", "L", "L", "A")),
        (((6, 4), (4,), (6, 1)), (1,), "LB", (1, 6, 4), ("LB", "B", "L")),
        (((6, 4), (4,), (6, 1)), (-1,), "LB", (1, 6, 4), ("LB", "B", "L")),
        (((5, 3, 2, 7), (1, 3, 1, 1)), (0, 2, 3), "ALB", (5, 3, 14), ("ALB", "L")),
        (((5, 3, 7), ()), (0, 1, 2), "B", (1, 1, 105), ("B", "")),
        (((2, 5, 7), (7,)), (2,), "LB", (1, 10, 7), ("LB", "B")),
        (((), None), None, "B", (1, 1, 1), ("B", "")),
    ],
)
def test_adjacent_dimensions_merge(shapes, axis, dims, sizes, kinds):
    layout = layout_of(shapes, axis)
    assert layout.dims == dims
    assert tuple(layout.sizes[dim] for dim in "ALB") == sizes
    assert layout.kinds == kinds
    assert layout.lines * layout.length == np.prod(layout.shape, dtype=int)


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        (((0, 4),), (0,)),  # no elements
        (((2, 3, 4, 5), (3, 1, 5)), None),  # four dimensions
        (((2, 3, 4),), (1,)),  # lines on both sides
    ],
)
def test_no_layout_for_more_than_three_dimensions_or_no_elements(shapes, axis):
    assert layout_of(shapes, axis) is None


def test_a_reduction_keeps_its_axes():
    layout = layout_of(((5, 3, 2, 7), (3, 1, 1)), (0, 2, 3))
    assert layout.reduced == (1, 3, 1, 1)
    assert layout.shape_of("AL") == (5, 3)
