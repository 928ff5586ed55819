"""The paragraph on the study's conclusion. The numbers choose every sentence."""

from collections.abc import Callable
from typing import Literal

from smalti.bench.style import signed
from smalti.study.results import RunResult
from smalti.study.statistics import MEASURES, SMALLEST_SAMPLE, SizeComparison, Summary, VariantComparison, compare_sizes

__all__ = ["Verdict", "best_verdict", "degrade_verdict", "overall", "write_conclusion"]

Verdict = Literal["supports", "contradicts", "mixed", "undecided"]

SIGNIFICANT = 0.05


def best_verdict(result: SizeComparison) -> Verdict:
    """Judge whether the reference size is best by one measure.

    "supports" if it is significantly better than every other size, "contradicts" if another is significantly better
    than it, else "undecided".
    """
    signs = [_advantage(result, comparison) for comparison in result.comparisons]
    significant = [comparison.p_holm < SIGNIFICANT for comparison in result.comparisons]
    if any(sign > 0 and clear for sign, clear in zip(signs, significant, strict=True)):
        return "contradicts"
    if all(sign < 0 and clear for sign, clear in zip(signs, significant, strict=True)):
        return "supports"
    return "undecided"


def degrade_verdict(result: SizeComparison) -> Verdict:
    """Judge whether quality falls with K from the reference size up, by the trend over all runs."""
    if result.trend is None or result.trend_p is None or result.trend_p >= SIGNIFICANT:
        return "undecided"
    return "supports" if result.trend < 0 else "contradicts"


def _advantage(result: SizeComparison, comparison: VariantComparison) -> float:
    """Return how much better the other size is than the reference; negative if it is worse."""
    return -comparison.difference if result.measure.less_is_better else comparison.difference


def overall(verdicts: list[Verdict]) -> Verdict:
    """Return the joint verdict of several measures: "mixed" if some support the claim and others contradict it."""
    if "supports" in verdicts and "contradicts" in verdicts:
        return "mixed"
    if "contradicts" in verdicts:
        return "contradicts"
    return "supports" if all(verdict == "supports" for verdict in verdicts) else "undecided"


BEST_SENTENCES: dict[Verdict, str] = {
    "supports": "The study's conclusion that K = {reference} is best is borne out",
    "contradicts": "The study's conclusion that K = {reference} is best is contradicted",
    "mixed": "MSE and SSIM disagree about the study's conclusion that K = {reference} is best",
    "undecided": "The study's conclusion that K = {reference} is best is not borne out, nor is it refuted",
}

DEGRADE_SENTENCES: dict[Verdict, str] = {
    "supports": "That more codes degrade quality is borne out: from K = {reference} up it falls as K grows",
    "contradicts": "That more codes degrade quality is contradicted: from K = {reference} up it rises as K grows",
    "mixed": "Whether more codes degrade quality, MSE and SSIM answer differently",
    "undecided": "That more codes degrade quality cannot be seen: from K = {reference} up there is no clear trend",
}


def write_conclusion(runs: tuple[RunResult, ...]) -> str:
    """Return one paragraph, as plain text: do the runs of one variant bear out the study's conclusion?

    The verdict uses all test images, MSE and SSIM together; the first 100 images, which the study uses, come after it.
    """
    results = [compare_sizes(runs, measure) for measure in MEASURES]
    found = [result for result in results if result is not None]
    if len(found) < len(results):
        return (
            f"Nothing can be said about the study's conclusion from these runs: it takes at least {SMALLEST_SAMPLE} "
            "seeds each of K = 128 and of one more codebook size. One run each, as in the study, cannot tell a "
            "difference between sizes from a difference between seeds."
        )
    whole = [result for result in found if result.measure.images == MEASURES[0].images]
    first = [result for result in found if result.measure.images != MEASURES[0].images]
    sentences = [
        _seeds(whole[0]),
        _claim(whole, best_verdict, BEST_SENTENCES) + _evidence(whole),
        _claim(whole, degrade_verdict, DEGRADE_SENTENCES) + _trends(whole),
        _first_images(first),
        *_published(first),
    ]
    return " ".join(sentences)


