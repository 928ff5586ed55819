"""Curves of bits against seconds: what each effort of a lossless fit comes to on the same images of a set.

    python -m benchmarks.lossless_efforts cifar-10 --effort 0 --effort 3 -o results/lossless/SET-efforts.json

SOURCE gives evenly spread images of about --most-pixels pixels, which are a collection of their own. Bytes are of the
file on disk. Speed is megabytes of raw samples a second that a reader decodes, the median of three.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.peers import Sampled, sample, say, write_images
from benchmarks.photo import DECODING_ROUNDS, decoding
from smalti.archive.open import open_images
from smalti.codec.compress import compress_images
from smalti.codec.request import FitRequest, PackOptions
from smalti.sources.open import open_groups

DECODED_PIXELS = 2_000_000


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all efforts."""
    some = sample(open_groups(arguments.source, report=say), int(arguments.most_pixels))
    with tempfile.TemporaryDirectory() as folder:
        write_images(some.images, Path(folder))
        points = [_point(Path(folder), effort, some, arguments) for effort in arguments.effort]
    return Findings(
        {
            "set": Path(arguments.source).name,
            "images": len(some.images),
            "pixels": some.pixels,
            "max_error": arguments.max_error,
            "threads": arguments.threads,
            "efforts": points,
        },
        rounds=DECODING_ROUNDS,
    )


def _point(folder: Path, effort: int, some: Sampled, arguments: argparse.Namespace) -> dict[str, Any]:
    """Bits, seconds and speeds of one effort."""
    with tempfile.TemporaryDirectory() as beside:
        path, started = Path(beside) / "set.smalti", time.monotonic()
        request = FitRequest(max_error=arguments.max_error, effort=effort)
        options = PackOptions(labels=False, threads=arguments.threads, compare=False)
        compress_images(str(folder), path, request=request, options=options)
        seconds = time.monotonic() - started
        with open_images(path) as archive:
            info = archive.info()
        bare = info.archive_bytes - info.bytes.columns
        count = min(info.images, round(DECODED_PIXELS * info.images / info.pixels) or 1)
        a_pixel = info.raw_bytes / info.pixels
        found = {
            "effort": effort,
            "seconds_of_fit_and_pack": round(seconds),
            "bytes_per_image": round(bare / info.images, 2),
            "bits_per_sample": round(8 * bare * np.dtype(info.dtype).itemsize / info.raw_bytes, 4),
            "bytes_of_weights": info.bytes.prior,
            "megabytes_per_second": {threads: round(a_pixel * decoding(path, threads, count), 2) for threads in (1, 2)},
        }
    say(str(found))
    return found


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--effort", type=int, action="append", required=True, help="0 to 9; may be given several times")
    parser.add_argument("--max-error", type=int, default=0, metavar="E", help="of each sample [default: 0]")
    parser.add_argument("--most-pixels", type=float, default=6e6, help="of the images of the set [default: 6e6]")
    parser.add_argument("--threads", type=int, default=2, help="of fitting and packing [default: 2]")


if __name__ == "__main__":
    harness.main("benchmarks.lossless_efforts", __doc__, declare, measure)
