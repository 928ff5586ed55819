"""Figure 4: test digits and their reconstructions for each codebook size."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.study.figures.style import drawing
from smalti.study.results import Pictures

__all__ = ["draw_digits"]

COLUMNS = 8
GAP = 2


def draw_digits(pictures: dict[str, Pictures], path: Path) -> None:
    """Draw the original digits and, for each name in `pictures`, a row of their reconstructions.

    All pictures must be of the same originals.
    """
    originals = next(iter(pictures.values())).originals
    rows = {"original": originals, **{name: each.reconstructions for name, each in pictures.items()}}
    with drawing(path, 0.55 * len(rows) + 0.1) as figure:
        for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
            axes.imshow(255 - _strip(images[:COLUMNS]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_yticks([14], [name])
            axes.tick_params(length=0, labelbottom=False)
            for side in axes.spines.values():
                side.set_visible(False)


def _strip(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [n, H, W] side by side, with gaps."""
    padded = np.pad(images, ((0, 0), (0, 0), (GAP, GAP)))
    return np.concatenate(list(padded), axis=1)
