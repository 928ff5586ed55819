"""The bench's page: Markdown tables, and a figure of bytes and MSE on logarithmic axes. Both need only its result."""

import itertools
import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from smalti.bench.mosaics import MOST_IMAGES
from smalti.bench.results import (
    JPEG_XL,
    ArchiveResult,
    BaselineCurve,
    BenchResult,
    Need,
    Reference,
    best_need,
    needs,
    reference,
)
from smalti.bench.style import BLUE, CODEC_COLOURS, DASHES, GREY, LONG_DASHES, Table, drawing, tidy, to_markdown
from smalti.images.batch import shape_words
from smalti.peers.matching import frontier

__all__ = ["bench_page", "draw_bench", "reference_line"]


ABSENT = "–"


def bench_page(result: BenchResult, figure: str) -> str:
    """Return the page; `figure` is the file name of the figure next to it."""
    height, width, channels = result.image_shape
    several = f"{result.mosaics:,} mosaics of up to {result.mosaic_images:,} images"
    coded = "them" if result.images <= MOST_IMAGES else f"{MOST_IMAGES:,} of them, evenly spread,"
    parts = [
        f"# {result.source}: bytes and quality, side by side",
        f"{result.images:,} images of {shape_words((height, width, channels))}, "
        f"{height * width * channels:,} bytes each as raw pixels. Each codec codes {coded} as "
        f"{several if result.mosaics > 1 else 'one mosaic'}, its best case: header costs vanish, and no image can be "
        "read alone. Archives count with everything inside, the model too, but for labels and names, which the codecs "
        "do not keep. MSE is of values in [0, 1]; every figure is of images that were decoded from the bytes counted.",
        f"![Bytes and MSE of archives and codecs]({figure})",
    ]
    parts += [to_markdown(_archives(result)).rstrip()] if result.archives else []
    found = reference(result)
    parts += [] if found is None else [reference_line(found), to_markdown(_reference(found)).rstrip()]
    parts += [to_markdown(_codecs(result)).rstrip(), _made(result)]
    return "\n\n".join(parts) + "\n"


def reference_line(found: Reference) -> str:
    """Return one line on JPEG XL at its reference distance."""
    return (
        f"JPEG XL at distance {found.distance:g}: MSE {found.mse:.6f} ({_psnr(found.mse)} dB) at "
        f"{found.bytes_per_image:,.2f} bytes an image."
    )


def _archives(result: BenchResult) -> Table:
    return Table(
        "Archives",
        (
            "archive",
            "bytes",
            "columns",
            "model and prior",
            "tokens",
            "bytes an image",
            "MSE",
            "SSIM",
            "first 100: MSE",
            "SSIM",
            "JPEG XL needs",
            "best codec needs",
            "times an archive's",
        ),
        tuple(_archive_row(result, archive) for archive in result.archives),
        "Bytes an image are without columns. What codecs need is interpolated, in logarithms of bytes and MSE, between "
        "the two measured points around the archive's MSE; * marks a codec whose coarsest setting is better than that "
        "already. The last column is what the best codec needs over the archive's bytes.",
    )


def _archive_row(result: BenchResult, archive: ArchiveResult) -> tuple[str, ...]:
    best = best_need(result, archive.mse)
    jpeg_xl = next((need for need in needs(result, archive.mse) if need.name == JPEG_XL), None)
    return (
        archive.name,
        f"{archive.archive_bytes:,}",
        f"{archive.columns_bytes:,}",
        f"{archive.model_bytes + archive.prior_bytes:,}",
        f"{archive.tokens_bytes:,}",
        f"{archive.bytes_per_image:,.2f}",
        f"{archive.mse:.5f}",
        _ssim(archive.ssim),
        f"{archive.first_100_mse:.5f}",
        _ssim(archive.first_100_ssim),
        _need(jpeg_xl),
        ABSENT if best is None else f"{best.name} {_need(best)}",
        ABSENT if best is None else f"{best.bytes_per_image / archive.bytes_per_image:.2f}",
    )


def _reference(found: Reference) -> Table:
    return Table(
        "What the other codecs need at this MSE",
        ("codec", "bytes an image", "of JPEG XL's"),
        tuple((need.name, _need(need), f"{need.bytes_per_image / found.bytes_per_image:.2f}") for need in found.needs),
    )


def _codecs(result: BenchResult) -> Table:
    rows = [
        (
            curve.name,
            f"{point.setting:g}",
            f"{point.bytes_per_image:,.2f}",
            f"{point.mse:.6f}",
            _psnr(point.mse),
            _ssim(point.ssim),
        )
        for curve in result.curves
        for point in curve.points
    ]
    return Table(
        "Codecs",
        ("codec", "setting", "bytes an image", "MSE", "PSNR, dB", "SSIM"),
        tuple(rows),
        "Settings: " + "; ".join(f"{curve.name}: {curve.settings}" for curve in result.curves) + ".",
    )


def _made(result: BenchResult) -> str:
    versions = ", ".join(f"{name} ({version})" for name, version in sorted(result.versions.items()))
    return f"Made by `{result.command}`; codecs measured on {result.machine}, with {versions}."


def _need(need: Need | None) -> str:
    return ABSENT if need is None else f"{need.bytes_per_image:,.2f}{'*' if need.coarsest else ''}"


def _ssim(ssim: float | None) -> str:
    return ABSENT if ssim is None else f"{ssim:.4f}"


def _psnr(mse: float) -> str:
    return ABSENT if mse == 0 else f"{-10 * math.log10(mse):.2f}"


PATCH = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""The patch behind a label, so that lines do not run through it."""
MOST_LABELS = 8
"""With more archives, only the first and the last are labelled."""
ROOM_FOR_LABELS = 3.0
"""Labels are left of their points, where no codec is: the axis starts this factor below the smallest archive."""


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
    """Draw the frontier of a codec's curve: more bytes only for more quality."""
    best = frontier((point.bytes_per_image, -point.mse) for point in curve.points if point.mse > 0)
    axes.plot(
        [rate for rate, _ in best],
        [-quality for _, quality in best],
        color=CODEC_COLOURS[curve.codec],
        linestyle=DASHES if "4:2:0" in curve.name else "-",
    )


def _draw_archives(axes: Axes, archives: tuple[ArchiveResult, ...]) -> None:
    drawn = [archive for archive in archives if archive.mse > 0]  # a logarithmic axis cannot show a lossless one
    if not drawn:
        return
    axes.plot(
        [archive.bytes_per_image for archive in drawn],
        [archive.mse for archive in drawn],
        "o-",
        color=BLUE,
        markersize=6,
        linewidth=1.2,
        zorder=3,
    )
    axes.set_xlim(left=drawn[0].bytes_per_image / ROOM_FOR_LABELS)
    labelled = drawn if len(drawn) <= MOST_LABELS else [drawn[0], drawn[-1]]
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
    axes.axhline(found.mse, color=GREY, linewidth=1, linestyle=LONG_DASHES, zorder=1)
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