def _seeds(result: SizeComparison) -> str:
    counts = sorted({size.count for size in result.sizes.values()})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    sizes = [str(size) for size in result.sizes]
    return f"These are {number} seeds each of K = {', '.join(sizes[:-1])} and {sizes[-1]}."


def _claim(
    results: list[SizeComparison], judge: Callable[[SizeComparison], Verdict], sentences: dict[Verdict, str]
) -> str:
    verdict = overall([judge(result) for result in results])
    return sentences[verdict].format(reference=results[0].reference)


def _evidence(results: list[SizeComparison]) -> str:
    parts = []
    for result in results:
        clear = [comparison for comparison in result.comparisons if comparison.p_holm < SIGNIFICANT]
        better = [str(comparison.codebook_size) for comparison in clear if _advantage(result, comparison) > 0]
        worse = [str(comparison.codebook_size) for comparison in clear if _advantage(result, comparison) < 0]
        words = [f"K = {_listed(better)} clearly better"] if better else []
        words += [f"K = {_listed(worse)} clearly worse"] if worse else []
        found = " and ".join(words) if words else "no size differs from it clearly"
        smallest = min(comparison.p_holm for comparison in result.comparisons)
        parts.append(
            f"by {result.measure.name} {found} (smallest corrected p {_p(smallest)}; all sizes alike: analysis of "
            f"variance p {_p(result.anova_p)}, Kruskal-Wallis p {_p(result.kruskal_p)})"
        )
    return ": on all test images, " + "; ".join(parts) + "."


def _trends(results: list[SizeComparison]) -> str:
    trends = [
        f"by {result.measure.name} {signed(result.trend, 2)}, p {_p(result.trend_p)}"
        for result in results
        if result.trend is not None and result.trend_p is not None
    ]
    if not trends:
        return " (no larger codebook was run)."
    return f" (rank correlation of quality with K: {'; '.join(trends)})."


def _first_images(results: list[SizeComparison]) -> str:
    verdict = overall([best_verdict(result) for result in results])
    words: dict[Verdict, str] = {
        "supports": f"they too say that K = {results[0].reference} is best",
        "contradicts": f"they too have a size that is clearly better than K = {results[0].reference}",
        "mixed": "their MSE and SSIM disagree",
        "undecided": "they do not single out one size either",
    }
    return f"On the first 100 test images, which the study reports, {words[verdict]}. {_noise(results[0])}"


def _noise(result: SizeComparison) -> str:
    """Compare the differences between sizes with those between seeds."""
    means = [size.mean for size in result.sizes.values()]
    widest = max(size.most - size.least for size in result.sizes.values())
    return (
        f"There the means of the sizes span {_figure(max(means) - min(means))} in {result.measure.name}, while the "
        f"seeds of a single size span up to {_figure(widest)}."
    )


def _published(results: list[SizeComparison]) -> list[str]:
    """Say how the published figures compare with these runs."""
    outside, figures = [], 0
    for result in results:
        for size, values in result.sizes.items():
            published = result.measure.published(size)
            figures += published is not None
            if published is not None and not values.least <= published <= values.most:
                outside.append(f"{result.measure.name} at K = {size} ({_figure(published)}; here {_range(values)})")
    if not outside:
        return [f"All {figures} figures of the study for these sizes lie within the range of these runs."]
    return [f"Of the study's {figures} figures for these sizes {len(outside)} lie outside it: {_listed(outside)}."]


def _listed(items: list[str]) -> str:
    """Join items in words: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _figure(value: float) -> str:
    return f"{value:.4f}"


def _range(values: Summary) -> str:
    return f"{_figure(values.least)} to {_figure(values.most)}"


def _p(p: float | None) -> str:
    if p is None:
        return "unknown"
    return "below .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
