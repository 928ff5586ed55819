"""Bytes: rate and distortion of the study's system and every baseline, and the cost of the model (amortisation)."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from smalti.bench.style import BLACK, BLUE, CODEC_COLOURS, DASHES, GREY, LONG_DASHES, VERMILION, drawing, tidy
from smalti.peers.matching import RatePoint, frontier
from smalti.study.page.baseline_tables import Baseline
from smalti.study.results import RAW_IMAGE_BYTES, STUDY_TABLE, AmortisationPoint, RunResult, break_even_images
from smalti.study.runs import CURED, PAPER
from smalti.study.selection import Study
from smalti.study.statistics import REFERENCE_SIZE

__all__ = ["draw_amortisation", "draw_rate_distortion"]

RUN_LOOKS = {PAPER: (BLUE, "VQ-VAE, as in the study"), CURED: (VERMILION, "VQ-VAE, cured")}
WORST_MSE, WORST_SSIM = 0.03, 0.55
MOST_BYTES = 420.0
LABEL_SPACING = 1.6
"""The least factor between the heights of two labels."""


def draw_rate_distortion(study: Study, path: Path) -> None:
    """Draw MSE and SSIM on the test images against bytes per image, models and mosaics' one header left out."""
    with drawing(path, 8.8) as figure:
        panels: tuple[Axes, Axes] = tuple(figure.subplots(2, 1, sharex=True))
        if study.classical is not None:
            for curve in study.classical.curves:
                if not curve.lossless:
                    dashes = DASHES if curve.mode == "each" else "-"
                    _draw_curve(panels, curve.points, color=CODEC_COLOURS[curve.codec], linestyle=dashes)
        for run in study.vae.runs if study.vae is not None else ():
            _draw_curve(panels, run.points, color=GREY, linestyle="-", linewidth=1.2)
        for variant, (colour, _) in RUN_LOOKS.items():
            _draw_runs(panels, study.of(variant), colour)
        _draw_published(panels)
        _finish(*panels)
        figure.legend(handles=_legend(study), loc="outside lower left", ncols=2, columnspacing=1.2)


def _legend(study: Study) -> list[Line2D]:
    handles: list[Line2D] = []
    if study.classical is not None:
        known = {curve.codec for curve in study.classical.curves}
        handles += [Line2D([], [], color=colour, label=name) for name, colour in CODEC_COLOURS.items() if name in known]
        handles.append(Line2D([], [], color=GREY, linestyle=DASHES, label="dashed: each image a file"))
    for variant, (colour, name) in RUN_LOOKS.items():
        if study.of(variant):
            handles.append(Line2D([], [], color=colour, marker="o", linestyle="", label=name))
    if study.vae is not None:
        handles.append(Line2D([], [], color=GREY, label="VAE, quantised"))
    handles.append(Line2D([], [], color=BLACK, marker="D", markerfacecolor="white", linestyle="", label="published"))
    return handles


def _draw_curve(
    panels: tuple[Axes, Axes], points: tuple[RatePoint, ...], color: str, linestyle: Any, linewidth: float = 1.8
) -> None:
    """Draw the frontier of a codec's curve: more bytes only for more quality."""
    for axes, measured in zip(
        panels, ([-point.mse for point in points], [point.ssim for point in points]), strict=True
    ):
        best = frontier(zip((point.bytes_per_image for point in points), measured, strict=True))
        rates, heights = [rate for rate, _ in best], [abs(quality) for _, quality in best]
        axes.plot(rates, heights, color=color, linestyle=linestyle, linewidth=linewidth)


def _draw_runs(panels: tuple[Axes, Axes], runs: tuple[RunResult, ...], colour: str) -> None:
    rates = [run.archive.bytes_per_image for run in runs]
    looks: dict[str, Any] = {"color": colour, "markersize": 5.5, "alpha": 0.75, "markeredgewidth": 0, "zorder": 3}
    panels[0].plot(rates, [run.test.mse for run in runs], "o", **looks)
    panels[1].plot(rates, [run.test.ssim for run in runs], "o", **looks)


def _draw_published(panels: tuple[Axes, Axes]) -> None:
    row = STUDY_TABLE[REFERENCE_SIZE]
    rate = 49 * 7 / 8
    for axes, value in zip(panels, (row.mse, row.ssim), strict=True):
        axes.plot([rate], [value], "D", color=BLACK, markerfacecolor="white", markersize=8, zorder=4)


def _finish(mse: Axes, ssim: Axes) -> None:
    mse.set_xscale("log")
    mse.set_yscale("log")
    mse.set_ylim(0.0005, WORST_MSE)
    mse.set_yticks([0.001, 0.002, 0.005, 0.01, 0.02], ["0.001", "0.002", "0.005", "0.01", "0.02"])
    ssim.set_ylim(WORST_SSIM, 1.0)
    ssim.set_xlim(3, MOST_BYTES)
    ticks = [5, 10, 20, 50, 100, 200, 400]
    ssim.set_xticks(ticks, [str(tick) for tick in ticks])
    ssim.set_xlabel("bytes per image, model not counted")
    mse.set_title("MSE, lower is better")
    ssim.set_title("SSIM, higher is better")
    for axes in (mse, ssim):
        axes.minorticks_off()
        tidy(axes)


def draw_amortisation(points: tuple[AmortisationPoint, ...], baselines: tuple[Baseline, ...], path: Path) -> None:
    """Draw the ratio of real archives against their number of images, and where it exceeds that of each baseline."""
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
        _draw_baselines(axes, points, baselines)
        axes.set_ylim(top=3 * max(ratios))
        axes.set_xlabel("images in the archive")
        axes.set_title("compression ratio, model included")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}:1")
        tidy(axes)


def _draw_baselines(axes: Axes, points: tuple[AmortisationPoint, ...], baselines: tuple[Baseline, ...]) -> None:
    height = 0.0
    for baseline in sorted(baselines, key=lambda each: -each.bytes_per_image):
        ratio = RAW_IMAGE_BYTES / baseline.bytes_per_image
        even = break_even_images(points, baseline.bytes_per_image)
        axes.axhline(ratio, color=GREY, linewidth=1, linestyle=LONG_DASHES)
        # Labels of lines that are close move upwards.
        height = max(ratio, height * LABEL_SPACING)
        label = f"{baseline.title}: {f'from {even:,}' if even else 'not passed'}"
        # The curve is above the line to the right of the ring: a label goes to the side with more room.
        right = even is not None and even**2 < points[0].images * points[-1].images
        position = points[-1].images if right else points[0].images
        axes.annotate(
            label, (position, height), (0, 2), textcoords="offset points", fontsize=10, ha="right" if right else "left"
        )
        if even:
            axes.plot([even], [ratio], "o", color=BLUE, markerfacecolor="white", markersize=8, zorder=4)
