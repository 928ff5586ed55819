"""The style of all figures, and tables as data with two renderings, HTML and Markdown.

Figures are 5 inches wide at 150 dots per inch, so that 11-point type is still 11 pixels high on a screen 360 pixels
wide. Colours are safe for colour-blind readers (Okabe and Ito, 2008).
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
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
    "DASHES",
    "GREY",
    "LONG_DASHES",
    "VERMILION",
    "Table",
    "drawing",
    "signed",
    "tidy",
    "to_html",
    "to_markdown",
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

DASHES, LONG_DASHES = (0, (2, 1.2)), (0, (4, 3))
"""Line styles: of curves, and of reference lines."""

CODEC_COLOURS = {"JPEG": ORANGE, "WebP": GREEN, "JPEG 2000": SKY, "JPEG XL": PINK, "AVIF": BLACK}
"""Colours of the classical codecs, the same in every figure."""

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
    """Yield an empty figure `height` inches high in the shared style, and write it as PNG when the block ends.

    The figure needs no window system, and its bytes depend only on its content.
    """
    with mpl.rc_context(RULES):
        figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")
        yield figure
        drawn, small = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png")
        # A palette is enough for lines, type and grey digits, and takes a third of the bytes.
        with Image.open(drawn) as image:
            image.convert("RGB").quantize(PALETTE_COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        write_bytes(path, small.getvalue())


def tidy(axes: Axes) -> None:
    """Add a faint grid to axes, below everything else."""
    axes.grid(axis="y", color="#e4e4e8", linewidth=0.8)
    axes.set_axisbelow(True)


LONG_NAME = 16
"""Names of rows longer than this are wrapped, so that numbers are visible on a narrow screen."""


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    heading : the line above it; note : an explanation below it
    columns : the titles; rows : one cell per column, the first names the row
    strong : indices of rows to emphasise
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    strong: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row} has {len(row)} cells for the {len(self.columns)} columns {self.columns}")


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; a negative one gets a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def to_html(table: Table) -> str:
    """Return the table as HTML; its text is escaped."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in table.columns)
    body = []
    for number, row in enumerate(table.rows):
        cells = f'<th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        strong = ' class="strong"' if number in table.strong else ""
        body.append(f"<tr{strong}>{cells}</tr>")
    words = ' class="words"' if max((len(row[0]) for row in table.rows), default=0) > LONG_NAME else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<figure class="table"><figcaption>{escape(table.heading)}</figcaption>'
        f'<div class="scroll" tabindex="0"><table{words}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}</figure>"
    )


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, with its heading in bold above."""
    columns = tuple(title.replace("|", "\\|") for title in table.columns)
    lines = [_line(columns), _line(("---",) + ("---:",) * (len(table.columns) - 1))]
    for number, row in enumerate(table.rows):
        cells = tuple(cell.replace("|", "\\|") for cell in row)
        lines.append(_line((f"**{cells[0]}**", *cells[1:]) if number in table.strong else cells))
    note = f"\n\n{table.note}" if table.note else ""
    return f"**{table.heading}**\n\n" + "\n".join(lines) + note + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
