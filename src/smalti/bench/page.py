"""The bench in words: a Markdown page of tables, made from its result alone."""

import math

from smalti.bench.markup import Table, to_markdown
from smalti.bench.mosaics import MOST_IMAGES
from smalti.bench.results import JPEG_XL, ArchiveResult, BenchResult, Need, Reference, best_need, needs, reference
from smalti.images.batch import shape_words

__all__ = ["bench_page", "reference_line"]

ABSENT = "–"


def bench_page(result: BenchResult, figure: str) -> str:
    """Return the page; `figure` is the name of the picture beside it."""
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
