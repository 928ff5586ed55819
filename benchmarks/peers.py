"""What AVIF and JPEG XL take for a set of images, as sheets and file by file, and how fast AVIF files decode.

    python -m benchmarks.sets blood-cells --photos ../shared/data/blood-cells -o blood-cells
    python -m benchmarks.peers blood-cells --db 36 --db 42 -o results/peers/blood-cells.json

SOURCE is a folder or whatever else `smalti compress` takes. Quality is PSNR of the mean over images of the squared
error; over what is seen, if there is alpha; with --of-range against the range that the pixels of the set fill. A set of
more pixels than --most-pixels is measured on images that are evenly spread over it, and its bytes are those of the
sample times its pixels over the sample's. Which effort is better is seen on the images of --effort-pixels.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import AvifImagePlugin

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.timing import seconds_of, summary
from smalti.images.batch import Pixels
from smalti.images.seen import mse_at_db, psnr_db
from smalti.images.source import ImageSource
from smalti.peers.curves import Curve, Need, better_effort
from smalti.peers.peer_codecs import Peer, decode_avif, peer_versions, peers_for
from smalti.sources.open import open_groups

WAYS = ("sheets", "files")
FULL = 65535


@dataclass(frozen=True)
class Sampled:
    """Some images of a set. whole : images and pixels of all of it"""

    images: list[Pixels]
    whole_images: int
    whole_pixels: int

    @property
    def pixels(self) -> int:
        """The number of pixels of the sample."""
        return sum(image.shape[0] * image.shape[1] for image in self.images)

    def of_whole(self, size: float) -> float:
        """The bytes of the whole set, from those of the sample."""
        return size * self.whole_pixels / self.pixels


def sample(groups: Sequence[ImageSource], most_pixels: int) -> Sampled:
    """Evenly spread images of the groups, one shape after the other, of about `most_pixels`; all if they have fewer."""
    counts = [len(group) for group in groups]
    areas = [group.image_shape[0] * group.image_shape[1] for group in groups]
    pixels = sum(count * area for count, area in zip(counts, areas, strict=True))
    images = sum(counts)
    wanted = min(images, max(1, round(images * most_pixels / pixels)))
    chosen = np.unique(np.linspace(0, images - 1, wanted).round().astype(np.int64))
    found: list[Pixels] = []
    first = 0
    for group, count in zip(groups, counts, strict=True):
        entries = chosen[(chosen >= first) & (chosen < first + count)] - first
        if len(entries) == count:
            found += [image for batch in group.batches(256) for image in batch.pixels]
        else:
            found += [next(group.batches(1, entry, entry + 1)).pixels[0] for entry in entries.tolist()]
        first += count
    return Sampled(found, images, pixels)


def write_images(images: Sequence[Pixels], folder: Path) -> None:
    """Images as PNG files, in their order."""
    for number, image in enumerate(images):
        (folder / f"{number:06}.png").write_bytes(
            imagecodecs.png_encode(image.squeeze(2) if image.shape[2] == 1 else image)
        )


def span_of(groups: Sequence[ImageSource]) -> tuple[int, int]:
    """The least and the largest pixel of all."""
    ends = [(int(batch.pixels.min()), int(batch.pixels.max())) for group in groups for batch in group.batches(64)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def say(line: str) -> None:
    """Tell what was measured."""
    print(line, file=sys.stderr, flush=True)


def line_of(need: Need, few: Sequence[Need], some: Sampled, peer: Peer, span: float) -> dict[str, Any]:
    """A line of the table: bytes an image, and what they come from. few : of the efforts on few images, may be empty"""
    whole = None if need.bytes is None else some.of_whole(need.bytes)
    error = need.points[-1].standard_error * len(some.images) * some.whole_pixels / some.pixels / some.whole_images
    return {
        "codec": peer.name,
        "way": need.way,
        "effort": need.effort,
        "bytes_per_image": None if whole is None else round(whole / some.whole_images, 3),
        "bytes_of_set": None if whole is None else round(whole),
        "standard_error_of_bytes_per_image": round(error, 3) if need.way == "files" else None,
        "coarsest": need.coarsest,
        "setting": peer.setting_words,
        "points_of_sample": [{**asdict(point), "psnr_db": psnr_db(point.mse, span)} for point in need.points],
        "efforts_on_few": {each.effort: None if each.bytes is None else round(each.bytes) for each in few},
    }


def lines_at(
    peer: Peer, some: Sampled, few: Sampled, mse: float, span: float, start: int | None
) -> tuple[list[dict[str, Any]], list[bytes], int]:
    """The lines of a codec for an error, its files at the setting that reaches it, and the number of that setting.

    start : the setting that a lower quality needed, None for the first
    """
    best, index, efforts = better_effort(peer, few.images, mse, "sheets", say, start)
    lines: list[dict[str, Any]] = []
    files: list[bytes] = []
    for way in WAYS:
        curve = Curve(peer, peer.efforts[best], some.images, way, say)
        need, index = curve.need(mse, index, 2)
        lines.append(line_of(need, efforts, some, peer, span))
        files = curve.files[index]
    return lines, files, index


def decoding(files: Sequence[bytes], channels: int, pixels: int, rounds: int) -> dict[str, Any]:
    """Seconds that Pillow takes for AVIF files, on 1 and on 2 threads; a file is decoded by one thread."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    decode = partial(decode_avif, channels=channels)
    found: dict[str, Any] = {"images": len(files), "pixels": pixels, "bytes": sum(map(len, files))}
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool:
            seconds = [seconds_of(lambda: list(pool.map(decode, files))) for _ in range(rounds + 1)][1:]
        found[f"{threads}_thread{'s' if threads > 1 else ''}"] = {
            **summary(seconds),
            "megapixels_per_second": round(pixels / 1e6 / statistics.median(seconds), 3),
        }
    return found


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--db", type=float, action="append", required=True, help="PSNR; may be given several times")
    parser.add_argument("--of-range", action="store_true", help="decibels of the range that the pixels of the set fill")
    parser.add_argument("--peer", action="append", help="a codec, such as AVIF; may be given again [default: all]")
    parser.add_argument("--most-pixels", type=float, default=2e6, help="of the sample [default: 2e6]")
    parser.add_argument("--effort-pixels", type=float, default=3e5, help="of the images for the efforts [default: 3e5]")
    parser.add_argument("--rounds", type=int, default=5, help="of decoding [default: 5]")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure the peers on the source that is named on the command line."""
    groups = open_groups(arguments.source, report=say)
    channels = {group.image_shape[2] for group in groups}
    dtypes = {group.dtype for group in groups}
    if len(channels) > 1 or len(dtypes) > 1:
        raise SystemExit("images of one number of channels and one depth, please")
    wide = dtypes == {np.dtype(np.uint16)}
    ends = span_of(groups) if arguments.of_range else (0, FULL if wide else 255)
    span = (ends[1] - ends[0]) / (FULL if wide else 255)
    some, few = sample(groups, int(arguments.most_pixels)), sample(groups, int(arguments.effort_pixels))
    peers = [
        peer
        for peer in peers_for(next(iter(channels)), next(iter(dtypes)))
        if arguments.peer is None or peer.name in arguments.peer
    ]
    starts: dict[str, int] = {}
    targets: list[dict[str, Any]] = []
    for decibels in sorted(arguments.db):
        mse = mse_at_db(decibels, span)
        lines: list[dict[str, Any]] = []
        avif: list[bytes] = []
        for peer in peers:
            found, files, starts[peer.name] = lines_at(peer, some, few, mse, span, starts.get(peer.name))
            lines += found
            avif = files if peer.name == "AVIF" else avif
        speed = None if wide or not avif else decoding(avif, next(iter(channels)), some.pixels, arguments.rounds)
        targets.append({"db": decibels, "mse": mse, "needs": lines, "pillow_decodes_avif_files": speed})
    figures = {
        "set": Path(arguments.source).name,
        "images": some.whole_images,
        "pixels": some.whole_pixels,
        "shapes": len({group.image_shape for group in groups}),
        "channels": next(iter(channels)),
        "dtype": str(next(iter(dtypes))),
        "pixels_from_to": list(ends) if arguments.of_range else None,
        "quality": "PSNR of the mean over images of the squared error"
        + (" over what is seen (images.seen)" if channels <= {2, 4} else "")
        + (" against the range that the pixels fill" if arguments.of_range else ""),
        "sample": {"images": len(some.images), "pixels": some.pixels},
        "few": {"images": len(few.images), "pixels": few.pixels},
        "libraries": peer_versions(),
        "targets": targets,
    }
    return Findings(figures, rounds=arguments.rounds)


if __name__ == "__main__":
    harness.main("benchmarks.peers", __doc__, declare, measure)
