"""Amortisation: the true compression ratio, model included, against the number of images that share the model."""

from pathlib import Path

from matplotlib.axes import Axes

from smalti.study.amortise import break_even_images
from smalti.study.figures.style import BLACK, BLUE, GREY, drawing, tidy
from smalti.study.page.baseline_tables import Rival
from smalti.study.results import RAW_IMAGE_BYTES, AmortisationPoint

__all__ = ["draw_amortisation"]

LABEL_SPACING = 1.6
"""The least factor between the heights of two labels."""


def draw_amortisation(points: tuple[AmortisationPoint, ...], rivals: tuple[Rival, ...], path: Path) -> None:
    """Draw the ratio of real archives against their number of images, and where it passes each rival's."""
    images = [point.images for point in points]
    ratios = [point.ratio for point in points]
    with drawing(path, 5.2) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(images, ratios, "o-", color=BLUE, markersize=5, zorder=3)
        axes.annotate(
            f"archive, {points[-1].ratio:.0f}:1",
            (images[-1], ratios[-1]),
            (-2, 8),
            textcoords="offset points",
            ha="right",
            color=BLUE,
            fontweight="bold",
        )
        axes.axhline(1, color=BLACK, linewidth=0.8)
        _draw_rivals(axes, points, rivals)
        axes.set_ylim(top=3 * max(ratios))
        axes.set_xlabel("images in the archive")
        axes.set_title("compression ratio, model included")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}:1")
        tidy(axes)


def _draw_rivals(axes: Axes, points: tuple[AmortisationPoint, ...], rivals: tuple[Rival, ...]) -> None:
    height = 0.0
    for rival in sorted(rivals, key=lambda each: -each.bytes_per_image):
        ratio = RAW_IMAGE_BYTES / rival.bytes_per_image
        even = break_even_images(points, rival.bytes_per_image)
        axes.axhline(ratio, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        # Labels of lines that are close are spread out upwards.
        height = max(ratio, height * LABEL_SPACING)
        told = f"{rival.title}: {f'from {even:,}' if even else 'not passed'}"
        # The curve is above the line to the right of the ring: a label goes where it leaves more room.
        right = even is not None and even**2 < points[0].images * points[-1].images
        place = points[-1].images if right else points[0].images
        axes.annotate(
            told, (place, height), (0, 2), textcoords="offset points", fontsize=10, ha="right" if right else "left"
        )
        if even:
            axes.plot([even], [ratio], "o", color=BLUE, markerfacecolor="white", markersize=8, zorder=4)
