"""A page of pictures: originals, decoded images, their differences, the worst, and a histogram of PSNR.

One HTML file that needs no other: pictures are PNG in data URLs, the histogram is SVG, and there is no script.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smalti.archive.collection.collection import Collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.bench.pictures import (
    Histogram,
    Pair,
    PictureCollector,
    differences,
    gain_for,
    histogram,
    shown,
    value_range,
)
from smalti.bench.records import write_text
from smalti.errors import UsageError
from smalti.exchange import Comparison, compare
from smalti.imagefiles.png import png_bytes
from smalti.images.batch import Pixels
from smalti.images.seen import psnr_db
from smalti.images.source import ImageSource
from smalti.sources.open import open_groups
from smalti.storage.atomic import check_output, refuse_input
from smalti.threads import default_threads

if TYPE_CHECKING:
    from smalti.sources.tables.dataset_object import DatasetObject

__all__ = ["check_page", "compare_on_page", "pictures_page", "write_page_of"]

Progress = Callable[[int, int], None]

_SMALLEST_SIDE = 160
"""Smaller pictures are enlarged by a whole factor, with square pixels."""


def check_page(page: Path, archive: Path | str, overwrite: bool) -> None:
    """Raise OutputExistsError or OutputError if the page cannot be written, UsageError if it is the archive."""
    if page.absolute() == Path(archive).absolute():
        raise UsageError(f"--page {page}: is the archive; name another file")
    refuse_input(page, [archive])
    check_output(page, overwrite)


def compare_on_page(
    archive: Archive | Collection, sources: Sequence[ImageSource], page: Path, progress: Progress, overwrite: bool
) -> Comparison:
    """Compare an archive with its originals, as `exchange.compare` does, and write a page of pictures of it.

    Raises what `compare` raises, OutputExistsError, OutputError.
    """
    check_page(page, archive.path, overwrite)
    collector = PictureCollector(len(archive))
    comparison = compare(archive, sources, progress, collector.add)
    text = pictures_page(Path(str(archive.path)).name, archive.info().archive_bytes, collector, comparison)
    write_text(page, text)
    return comparison


def write_page_of(
    images: "str | Path | Pixels | DatasetObject",
    path: Path,
    page: Path,
    threads: int | None,
    progress: Callable[[str, int, int], None],
    overwrite: bool,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of the archive `path`, just made from these images; the stage of `progress` is "compare".

    Raises what opening the images and `compare_on_page` raise.
    """
    sources = open_groups(images, storage_options=storage_options, spool_beside=path)
    with open_images(path, threads=default_threads(threads)) as archive:
        compare_on_page(archive, sources, page, partial(progress, "compare"), overwrite)


def pictures_page(name: str, archive_bytes: int, collector: PictureCollector, comparison: Comparison) -> str:
    """Return the page. name : of the archive's file"""
    pairs = [*collector.spread, *collector.worst]
    gain = gain_for(pairs)
    images, facts = len(collector.errors), _facts(collector, comparison)
    return _PAGE.format(
        name=escape(name),
        facts="".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts),
        images=f"{images:,}",
        bytes=f"{archive_bytes:,}",
        each=f"{archive_bytes / images:,.1f}",
        histogram=_svg(histogram(collector.errors)),
        gain=gain,
        spread="".join(_row(pair, gain) for pair in collector.spread),
        worst="".join(_row(pair, gain) for pair in collector.worst),
        worst_count=len(collector.worst),
    )


def _facts(collector: PictureCollector, comparison: Comparison) -> list[tuple[str, str]]:
    quality = comparison.quality
    mean, seen = psnr_db(float(collector.errors.mean())), quality.seen is not None
    over = " over what is seen" if seen else ""
    facts = [(f"PSNR of the mean error{over}", _decibels(mean))]
    decibels = [psnr_db(float(np.quantile(collector.errors, share))) for share in (0.5, 0.95, 1.0)]
    labels = ("of the median image", "that 95% of images reach", "of the worst image")
    facts += [(f"PSNR {label}", _decibels(value)) for label, value in zip(labels, decibels, strict=True)]
    if seen:
        facts.append(("PSNR of all samples, hidden ones too", _decibels(quality.psnr_db)))
    if quality.range_psnr_db is not None:
        facts.append(("PSNR against the range that the pixels fill", _decibels(quality.range_psnr_db)))
    if quality.ssim_mean is not None:
        facts.append(("mean SSIM", f"{quality.ssim_mean:.4f}"))
    return facts


def _decibels(value: float | None) -> str:
    return "without error" if value is None else f"{value:.2f} dB"


