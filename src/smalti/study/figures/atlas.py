"""The codebook atlas: every code in use decoded alone, the most used first, with its share of the tokens."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.study.figures.style import GREY, drawing
from smalti.study.results import Pictures

__all__ = ["draw_atlas"]

COLUMNS = 6
MOST_CODES = 72
"""More would be too small to see; the rest are the least used."""


def draw_atlas(pictures: Pictures, path: Path) -> int:
    """Draw the codes of `pictures` and return how many were drawn."""
    shown = min(len(pictures.atlas), MOST_CODES)
    shares = pictures.uses / pictures.uses.sum()
    columns = COLUMNS if shown <= 6 * COLUMNS else 2 * COLUMNS - 4
    rows = math.ceil(shown / columns)
    cell = 4.9 / columns
    with drawing(path, rows * (cell + 0.2)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for code in range(shown):
            axes = grid[code]
            axes.imshow(255 - _centre(pictures.atlas[code]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], transform=axes.transAxes, color=GREY, linewidth=0.6)
            axes.text(0.5, -0.06, _share(shares[code]), transform=axes.transAxes, ha="center", va="top", fontsize=10)
    return shown


def _centre(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle half of an image [H, W]: what one token reaches."""
    rows, columns = (side // 4 for side in image.shape)
    return image[rows:-rows, columns:-columns]


def _share(share: float) -> str:
    return f"{100 * share:.1f}%" if share >= 0.0005 else "<0.1%"
