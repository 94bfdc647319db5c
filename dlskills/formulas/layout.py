"""Memory layout of a formula's operands, in terms of lines that reductions run along.

Every problem is reduced to at most three dimensions, in memory order:

===  ===========================================================
A    reduced axes outside of the lines
L    axes that are not reduced: one index per line
B    reduced axes inside of the lines
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
    """Return the broadcast shape of the operands that are arrays."""
    shapes = [tuple(o.shape) for o in operands if hasattr(o, "shape")]
    return shapes[0] if len(set(shapes)) == 1 else np.broadcast_shapes(*shapes)


@dataclass(frozen=True)
class Layout:
    """The dimensions of a problem and of each operand.

    Attributes
    ----------
    shape : tuple of int
        The broadcast shape of all operands.
    reduced : tuple of int
        The shape of a reduction's result, with 1 for each reduced axis.
    dims : str
        The dimensions of the problem, a subsequence of "ALB".
    sizes : dict of str to int
        The sizes of A, L and B, 1 for a missing dimension.
    kinds : tuple of str
        The dimensions in which each operand varies.
    """

    shape: Shape
    reduced: Shape
    dims: str
    sizes: dict[str, int]
    kinds: tuple[str, ...]

    def shape_of(self, kind: str) -> Shape:
        """Return the shape of an operand of a kind, with one dimension per letter."""
        return tuple(self.sizes[dim] for dim in kind)

    @property
    def length(self) -> int:
        """The number of elements in a line."""
        return self.sizes["A"] * self.sizes["B"]

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.sizes["L"]

    def __hash__(self) -> int:
        return hash((self.shape, self.reduced, self.kinds))


# For each merged dimension whether it is reduced, and the letters of these dimensions.
_PATTERNS = {(True,): "B", (False, True): "LB", (True, False): "AL", (True, False, True): "ALB"}


@functools.lru_cache(1024)
def layout_of(shapes: tuple[Shape | None, ...], axis: Shape | None) -> Layout | None:
    """Return the layout of operands.

    Parameters
    ----------
    shapes : tuple of tuple of int, or None
        The shapes of the operands; None for a number.
    axis : tuple of int, or None
        The axes of the reductions, as positions in the broadcast shape.

    Returns
    -------
    Layout or None
        None if the problem needs more than three dimensions or has no elements.
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
    if axis is None:  # any dimension may serve as a line
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
