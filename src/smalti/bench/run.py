"""One run of the bench: the codecs that are not measured yet, the archives, then page and figure."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from smalti.bench.archives import measure_archive
from smalti.bench.figure import draw_bench
from smalti.bench.mosaics import images_per_mosaic, measure_peer, spread
from smalti.bench.page import bench_page
from smalti.bench.peers import peers_for
from smalti.bench.results import BenchResult
from smalti.images.source import ImageSource, read_bytes
from smalti.sources.named.sets import SET_NAMES
from smalti.sources.open import open_source
from smalti.study.machine import describe_machine

__all__ = ["BenchFiles", "run_bench"]


@dataclass(frozen=True)
class BenchFiles:
    """Where the results of a source are."""

    numbers: Path
    page: Path
    figure: Path

    @classmethod
    def of(cls, source: str, folder: Path) -> "BenchFiles":
        """Return them by the source's name: cifar-10/test is cifar-10-test, a path its last part without suffix."""
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
    """Measure a source's codecs and archives into `folder` and return the result and where it is.

    Codecs whose curves on the same images are there already are not run again, and archives measured before stay.
    `say` hears of each step before it starts, and may raise to stop: what was measured until then is kept.
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
    files.page.write_text(bench_page(result, files.figure.name), encoding="utf-8")
    return result, files


def _begin(source: ImageSource, images: NDArray[np.uint8], before: BenchResult | None, command: str) -> BenchResult:
    """Return a result without curves, or the one from before if it is of the same images."""
    sha256 = hashlib.sha256(images.data).hexdigest()
    if before is not None and before.pixels_sha256 == sha256:
        return replace(before, command=command)
    most = images_per_mosaic(*images.shape[1:3])
    mosaics = -(-len(spread(images)) // most)
    name, shape = source.description, images.shape[1:]
    return BenchResult(name, len(images), shape, sha256, command, describe_machine(), most, mosaics, {}, (), ())


def _measure_codecs(
    result: BenchResult, images: NDArray[np.uint8], path: Path, say: Callable[[str], None]
) -> BenchResult:
    for peer in peers_for(images.shape[3]):
        known = result.curve(peer.name)
        if known is not None and (known.settings, known.ladder) == (peer.settings, peer.ladder):
            continue
        say(f"{peer.name}: {len(peer.ladder)} settings")
        version = str(getattr(imagecodecs, f"{peer.library}_version")())
        versions = {**result.versions, "imagecodecs": str(imagecodecs.__version__), peer.library: version}
        result = replace(result, versions=versions).with_curve(measure_peer(peer, images))
        result.write(path)
    return result
