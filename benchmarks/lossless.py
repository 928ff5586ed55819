"""What `lossless` makes of a set: bytes, the largest error and the speed of a whole archive, beside other codecs.

    python -m benchmarks.lossless SOURCE --peers results/lossless/peers/SET.json -o results/lossless/SET.json
    python -m benchmarks.lossless SOURCE --archive SET.smalti -o ...             # measures an archive that is there
    python -m benchmarks.lossless cifar-10 --max-error 2 -o ...                  # near-lossless

Bytes are of the file on disk, without labels and names. The error is the largest of any sample that the reader decodes
from it, over all images. Speed is megabytes of raw samples a second, of up to 4 megapixels, the median of three.
Sets other than named ones come from `benchmarks.sets`, figures of other codecs from `benchmarks.lossless_peers`.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.photo import DECODING_ROUNDS, decoding
from smalti.archive.open import open_images
from smalti.codec.compress import compress_images
from smalti.codec.request import FitRequest, PackOptions
from smalti.sources.open import open_any_size

DECODED_PIXELS = 4_000_000


def measure(arguments: argparse.Namespace) -> Findings:
    """Make the archive, or take the given one, and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = arguments.archive, None
        if path is None:
            path, started = Path(folder) / "set.smalti", time.monotonic()
            request = FitRequest(max_error=arguments.max_error, effort=arguments.effort)
            options = PackOptions(labels=False, threads=arguments.threads, compare=False)
            compress_images(arguments.source, path, request=request, options=options)
            seconds = round(time.monotonic() - started)
        figures = _figures(arguments, path)
    if seconds is not None:
        figures |= {"seconds_of_fit_and_pack": seconds, "effort": arguments.effort}
    return Findings(
        figures | {"peers": _peers(arguments, figures)},
        passed=figures["largest_error"] <= arguments.max_error,
        rounds=DECODING_ROUNDS,
    )


def _figures(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Bytes, the largest error and decoding speed of an archive."""
    with open_images(path) as archive:
        info = archive.info()
    bare = info.archive_bytes - info.bytes.columns
    count = min(info.images, round(DECODED_PIXELS * info.images / info.pixels) or 1)
    a_pixel = info.raw_bytes / info.pixels
    return {
        "set": Path(arguments.source).name,
        "images": info.images,
        "raw_bytes": info.raw_bytes,
        "max_error": arguments.max_error,
        "largest_error": _largest_error(arguments.source, path),
        "bytes_without_columns": bare,
        "bytes_per_image": round(bare / info.images, 3),
        "bits_per_sample": round(8 * bare * np.dtype(info.dtype).itemsize / info.raw_bytes, 4),
        "bytes": {name: getattr(info.bytes, name) for name in ("header", "model", "prior", "tokens", "index")},
        "share_of_weights": round(info.bytes.prior / bare, 4),
        "megabytes_per_second": {threads: round(a_pixel * decoding(path, threads, count), 2) for threads in (1, 2)},
    }


def _largest_error(source: str, path: Path) -> int:
    """The largest error of any sample of any image."""
    largest, number = 0, 0
    with open_images(path) as archive:
        for part in open_any_size(source):
            for batch in part.batches(256):
                decoded = archive.images(range(number, number + len(batch)))
                number += len(batch)
                for one, other in zip(batch.pixels, decoded, strict=True):
                    apart = np.abs(one.astype(np.int64) - np.asarray(other, np.int64).reshape(one.shape))
                    largest = max(largest, int(apart.max()))
    return largest


def _peers(arguments: argparse.Namespace, figures: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Bytes of other codecs, and the share of them that the archive takes."""
    if arguments.peers is None:
        return None
    needs = json.loads(arguments.peers.read_text(encoding="utf-8"))["figures"]["needs"]
    return [{**need, "share": round(figures["bytes_without_columns"] / need["bytes_of_set"], 3)} for need in needs]


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--max-error", type=int, default=0, metavar="E", help="of each sample [default: 0]")
    parser.add_argument("--archive", type=Path, help="measure this archive instead of a new one")
    parser.add_argument("--effort", type=int, help="of the fit [default: 3]")
    parser.add_argument("--threads", type=int, help="of fitting and packing [default: all cores]")
    parser.add_argument("--peers", type=Path, help="figures of benchmarks.lossless_peers")


if __name__ == "__main__":
    harness.main("benchmarks.lossless", __doc__, declare, measure)
