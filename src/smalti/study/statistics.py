"""Does the study's conclusion hold over random seeds? Tests on the runs of one variant.

The study says that K = 128 is best and that more codes degrade quality, from one run each. Here each codebook size has
several runs that differ only in their seed. Standard tests answer three questions: is there any difference between
sizes (one-way analysis of variance; Kruskal-Wallis, which assumes no distribution), does K = 128 differ from each other
size (Welch's t-test, Holm's correction for their number), is there a trend with K (Spearman's rank correlation). Seeds
are not paired across sizes, because one seed starts networks of different shapes.
"""

import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from scipy import stats

from smalti.study.results import STUDY_TABLE, RunResult

__all__ = [
    "MEASURES",
    "Measure",
    "SizeComparison",
    "Summary",
    "VariantComparison",
    "compare_sizes",
    "mean_of",
    "reference_size",
    "summary_of",
]

REFERENCE_SIZE = 128
"""The codebook size that the study found best."""

SMALLEST_SAMPLE = 3
"""The fewest runs of a size for a test: with two, a t-test has one degree of freedom."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measure:
    """A measure of quality: its name, its value for a run, its direction, and the published figure by codebook size."""

    name: str
    images: str
    value: Callable[[RunResult], float]
    less_is_better: bool
    published: Callable[[int], float | None]


def _published(attribute: str) -> Callable[[int], float | None]:
    return lambda size: getattr(STUDY_TABLE[size], attribute) if size in STUDY_TABLE else None


MEASURES: tuple[Measure, ...] = (
    Measure("MSE", "all test images", lambda run: run.test.mse, True, lambda size: None),
    Measure("SSIM", "all test images", lambda run: run.test.ssim, False, lambda size: None),
    Measure("MSE", "first 100 test images", lambda run: run.first_100.mse, True, _published("mse")),
    Measure("SSIM", "first 100 test images", lambda run: run.first_100.ssim, False, _published("ssim")),
)
"""The study's measures on its first 100 images, and the same on all test images, where they vary less."""


@dataclass(frozen=True)
class Summary:
    """A summary of values: count, mean, sample standard deviation (None for one value), least and most."""

    count: int
    mean: float
    deviation: float | None
    least: float
    most: float


def summary_of(values: list[float]) -> Summary:
    """Return the summary of one or more values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), deviation, min(values), max(values))


def mean_of(runs: tuple[RunResult, ...], value: Callable[[RunResult], float]) -> float:
    """Return the mean of a value over runs."""
    return float(np.mean([value(run) for run in runs]))


def reference_size(sizes: Collection[int]) -> int:
    """Return K = 128, or the smallest of some codebook sizes if that is not among them."""
    return REFERENCE_SIZE if REFERENCE_SIZE in sizes else min(sizes)


@dataclass(frozen=True)
class VariantComparison:
    """A codebook size against the reference size.

    difference : mean of this size minus mean of the reference; low, high : its 95% confidence interval
    effect : Hedges' g, the difference in units of the pooled standard deviation, corrected for few runs
    p, p_holm : of Welch's t-test, alone and after Holm's correction
    """

    codebook_size: int
    difference: float
    low: float
    high: float
    effect: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class SizeComparison:
    """A comparison of the codebook sizes of one variant, by one measure.

    sizes : the summary of each size; anova_p, kruskal_p : of the hypothesis that all sizes are equal
    trend, trend_p : Spearman's correlation of quality (higher is better, whatever the measure) with K from the
        reference size up, and its p; None if no size is larger
    comparisons : each other size against the reference
    """

    measure: Measure
    reference: int
    sizes: dict[int, Summary]
    anova_p: float
    kruskal_p: float
    trend: float | None
    trend_p: float | None
    comparisons: tuple[VariantComparison, ...]


def compare_sizes(
    runs: tuple[RunResult, ...], measure: Measure, reference: int = REFERENCE_SIZE
) -> SizeComparison | None:
    """Compare the codebook sizes of one variant by one measure.

    Sizes with fewer than 3 runs are skipped. Returns None if the reference, or every other size, is skipped.
    """
    groups: dict[int, list[float]] = {}
    for run in runs:
        groups.setdefault(run.codebook_size, []).append(measure.value(run))
    groups = {size: groups[size] for size in sorted(groups) if len(groups[size]) >= SMALLEST_SAMPLE}
    if reference not in groups or len(groups) < 2:
        return None
    samples = list(groups.values())
    with warnings.catch_warnings():
        # The tests warn about equal runs, which have no variance; their p is set below.
        warnings.simplefilter("ignore")
        anova_p = _probability(stats.f_oneway(*samples).pvalue)
        kruskal_p = 1.0 if _all_equal(samples) else _probability(stats.kruskal(*samples).pvalue)
        trend, trend_p = _trend(groups, reference, -1.0 if measure.less_is_better else 1.0)
        comparisons = _compare_with(groups, reference)
    sizes = {size: summary_of(values) for size, values in groups.items()}
    return SizeComparison(measure, reference, sizes, anova_p, kruskal_p, trend, trend_p, comparisons)


def _all_equal(samples: list[list[float]]) -> bool:
    return len({value for sample in samples for value in sample}) == 1


def _probability(p: float) -> float:
    """Return p, or 1 if a test gives none because all values are equal."""
    return 1.0 if math.isnan(p) else float(p)


def _trend(groups: dict[int, list[float]], reference: int, sign: float) -> tuple[float | None, float | None]:
    pairs = [(size, sign * value) for size, values in groups.items() if size >= reference for value in values]
    if len({size for size, _ in pairs}) < 2:
        return None, None
    result = stats.spearmanr([size for size, _ in pairs], [value for _, value in pairs])
    correlation = 0.0 if math.isnan(result.statistic) else float(result.statistic)
    return correlation, _probability(result.pvalue)


def _compare_with(groups: dict[int, list[float]], reference: int) -> tuple[VariantComparison, ...]:
    others = [size for size in groups if size != reference]
    tests = [stats.ttest_ind(groups[size], groups[reference], equal_var=False) for size in others]
    p_values = [_probability(test.pvalue) for test in tests]
    corrected = holm(p_values)
    comparisons = []
    for size, test, p, p_holm in zip(others, tests, p_values, corrected, strict=True):
        difference = float(np.mean(groups[size]) - np.mean(groups[reference]))
        interval = test.confidence_interval(CONFIDENCE)
        low, high = ((difference if math.isnan(end) else float(end)) for end in (interval.low, interval.high))
        effect = hedges_g(groups[size], groups[reference])
        comparisons.append(VariantComparison(size, difference, low, high, effect, p, p_holm))
    return tuple(comparisons)


def holm(p_values: list[float]) -> list[float]:
    """Return p values after Holm's (1979) step-down correction for their number, in the same order."""
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def hedges_g(sample: list[float], reference: list[float]) -> float:
    """Return Hedges' (1981) g of `sample` against `reference`; infinite if neither varies and they differ."""
    count = len(sample) + len(reference)
    squares = sum(float(np.var(values, ddof=1)) * (len(values) - 1) for values in (sample, reference))
    difference = float(np.mean(sample) - np.mean(reference))
    pooled = math.sqrt(squares / (count - 2))
    if pooled == 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / pooled * (1 - 3 / (4 * (count - 2) - 1))
