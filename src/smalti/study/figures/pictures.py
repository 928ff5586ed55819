"""Test digits with their reconstructions (Figure 4), and the codebook atlas.

The atlas shows every code in use decoded alone, the most used first, with its share of the tokens.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.bench.style import GREY, drawing
from smalti.study.results import Pictures

__all__ = ["draw_atlas", "draw_digits"]

DIGIT_COLUMNS = 8
GAP = 2

ATLAS_COLUMNS = 6
MOST_CODES = 72
"""More would be too small to see; the least used ones are skipped."""


def draw_digits(pictures: dict[str, Pictures], path: Path) -> None:
    """Draw the original digits and, for each name in `pictures`, a row of their reconstructions.

    All pictures must be of the same originals.
    """
    originals = next(iter(pictures.values())).originals
    rows = {"original": originals, **{name: each.reconstructions for name, each in pictures.items()}}
    with drawing(path, 0.55 * len(rows) + 0.1) as figure:
        for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
            axes.imshow(255 - _strip(images[:DIGIT_COLUMNS]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_yticks([14], [name])
            axes.tick_params(length=0, labelbottom=False)
            for side in axes.spines.values():
                side.set_visible(False)


def _strip(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [n, H, W] side by side, with gaps."""
    padded = np.pad(images, ((0, 0), (0, 0), (GAP, GAP)))
    return np.concatenate(list(padded), axis=1)


def draw_atlas(pictures: Pictures, path: Path) -> int:
    """Draw the codes of `pictures` and return how many were drawn."""
    drawn = min(len(pictures.atlas), MOST_CODES)
    shares = pictures.uses / pictures.uses.sum()
    columns = ATLAS_COLUMNS if drawn <= 6 * ATLAS_COLUMNS else 2 * ATLAS_COLUMNS - 4
    rows = math.ceil(drawn / columns)
    cell = 4.9 / columns
    with drawing(path, rows * (cell + 0.2)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for code in range(drawn):
            axes = grid[code]
            axes.imshow(255 - _centre(pictures.atlas[code]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], transform=axes.transAxes, color=GREY, linewidth=0.6)
            axes.text(0.5, -0.06, _share(shares[code]), transform=axes.transAxes, ha="center", va="top", fontsize=10)
    return drawn


def _centre(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle half of an image [H, W], which one token can change."""
    rows, columns = (side // 4 for side in image.shape)
    return image[rows:-rows, columns:-columns]


def _share(share: float) -> str:
    return f"{100 * share:.1f}%" if share >= 0.0005 else "<0.1%"