def _row(pair: Pair, gain: int) -> str:
    """A figure with the original, the decoded image and their difference."""
    original, decoded = shown(pair)
    pictures = [("original", original), ("decoded", decoded)]
    pictures += list(zip(("difference", "difference of alpha"), differences(pair, gain), strict=False))
    cells = "".join(f"<span>{_picture(kind, pixels)}<br>{kind}</span>" for kind, pixels in pictures)
    value = "" if pair.psnr_db is None else f"{pair.psnr_db:.4f}"
    return (
        f'<figure data-image="{pair.number}" data-psnr="{value}"><div class="row">{cells}</div>'
        f"<figcaption>{escape(_caption(pair))}</figcaption></figure>\n"
    )


def _caption(pair: Pair) -> str:
    name = f"image {pair.number:,}" if pair.name is None else f"{pair.name} (image {pair.number:,})"
    words = [name, f"{pair.size[1]} x {pair.size[0]}", _decibels(pair.psnr_db)]
    if not pair.whole:
        height, width = pair.original.shape[:2]
        words.append(
            f"shown: {width} x {height} pixels from ({pair.left}, {pair.top}) on, those with the largest error"
        )
    if pair.original.dtype == np.uint16:
        low, high = value_range(pair)
        words.append(f"black is {low:,}, white {high:,}")
    return "; ".join(words)


def _picture(kind: str, pixels: Pixels) -> str:
    height, width = pixels.shape[:2]
    factor = max(1, _SMALLEST_SIDE // max(height, width))
    data = base64.b64encode(png_bytes(pixels)).decode("ascii")
    return (
        f'<img class="{kind.replace(" ", "-")}" alt="{kind}" width="{factor * width}" height="{factor * height}" '
        f'src="data:image/png;base64,{data}">'
    )


_BAR, _HIGH, _MARGIN = 18, 160, 30


def _svg(found: Histogram) -> str:
    """The histogram as SVG. Each bar carries its range and its count."""
    if not found.counts:
        return "<p>All images are without error.</p>"
    most, bars = max(found.counts), []
    for number, count in enumerate(found.counts):
        low = found.start + number * found.width
        height = _HIGH * count / most
        left = _MARGIN + number * _BAR
        title = f"{low:.2f} to {low + found.width:.2f} dB: {count:,} image{'' if count == 1 else 's'}"
        bars.append(
            f'<rect data-count="{count}" x="{left}" y="{10 + _HIGH - height:.1f}" width="{_BAR - 2}" '
            f'height="{height:.1f}"><title>{title}</title></rect>'
        )
    step = max(1, round(len(found.counts) / 10))
    for number in range(0, len(found.counts) + 1, step):
        label = f"{found.start + number * found.width:.2f}".rstrip("0").rstrip(".")
        bars.append(f'<text x="{_MARGIN + number * _BAR - 1}" y="{_HIGH + 26}" text-anchor="middle">{label}</text>')
    width = 2 * _MARGIN + len(found.counts) * _BAR
    equal = f"<p>{found.equal:,} more are without error.</p>" if found.equal else ""
    return (
        f'<svg class="histogram" width="{width}" height="{_HIGH + 48}" viewBox="0 0 {width} {_HIGH + 48}" role="img" '
        f'aria-label="histogram of PSNR">{"".join(bars)}'
        f'<text x="{width / 2:.0f}" y="{_HIGH + 44}" text-anchor="middle">PSNR of an image, dB; highest bar: '
        f"{most:,}</text></svg>{equal}"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}: pictures</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #1b1b1f;
  background: #fff; }}
dl {{ display: grid; grid-template-columns: max-content auto; gap: 0 1.5em; }}
dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
figure {{ margin: 0 0 1.5em; }}
.row {{ display: flex; flex-wrap: wrap; gap: 8px; }}
.row span, figcaption {{ color: #5b5b63; font-size: 13px; }}
img {{ image-rendering: pixelated; max-width: 100%; height: auto;
  background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0 / 16px 16px; }}
svg {{ max-width: 100%; height: auto; font-size: 12px; }}
rect {{ fill: #0072B2; }}
</style>
</head>
<body>
<h1>{name}</h1>
<p>{images} images in {bytes} bytes, {each} an image.</p>
<dl>{facts}</dl>
<h2>PSNR of all images</h2>
{histogram}
<h2>Images evenly spread over the archive</h2>
<p>Differences are decoded minus original, times {gain}, around grey.</p>
<section id="spread">
{spread}</section>
<h2>The worst {worst_count} by PSNR</h2>
<section id="worst">
{worst}</section>
</body>
</html>
"""
