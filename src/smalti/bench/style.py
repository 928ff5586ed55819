"""The look that all figures share: quiet, colour-blind-safe, readable at the width of a phone.

Figures are 5 inches wide at 150 dots per inch, so that their 11-point type is still 11 pixels high on a screen 360
pixels wide. Colours are those of Okabe and Ito (2008).
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from smalti.bench.records import write_bytes

__all__ = [
    "BLACK",
    "BLUE",
    "CODEC_COLOURS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "SKY",
    "VERMILION",
    "WIDTH",
    "drawing",
    "tidy",
]

WIDTH = 5.0
DOTS_PER_INCH = 150
PALETTE_COLOURS = 128

BLACK = "#1b1b1f"
GREY = "#77777f"
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
SKY = "#56B4E9"
PINK = "#CC79A7"

CODEC_COLOURS = {"JPEG": ORANGE, "WebP": GREEN, "JPEG 2000": SKY, "JPEG XL": PINK, "AVIF": BLACK}
"""Of the classical codecs, the same in every figure."""

RULES: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "text.color": BLACK,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def drawing(path: Path, height: float) -> Iterator[Figure]:
    """Give an empty figure `height` inches high in the shared style, and write it as PNG when the block ends.

    The figure is known to no window system, and its bytes depend on what is drawn alone.
    """
    with mpl.rc_context(RULES):
        figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")
        yield figure
        drawn, small = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png")
        # Lines, type and grey digits need no more than a palette, which is a third of the size.
        with Image.open(drawn) as image:
            image.convert("RGB").quantize(PALETTE_COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        write_bytes(path, small.getvalue())


def tidy(axes: Axes) -> None:
    """Give axes their faint grid, below everything drawn."""
    axes.grid(axis="y", color="#e4e4e8", linewidth=0.8)
    axes.set_axisbelow(True)
