"""Figure 3: MSE and SSIM against codebook size, every seed a point, beside the study's own figures."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from smalti.study.figures.style import BLACK, BLUE, VERMILION, drawing, tidy
from smalti.study.selection import Study
from smalti.study.statistics import MEASURES, Measure, spread
from smalti.study.variants import CURED, PAPER

__all__ = ["draw_quality"]

LOOKS = {PAPER: (BLUE, "o", "repeated", -0.13), CURED: (VERMILION, "s", "collapse cured", 0.13)}
"""Colour, marker, name and shift (in codebook sizes) of each variant."""


def draw_quality(study: Study, path: Path) -> None:
    """Draw quality on the first 100 test images, the study's own measure, against codebook size."""
    variants = [variant for variant in LOOKS if study.sizes(variant)]
    sizes = sorted({size for variant in variants for size in study.sizes(variant)})
    with drawing(path, 6.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, measure in zip(panels, (MEASURES[2], MEASURES[3]), strict=True):
            for variant in variants:
                _draw_variant(axes, study, variant, measure, sizes)
            _draw_published(axes, measure, sizes)
            axes.set_title(f"{measure.name}, {'lower' if measure.less_is_better else 'higher'} is better")
            axes.margins(x=0.12)
            tidy(axes)
        panels[1].set_xticks(range(len(sizes)), [str(size) for size in sizes])
        panels[1].set_xlabel("codebook size K")
        panels[0].set_ylim(bottom=0)
        panels[0].yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), handletextpad=0.3, columnspacing=1)


def _draw_variant(axes: Axes, study: Study, variant: str, measure: Measure, sizes: list[int]) -> None:
    colour, marker, name, shift = LOOKS[variant]
    centres, means = [], []
    for size in study.sizes(variant):
        values = [measure.value(run) for run in study.of(variant, size)]
        found, place = spread(values), sizes.index(size) + shift
        centres.append(place)
        means.append(found.mean)
        axes.plot([place] * len(values), values, marker, color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        axes.errorbar(place + 0.07, found.mean, found.deviation, color=colour, capsize=4, linewidth=1.6)
    axes.plot([place + 0.07 for place in centres], means, marker, color=colour, markersize=7, label=name)
    axes.plot([place + 0.07 for place in centres], means, color=colour, linewidth=1, alpha=0.5)


def _draw_published(axes: Axes, measure: Measure, sizes: list[int]) -> None:
    published = [(place, measure.published(size)) for place, size in enumerate(sizes)]
    known = [(place, value) for place, value in published if value is not None]
    places, values = [place for place, _ in known], [value for _, value in known]
    axes.plot(places, values, "D", color=BLACK, markersize=7, markerfacecolor="none", label="published, one run")
