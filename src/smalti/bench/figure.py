"""Bytes and MSE of codecs and archives in one picture, both axes logarithmic."""

import itertools
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from smalti.bench.matching import frontier
from smalti.bench.results import ArchiveResult, BaselineCurve, BenchResult, reference
from smalti.bench.style import BLUE, CODEC_COLOURS, GREY, drawing, tidy

__all__ = ["draw_bench"]

DASHES = (0, (2, 1.2))
PATCH = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""Behind a label, so that lines do not run through it."""
MOST_LABELS = 8
"""Of more archives only the ends are labelled."""
ROOM_FOR_LABELS = 3.0
"""Labels stand on the left of their points, where no codec is: so much less than the smallest archive is in sight."""


def draw_bench(result: BenchResult, path: Path) -> None:
    """Draw the codecs' curves, the archives as points of one line, and the MSE of JPEG XL's reference distance."""
    with drawing(path, 4.9) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(0.04)
        for curve in result.curves:
            _draw_curve(axes, curve)
        _draw_archives(axes, result.archives)
        _draw_reference(axes, result)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
        axes.set_xlabel("bytes per image, everything but labels and names")
        axes.set_title("MSE, lower is better")
        tidy(axes)
        figure.legend(handles=_legend(result), loc="outside lower left", ncols=3, columnspacing=1.2)


def _draw_curve(axes: Axes, curve: BaselineCurve) -> None:
    """Draw what of a codec's curve is worth having: more bytes only where they buy quality."""
    kept = frontier((point.bytes_per_image, -point.mse) for point in curve.points if point.mse > 0)
    axes.plot(
        [rate for rate, _ in kept],
        [-quality for _, quality in kept],
        color=CODEC_COLOURS[curve.codec],
        linestyle=DASHES if "4:2:0" in curve.name else "-",
    )


def _draw_archives(axes: Axes, archives: tuple[ArchiveResult, ...]) -> None:
    shown = [archive for archive in archives if archive.mse > 0]  # a lossless one has no place on this scale
    if not shown:
        return
    axes.plot(
        [archive.bytes_per_image for archive in shown],
        [archive.mse for archive in shown],
        "o-",
        color=BLUE,
        markersize=6,
        linewidth=1.2,
        zorder=3,
    )
    axes.set_xlim(left=shown[0].bytes_per_image / ROOM_FOR_LABELS)
    labelled = shown if len(shown) <= MOST_LABELS else [shown[0], shown[-1]]
    for archive in labelled:
        axes.annotate(
            archive.name,
            (archive.bytes_per_image, archive.mse),
            (-6, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            color=BLUE,
            fontsize=10,
            fontweight="bold",
            bbox=PATCH,
        )


def _draw_reference(axes: Axes, result: BenchResult) -> None:
    found = reference(result)
    if found is None or found.mse == 0:
        return
    axes.axhline(found.mse, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    colour = CODEC_COLOURS["JPEG XL"]
    axes.plot([found.bytes_per_image], [found.mse], "o", color=colour, markerfacecolor="white", markersize=7, zorder=4)
    axes.annotate(
        f"distance {found.distance:g}",
        (found.bytes_per_image, found.mse),
        (7, 5),
        textcoords="offset points",
        color=colour,
        fontsize=10,
        fontweight="bold",
        bbox=PATCH,
    )


def _legend(result: BenchResult) -> list[Line2D]:
    codecs = [codec for codec, _ in itertools.groupby(curve.codec for curve in result.curves)]
    handles = [Line2D([], [], color=CODEC_COLOURS[codec], label=codec) for codec in dict.fromkeys(codecs)]
    if any("4:2:0" in curve.name for curve in result.curves):
        handles.append(Line2D([], [], color=GREY, linestyle=DASHES, label="4:2:0"))
    if result.archives:
        handles.append(Line2D([], [], color=BLUE, marker="o", label="smalti"))
    return handles
