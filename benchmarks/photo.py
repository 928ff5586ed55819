"""What `photo` makes of a set: bytes, quality and time of a whole archive, beside AVIF and JPEG XL.

    python -m benchmarks.photo SOURCE --db 42 --peers results/peers/SET.json -o results/transform/SET.json
    python -m benchmarks.photo SOURCE --db 42 --archive PHOTOS.smalti -o ...     # measures an archive that is there

Bytes are of the file on disk, without labels and names. Quality is that of what the reader decodes from it, a mean
over all images (over what is seen, where there is alpha; of the range that the pixels fill, with --of-range). Sets
other than named ones come from `benchmarks.sets`, figures of other codecs from `benchmarks.peers`.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.open import open_images
from smalti.codec.compress import compress_images
from smalti.codec.request import FitRequest, PackOptions
from smalti.exchange import compare
from smalti.sources.open import open_groups

DECODED_PIXELS = 16_000_000
DECODING_ROUNDS = 3


def measure(arguments: argparse.Namespace) -> Findings:
    """Make the archive, or take the given one, and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = arguments.archive, None
        if path is None:
            path, started = Path(folder) / "set.smalti", time.monotonic()
            request = FitRequest(profile="photo", effort=arguments.effort, **_target(arguments))
            compress_images(
                arguments.source, path, request=request, options=PackOptions(labels=False, threads=arguments.threads)
            )
            seconds = round(time.monotonic() - started)
        figures = _figures(arguments, path)
    if seconds is not None:
        figures |= {"seconds_of_fit_and_pack": seconds, "effort": arguments.effort}
    return Findings(figures | {"peers": _peers(arguments, figures)}, rounds=DECODING_ROUNDS)


def _target(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.of_range:
        return {"psnr": arguments.db}
    low, high = arguments.of_range
    return {"target_mse": ((high - low) / 65_535) ** 2 * 10 ** (-arguments.db / 10)}


def _figures(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Bytes, quality and decoding speed of an archive."""
    originals = open_groups(arguments.source)
    with open_images(path, threads=1) as archive:
        info = archive.info()
        quality = compare(archive, originals).quality
    columns = info.bytes.columns
    count = min(info.images, round(DECODED_PIXELS * info.images / info.pixels) or 1)
    bare = info.archive_bytes - columns
    db = quality.psnr_db if quality.seen is None else quality.seen.psnr_db
    if arguments.of_range:
        db = quality.range_psnr_db
    return {
        "set": Path(arguments.source).name,
        "images": info.images,
        "raw_bytes": info.raw_bytes,
        "goal_db": arguments.db,
        "db": None if db is None else round(db, 3),
        "ssim": quality.ssim_mean,
        "bytes_without_columns": bare,
        "bytes_per_image": round(bare / info.images, 2),
        "bytes": {name: getattr(info.bytes, name) for name in ("header", "model", "prior", "tokens", "index")},
        "megapixels_per_second": {threads: decoding(path, threads, count) for threads in (1, 2)},
    }


def decoding(path: Path, threads: int, count: int) -> float:
    """Megapixels a second of decoding the first `count` images to arrays, from open to done: the median of rounds."""
    rates = []
    for _ in range(DECODING_ROUNDS):
        started = time.perf_counter()
        with open_images(path, threads=threads) as archive:
            images = archive.images(slice(count))
        rates.append(sum(image.shape[0] * image.shape[1] for image in images) / (time.perf_counter() - started) / 1e6)
    return round(statistics.median(rates), 2)


def _peers(arguments: argparse.Namespace, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Each peer's bytes for an image at the goal, from files of `benchmarks.peers`, and the archive's share of them."""
    found = []
    for path in arguments.peers:
        measured = json.loads(path.read_text())["figures"]
        for target in measured["targets"]:
            if math.isclose(target["db"], arguments.db):
                for need in target["needs"]:
                    share = round(figures["bytes_per_image"] / need["bytes_per_image"], 3)
                    kept = {name: need[name] for name in ("codec", "way", "effort", "bytes_per_image")}
                    found.append({**kept, "share": share})
    return found


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--db", type=float, default=36.0, help="the target [default: 36]")
    parser.add_argument("--of-range", type=int, nargs=2, metavar=("LOW", "HIGH"), help="16 bits: the range of the set")
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--archive", type=Path, help="measures this archive instead of making one")
    parser.add_argument("--peers", type=Path, nargs="*", default=[], help="files of benchmarks.peers")


if __name__ == "__main__":
    harness.main("benchmarks.photo", __doc__, declare, measure)
