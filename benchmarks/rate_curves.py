"""Curves of bytes against quality: `photo`, AVIF and JPEG XL on the same images of a set.

    python -m benchmarks.rate_curves cells emoji --db 26 --db 36 --db 46 -o results/transform/curves-SET.json

Each SOURCE gives evenly spread images of about --most-pixels pixels, which are a collection of their own: smalti's file
of them has its model inside. AVIF and JPEG XL code evenly spread images of about --peer-pixels, at the slower of their
efforts. Quality is PSNR of the mean over images of the squared error of what a reader decodes; it
is over what is seen if there is alpha, and of the range that the pixels of the set fill if they have 16 bits.
`benchmarks.peers` says how AVIF and JPEG XL are measured.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.peers import FULL, WAYS, Sampled, sample, say, span_of, write_images
from smalti.archive.open import open_images
from smalti.codec.compress import compress_images
from smalti.codec.request import FitRequest, PackOptions
from smalti.exchange import compare
from smalti.images.seen import mse_at_db, psnr_db
from smalti.peers.curves import Curve, first_reaching
from smalti.peers.peer_codecs import Peer, peer_versions, peers_for
from smalti.sources.open import open_groups


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all sources."""
    curves = [_curves(source, arguments) for source in arguments.sources]
    return Findings({"effort": arguments.effort, "libraries": peer_versions(), "curves": curves}, rounds=1)


def _curves(source: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The curves of one source."""
    groups = open_groups(source, report=say)
    wide = groups[0].dtype == np.dtype(np.uint16)
    low, high = span_of(groups) if wide else (0, 255)
    span = (high - low) / (FULL if wide else 255)
    some, few = sample(groups, int(arguments.most_pixels)), sample(groups, int(arguments.peer_pixels))
    found = peers_for(groups[0].image_shape[2], groups[0].dtype)
    peers = [peer for peer in found if arguments.peer is None or peer.name in arguments.peer]
    points = []
    with tempfile.TemporaryDirectory() as folder:
        write_images(some.images, Path(folder))
        starts: dict[str, int] = {}
        for decibels in sorted(arguments.db):
            mse = mse_at_db(decibels, span)
            own = _smalti(Path(folder), mse, span, len(some.images), arguments)
            others = [line for peer in peers for line in _peer(peer, few, mse, starts)]
            say(f"{source} at {decibels} dB: {own['bytes_per_image']} and {others[0]['bytes_per_image']} bytes")
            points.append({"db": decibels, "smalti": own, "peers": others})
    return {
        "set": Path(source).name,
        "images": len(some.images),
        "pixels": some.pixels,
        "images_of_peers": len(few.images),
        "points": points,
    }


def _smalti(folder: Path, mse: float, span: float, images: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Bytes and quality of an archive."""
    with tempfile.TemporaryDirectory() as beside:
        path, started = Path(beside) / "set.smalti", time.monotonic()
        request = FitRequest(profile="photo", effort=arguments.effort, target_mse=mse)
        options = PackOptions(labels=False, threads=arguments.threads, compare=False)
        compress_images(str(folder), path, request=request, options=options)
        seconds = time.monotonic() - started
        with open_images(path, threads=1) as archive:
            info = archive.info()
            quality = compare(archive, open_groups(str(folder))).quality
            kind = info.decoder
    error = quality.mse_mean if quality.seen is None else quality.seen.mse_mean
    bare = info.archive_bytes - info.bytes.columns
    return {
        "kind": kind,
        "db": round(psnr_db(error, span) or math.inf, 3),
        "bytes_per_image": round(bare / images, 2),
        "model_and_prior_bytes": info.bytes.model + info.bytes.prior,
        "seconds": round(seconds),
    }


def _peer(peer: Peer, few: Sampled, mse: float, starts: dict[str, int]) -> list[dict[str, Any]]:
    """What a codec takes as sheets and as files."""
    effort, found = peer.efforts[-1], []
    for way in WAYS:
        curve = Curve(peer, effort, few.images, way, lambda line: None)
        key = f"{peer.name} {way}"
        start = starts[key] if key in starts else first_reaching(curve, mse)
        need, starts[key] = curve.need(mse, start, 2)
        own = None if need.bytes is None else round(need.bytes / len(few.images), 2)
        found.append({"codec": peer.name, "way": way, "effort": effort.name, "bytes_per_image": own})
    return found


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("sources", metavar="SOURCE", nargs="+")
    parser.add_argument("--db", type=float, action="append", required=True, help="PSNR; may be given several times")
    parser.add_argument("--peer", action="append", help="a codec, such as AVIF; may be given again [default: all]")
    parser.add_argument("--most-pixels", type=float, default=2e6, help="of the images of a set [default: 2e6]")
    parser.add_argument("--peer-pixels", type=float, default=3e5, help="of the images for other codecs [default: 3e5]")
    parser.add_argument("--effort", type=int, default=1, help="of smalti [default: 1]")
    parser.add_argument("--threads", type=int, default=1, help="of smalti [default: 1]")


if __name__ == "__main__":
    harness.main("benchmarks.rate_curves", __doc__, declare, measure)
