"""The study's tables: from its results to rows of text, which `smalti.bench.style` renders.

Means have their standard deviation over seeds; a single run has none.
"""

from collections.abc import Callable

from smalti.bench.style import Table, signed
from smalti.study.results import STUDY_TABLE, RunResult
from smalti.study.runs import PAPER
from smalti.study.selection import VARIANT_NAMES, Study
from smalti.study.statistics import MEASURES, compare_sizes, summary_of

__all__ = ["ablation_table", "comparison_table", "quality_table", "rate_table", "with_deviation"]


def with_deviation(values: list[float], digits: int) -> str:
    """Return "mean ± standard deviation" of values; of a single value only the mean."""
    found = summary_of(values)
    mean = f"{found.mean:,.{digits}f}"
    return mean if found.deviation is None else f"{mean} ± {found.deviation:,.{digits}f}"


def _column(runs: tuple[RunResult, ...], value: Callable[[RunResult], float], digits: int) -> str:
    return with_deviation([value(run) for run in runs], digits)


def quality_table(study: Study, variant: str = PAPER) -> Table:
    """Return Table 1: quality and model size by codebook size, next to the published figures."""
    has_published = variant == PAPER
    rows = []
    for size in study.sizes(variant):
        runs = study.of(variant, size)
        published = STUDY_TABLE.get(size)
        cells = [
            (_column(runs, lambda run: run.first_100.mse, 4), f"{published.mse:.4f}" if published else "–"),
            (_column(runs, lambda run: run.first_100.ssim, 3), f"{published.ssim:.4f}" if published else "–"),
            (f"{runs[0].model_ko:,.0f}", f"{published.model_ko:,}" if published else "–"),
        ]
        chosen = [cell for pair in cells for cell in (pair if has_published else pair[:1])]
        whole = (_column(runs, lambda run: run.test.mse, 4), _column(runs, lambda run: run.test.ssim, 3))
        rows.append((f"{size}", f"{len(runs)}", *chosen, *whole))
    titles = [("MSE, first 100", "study"), ("SSIM, first 100", "study"), ("model, Ko", "study")]
    chosen = [title for pair in titles for title in (pair if has_published else pair[:1])]
    return Table(
        f"Quality by codebook size, {VARIANT_NAMES.get(variant, variant)}",
        ("K", "seeds", *chosen, "MSE, all", "SSIM, all"),
        tuple(rows),
        "Mean ± standard deviation over seeds, on images in [0, 1]. 1 Ko is 1,024 bytes of float32 parameters.",
    )


def rate_table(study: Study, variant: str = PAPER) -> Table:
    """Return the cost of tokens by codebook size: codes used, entropy, fixed-length bytes and bytes on disk."""
    rows = []
    for size in study.sizes(variant):
        runs = study.of(variant, size)
        rows.append(
            (
                f"{size}",
                _column(runs, lambda run: run.codes_used, 1),
                _column(runs, lambda run: run.perplexity, 1),
                _column(runs, lambda run: run.entropy_bits_per_token, 2),
                f"{runs[0].fixed_length_bytes_per_image:.1f}",
                _column(runs, lambda run: run.archive.bytes_per_image, 1),
                _column(runs, lambda run: run.archive.bytes_per_image_with_model, 1),
                _column(runs, lambda run: run.archive.ratio_without_model, 1),
                _column(runs, lambda run: run.archive.ratio, 1),
            )
        )
    images = {run.archive.images for run in study.of(variant)}
    return Table(
        f"Rate by codebook size, {VARIANT_NAMES.get(variant, variant)}",
        (
            "K",
            "codes used",
            "perplexity",
            "bits a token",
            "B/image, fixed length",
            "B/image on disk, no model",
            "with model",
            "ratio, no model",
            "with model",
        ),
        tuple(rows),
        f"On disk: real archives of {_counts(images)} test images, headers and index included; “no model” leaves "
        "out decoder, codebook and frequency tables, which every archive carries once.",
    )


def _counts(images: set[int]) -> str:
    return " or ".join(f"{count:,}" for count in sorted(images))


def ablation_table(study: Study) -> Table | None:
    """Return the effect of each cure of codebook collapse at equal K; None if none was run."""
    size = study.ablation_size()
    if size is None:
        return None
    rows = []
    for variant, name in VARIANT_NAMES.items():
        runs = study.of(variant, size)
        if runs:
            rows.append(
                (
                    name,
                    f"{len(runs)}",
                    _column(runs, lambda run: run.test.mse, 4),
                    _column(runs, lambda run: run.test.ssim, 3),
                    _column(runs, lambda run: run.codes_used, 1),
                    _column(runs, lambda run: run.perplexity, 1),
                    _column(runs, lambda run: run.archive.bytes_per_image, 1),
                )
            )
    return Table(
        f"What each cure brings, K = {size}",
        ("quantiser", "seeds", "MSE, all", "SSIM, all", "codes used", "perplexity", "B/image on disk, no model"),
        tuple(rows),
        "Each row changes one thing in the study's quantiser; the last changes all four.",
    )


def comparison_table(study: Study) -> Table | None:
    """Return a comparison of each codebook size with K = 128 over seeds; None if there are too few runs."""
    rows: list[tuple[str, ...]] = []
    for measure in MEASURES:
        result = compare_sizes(study.of(PAPER), measure)
        if result is None:
            return None
        rows.extend(
            (
                f"{measure.name}, {measure.images}, K = {each.codebook_size}",
                signed(each.difference, 4),
                f"{signed(each.low, 4)} to {signed(each.high, 4)}",
                signed(each.effect, 1),
                f"{each.p:.3f}",
                f"{each.p_holm:.3f}",
            )
            for each in result.comparisons
        )
    return Table(
        "Each codebook size against K = 128, over seeds",
        ("measure and size", "difference", "95% interval", "Hedges’ g", "p", "p, corrected"),
        tuple(rows),
        "Welch’s t-test; Holm’s correction for the number of sizes. A positive difference is worse in MSE and better "
        "in SSIM.",
    )
