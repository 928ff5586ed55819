"""The effect of codebook size on quality (Figure 3) and on the number of codes in use, with a point for every seed."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from smalti.bench.style import BLACK, BLUE, GREY, LONG_DASHES, VERMILION, drawing, tidy
from smalti.study.runs import CURED, PAPER
from smalti.study.selection import Study
from smalti.study.statistics import MEASURES, Measure, mean_of, summary_of

__all__ = ["draw_collapse", "draw_quality"]

QUALITY_LOOKS = {PAPER: (BLUE, "o", "repeated", -0.13), CURED: (VERMILION, "s", "collapse cured", 0.13)}
"""Colour, marker, name and shift (in codebook sizes) of each variant."""

COLLAPSE_LOOKS = {PAPER: (BLUE, "o", "as in the study"), CURED: (VERMILION, "s", "collapse cured")}


def draw_quality(study: Study, path: Path) -> None:
    """Draw quality on the first 100 test images, as the study reports it, against codebook size."""
    variants = [variant for variant in QUALITY_LOOKS if study.sizes(variant)]
    sizes = sorted({size for variant in variants for size in study.sizes(variant)})
    with drawing(path, 6.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, measure in zip(panels, (MEASURES[2], MEASURES[3]), strict=True):
            for variant in variants:
                _draw_variant_quality(axes, study, variant, measure, sizes)
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


def _draw_variant_quality(axes: Axes, study: Study, variant: str, measure: Measure, sizes: list[int]) -> None:
    colour, marker, name, shift = QUALITY_LOOKS[variant]
    centres, means = [], []
    for size in study.sizes(variant):
        values = [measure.value(run) for run in study.of(variant, size)]
        found, centre = summary_of(values), sizes.index(size) + shift
        centres.append(centre)
        means.append(found.mean)
        axes.plot([centre] * len(values), values, marker, color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        axes.errorbar(centre + 0.07, found.mean, found.deviation, color=colour, capsize=4, linewidth=1.6)
    axes.plot([centre + 0.07 for centre in centres], means, marker, color=colour, markersize=7, label=name)
    axes.plot([centre + 0.07 for centre in centres], means, color=colour, linewidth=1, alpha=0.5)


def _draw_published(axes: Axes, measure: Measure, sizes: list[int]) -> None:
    published = {index: measure.published(size) for index, size in enumerate(sizes)}
    known = {index: value for index, value in published.items() if value is not None}
    label = "published, one run"
    axes.plot(list(known), list(known.values()), "D", color=BLACK, markersize=7, markerfacecolor="none", label=label)


def draw_collapse(study: Study, path: Path) -> None:
    """Draw the codes used on the test images against codebook size, for the study's quantiser and the cured one."""
    sizes = sorted({size for variant in COLLAPSE_LOOKS for size in study.sizes(variant)})
    with drawing(path, 4.2) as figure:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.plot(sizes, sizes, color=GREY, linewidth=1.2, linestyle=LONG_DASHES)
        axes.annotate(
            "all codes used", (sizes[-1], sizes[-1]), (-6, 2), textcoords="offset points", ha="right", color=GREY
        )
        for variant in COLLAPSE_LOOKS:
            _draw_variant_codes(axes, study, variant)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        powers = [2**power for power in range(3, 17) if 2**power <= 1.1 * sizes[-1]]
        axes.set_yticks(powers, [str(power) for power in powers])
        axes.minorticks_off()
        axes.margins(x=0.1, y=0.12)
        axes.set_xlabel("codebook size K")
        axes.set_title("codes used on the test images")
        tidy(axes)


def _draw_variant_codes(axes: Axes, study: Study, variant: str) -> None:
    colour, marker, name = COLLAPSE_LOOKS[variant]
    sizes = study.sizes(variant)
    if not sizes:
        return
    for size in sizes:
        values = [float(run.codes_used) for run in study.of(variant, size)]
        axes.plot([size] * len(values), values, marker, color=colour, alpha=0.35, markersize=6, markeredgewidth=0)
    means = [mean_of(study.of(variant, size), lambda run: run.codes_used) for size in sizes]
    axes.plot(sizes, means, color=colour)
    index = len(sizes) // 2 if variant == CURED else 0
    highest = max(run.codes_used for run in study.of(variant, sizes[index]))
    axes.annotate(
        name,
        (sizes[index], means[index] if variant == CURED else highest),
        (12, -14) if variant == CURED else (-6, 8),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
    )
