"""Heat maps: a score over two hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_heat_map(
    panel: Axes,
    cells: Array,
    across: Sequence[str],
    upwards: Sequence[str],
    *,
    form: str = ".3g",
    **look: Any,
) -> Any:
    """Draw scores as cells with their numbers, the best one framed; cells that are NaN are empty.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    cells : numpy.ndarray, shape (rows, columns)
        The first row is the lowest.
    across, upwards : sequence of str
        Values of the columns and of the rows.
    form : str, default ".3g"
        Format specification of the numbers.
    **look
        For ``Axes.imshow``, such as ``vmin=0``.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    from matplotlib.patches import Rectangle

    image: Any = panel.imshow(
        cells, **{"origin": "lower", "aspect": "auto", "cmap": "viridis"} | look
    )
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(upwards)), upwards)
    panel.grid(visible=False)
    for (row, column), score in np.ndenumerate(cells):
        if not math.isnan(score):
            dark = float(image.norm(score)) < 0.6
            panel.text(
                column, row, format(score, form), ha="center", va="center", fontsize=9,
                color="white" if dark else "black",
            )  # fmt: skip
    row, column = map(int, np.unravel_index(np.nanargmax(cells), cells.shape))
    panel.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=3,
                  clip_on=False)
    )  # fmt: skip
    return image
