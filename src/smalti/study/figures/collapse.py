"""Codebook collapse: how many codes are used of those that there are."""

from pathlib import Path

from matplotlib.axes import Axes

from smalti.study.figures.style import BLUE, GREY, VERMILION, drawing, tidy
from smalti.study.selection import Study
from smalti.study.statistics import spread
from smalti.study.variants import CURED, PAPER

__all__ = ["draw_collapse"]

LOOKS = {PAPER: (BLUE, "o", "as in the study"), CURED: (VERMILION, "s", "collapse cured")}


def draw_collapse(study: Study, path: Path) -> None:
    """Draw the codes used on the test images against codebook size, for the study's quantiser and the cured one."""
    sizes = sorted({size for variant in LOOKS for size in study.sizes(variant)})
    with drawing(path, 4.2) as figure:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.plot(sizes, sizes, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            "all codes used", (sizes[-1], sizes[-1]), (-6, 2), textcoords="offset points", ha="right", color=GREY
        )
        for variant in LOOKS:
            _draw_variant(axes, study, variant)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        powers = [2**power for power in range(3, 17) if 2**power <= 1.1 * sizes[-1]]
        axes.set_yticks(powers, [str(power) for power in powers])
        axes.minorticks_off()
        axes.margins(x=0.1, y=0.12)
        axes.set_xlabel("codebook size K")
        axes.set_title("codes used on the test images")
        tidy(axes)


def _draw_variant(axes: Axes, study: Study, variant: str) -> None:
    colour, marker, name = LOOKS[variant]
    sizes = study.sizes(variant)
    if not sizes:
        return
    for size in sizes:
        values = [float(run.codes_used) for run in study.of(variant, size)]
        axes.plot([size] * len(values), values, marker, color=colour, alpha=0.35, markersize=6, markeredgewidth=0)
    means = [spread([float(run.codes_used) for run in study.of(variant, size)]).mean for size in sizes]
    axes.plot(sizes, means, color=colour)
    place = len(sizes) // 2 if variant == CURED else 0
    highest = max(run.codes_used for run in study.of(variant, sizes[place]))
    axes.annotate(
        name,
        (sizes[place], means[place] if variant == CURED else highest),
        (12, -14) if variant == CURED else (-6, 8),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
    )
