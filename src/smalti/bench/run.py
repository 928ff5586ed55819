"""One run of the bench: codecs that are not measured yet, then archives, then page and figure."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.reader import open_archive
from smalti.bench.codecs import codec_versions, codecs_for
from smalti.bench.mosaics import evenly_spread, images_per_mosaic, measure_baseline
from smalti.bench.page import bench_page, draw_bench
from smalti.bench.records import describe_machine, write_text
from smalti.bench.results import ArchiveResult, BenchResult
from smalti.exchange import compare
from smalti.images.source import ImageSource, read_bytes
from smalti.sources.named.named import SET_NAMES
from smalti.sources.open import open_source

__all__ = ["BenchFiles", "measure_archive", "run_bench"]


@dataclass(frozen=True)
class BenchFiles:
    """The files with the results of a source."""

    numbers: Path
    page: Path
    figure: Path

    @classmethod
    def of(cls, source: str, folder: Path) -> "BenchFiles":
        """Name them after the source: "cifar-10/test" gives cifar-10-test, a path its last part without suffix."""
        plain = source if source in SET_NAMES else Path(source).stem
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip(".-") or "images"
        return cls(folder / f"{stem}.json", folder / f"{stem}.md", folder / f"{stem}.png")


def run_bench(
    spec: str,
    folder: Path,
    archives: Sequence[Path],
    command: str,
    say: Callable[[str], None],
    threads: int = 1,
) -> tuple[BenchResult, BenchFiles]:
    """Measure codecs and archives on a source, write the results to `folder`, and return them and their files.

    Codecs with a stored curve on the same images do not run again, and stored archives stay. `say` is called before
    each step, and may raise to stop: earlier measurements are stored.
    """
    source = open_source(spec, report=say)
    files = BenchFiles.of(spec, folder)
    images = read_bytes(source)
    result = _begin(source, images, BenchResult.read(files.numbers), command)
    result = _measure_codecs(result, images, files.numbers, say)
    for path in archives:
        say(f"archive {path}")
        result = result.with_archive(measure_archive(path, source, result.archive(path.stem), threads))
        result.write(files.numbers)
    result.write(files.numbers)  # with the new command, even if nothing had to be measured
    draw_bench(result, files.figure)
    write_text(files.page, bench_page(result, files.figure.name))
    return result, files


def _begin(source: ImageSource, images: NDArray[np.uint8], before: BenchResult | None, command: str) -> BenchResult:
    """Return an empty result, or the stored one if it is of the same images."""
    sha256 = hashlib.sha256(images.data).hexdigest()
    if before is not None and before.pixels_sha256 == sha256:
        return replace(before, command=command)
    most = images_per_mosaic(*images.shape[1:3])
    mosaics = -(-len(evenly_spread(images)) // most)
    name, shape = source.description, images.shape[1:]
    return BenchResult(name, len(images), shape, sha256, command, describe_machine(), most, mosaics, {}, (), ())


def _measure_codecs(
    result: BenchResult, images: NDArray[np.uint8], path: Path, say: Callable[[str], None]
) -> BenchResult:
    for codec in codecs_for(images.shape[3]):
        known = result.curve(codec.name)
        if known is not None and (known.settings, known.ladder) == (codec.settings, codec.ladder):
            continue
        say(f"{codec.name}: {len(codec.ladder)} settings")
        versions = {**result.versions, **codec_versions((codec,))}
        result = replace(result, versions=versions).with_curve(measure_baseline(codec, images))
        result.write(path)
    return result


def measure_archive(path: Path, source: ImageSource, known: ArchiveResult | None, threads: int) -> ArchiveResult:
    """Decode every image of an archive and compare it with the source; return `known` if it is of the same file.

    Raises SourceError if the archive is of other images, DamagedArchiveError if it is damaged.
    """
    with open_archive(path, threads=threads) as archive:
        sha256 = _sha256(path)
        if known is not None and known.sha256 == sha256:
            return known
        info, quality = archive.info(), compare(archive, source).quality
    return ArchiveResult(
        name=path.stem,
        sha256=sha256,
        profile=info.profile,
        codebook_size=info.codebook_size,
        images=info.images,
        archive_bytes=info.archive_bytes,
        header_bytes=info.bytes.header,
        model_bytes=info.bytes.model,
        prior_bytes=info.bytes.prior,
        tokens_bytes=info.bytes.tokens,
        index_bytes=info.bytes.index,
        columns_bytes=info.bytes.columns,
        mse=quality.mse_mean,
        mse_max=quality.mse_max,
        ssim=quality.ssim_mean,
        first_100_mse=quality.first_100.mse,
        first_100_ssim=quality.first_100.ssim,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
