"""How the arrays of a formula lie beside each other: lines, and what lies along them.

Every problem is brought to three dimensions, in the order in which they lie in memory:

===  ===========================================================
A    what lies along a line, and outside of the lines
L    the lines: what reductions leave
B    what lies along a line, and inside
===  ===========================================================

Batch Norm of (N, C) is "AL" (A = N, L = C), of (N, C, H, W) "ALB" (B = H W); softmax of (N, C) is
"LB" (L = N, B = C). A formula without an axis over arrays of one shape is "B".
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

Shape = tuple[int, ...]


def broadcast_shape(operands: Sequence[Any]) -> Shape:
    """The broadcast shape of operands; numbers have none."""
    shapes = [tuple(o.shape) for o in operands if hasattr(o, "shape")]
    return shapes[0] if len(set(shapes)) == 1 else np.broadcast_shapes(*shapes)


@dataclass(frozen=True)
class Layout:
    """A formula's operands as parts of one problem.

    Attributes
    ----------
    shape : tuple of int
        All operands broadcast.
    reduced : tuple of int
        The shape of a reduction, with 1 for each reduced axis.
    dims : str
        The dimensions that the problem has, of "ALB".
    sizes : dict of str to int
        The size of each of A, L and B, 1 for those that it does not have.
    kinds : tuple of str
        The dimensions in which each operand varies.
    """

    shape: Shape
    reduced: Shape
    dims: str
    sizes: dict[str, int]
    kinds: tuple[str, ...]

    def shape_of(self, kind: str) -> Shape:
        """The shape of an operand of a kind, with one dimension for each letter."""
        return tuple(self.sizes[dim] for dim in kind)

    @property
    def length(self) -> int:
        """The number of elements of a line."""
        return self.sizes["A"] * self.sizes["B"]

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.sizes["L"]

    def __hash__(self) -> int:
        return hash((self.shape, self.reduced, self.kinds))


# Whether the dimensions that don't merge are reduced, and the letters that they get.
_PATTERNS = {(True,): "B", (False, True): "LB", (True, False): "AL", (True, False, True): "ALB"}


@functools.lru_cache(1024)
def layout_of(shapes: tuple[Shape | None, ...], axis: Shape | None) -> Layout | None:
    """The layout of operands; None where three dimensions don't do, or nothing is to be done.

    Parameters
    ----------
    shapes : tuple of tuple of int, or None
        None for a number.
    axis : tuple of int, or None
        The axes of reductions, as positions in the broadcast shape.
    """
    shape = np.broadcast_shapes(*(s for s in shapes if s is not None))
    padded = [(1,) * (len(shape) - len(s)) + s for s in shapes if s is not None]
    axes = () if axis is None else normalize_axis_tuple(axis, len(shape), "axis")
    if 0 in shape:
        return None
    groups: list[tuple[bool, tuple[bool, ...], int]] = []
    for d, size in enumerate(shape):
        if size == 1:
            continue
        varies = tuple(s[d] > 1 for s in padded)
        if groups and groups[-1][:2] == (d in axes, varies):
            groups[-1] = (*groups[-1][:2], groups[-1][2] * size)
        else:
            groups.append((d in axes, varies, size))
    if axis is None:  # any dimension may be taken for a line
        dims = ["B", "B", "LB", "ALB"][len(groups)] if len(groups) <= 3 else None
    else:
        dims = _PATTERNS.get(tuple(group[0] for group in groups))
    if dims is None:
        return None
    groups = groups or [(True, (True,) * len(padded), 1)]
    sizes = dict.fromkeys("ALB", 1) | dict(zip(dims, (g[2] for g in groups), strict=True))
    of_arrays = iter(
        "".join(itertools.compress(dims, (g[1][i] for g in groups))) for i in range(len(padded))
    )
    kinds = tuple("" if s is None else next(of_arrays) for s in shapes)
    reduced = tuple(1 if d in axes else size for d, size in enumerate(shape))
    return Layout(shape, reduced, dims, sizes, kinds)
