"""What lossless codecs take for a set of images, as sheets and file by file, and compressors of bytes for its arrays.

    python -m benchmarks.sets noto-emoji -o noto-emoji
    python -m benchmarks.lossless_peers noto-emoji -o results/lossless/peers/noto-emoji.json
    python -m benchmarks.lossless_peers cifar-10 --max-error 2 -o results/lossless/peers/cifar-10-near-2.json

SOURCE is a folder or whatever else `smalti compress` takes. JPEG XL runs at effort 9. A set of more pixels than
--most-pixels is measured on images that are evenly spread over it, and its bytes are those of the sample times its
pixels over the sample's. zstd -19 and brotli 11 take the bytes of all samples, image after image. With --max-error
JPEG-LS alone is measured, for the others do not bound the error of a sample.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.peers import Sampled, sample
from smalti.images.batch import Pixels
from smalti.peers.lossless_peers import LosslessPeer, lossless_peers
from smalti.peers.sheets import draw_sheet, lay_out
from smalti.sources.open import open_groups

EFFORT = 9


def say(line: str) -> None:
    """Tell what was measured."""
    print(line, file=sys.stderr, flush=True)


def sheets_of(images: list[Pixels]) -> list[Pixels]:
    """All images on sheets."""
    sheets = lay_out([(image.shape[0], image.shape[1]) for image in images])
    return [draw_sheet(sheet, images) for sheet in sheets]


def line(name: str, way: str, setting: str, size: int, some: Sampled) -> dict[str, Any]:
    """A line of the table."""
    whole = some.of_whole(size)
    say(f"{name}, {way}: {whole / some.whole_images:,.1f} bytes an image")
    return {
        "codec": name,
        "way": way,
        "setting": setting,
        "bytes_of_set": round(whole),
        "bytes_per_image": round(whole / some.whole_images, 3),
    }


def size_of(peer: LosslessPeer, images: list[Pixels]) -> int:
    """What a codec takes for some images, on two threads."""
    with ThreadPoolExecutor(2) as pool:
        return sum(len(data) for data in pool.map(peer.encode, images))


def bytes_lines(some: Sampled) -> list[dict[str, Any]]:
    """What compressors of bytes take for the samples of all images."""
    raw = b"".join(image.tobytes() for image in some.images)
    return [
        line("zstd", "arrays", "level 19", len(imagecodecs.zstd_encode(raw, level=19)), some),
        line("brotli", "arrays", "level 11", len(imagecodecs.brotli_encode(raw, level=11, lgwin=24)), some),
    ]


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--max-error", type=int, default=0, metavar="E", help="of JPEG-LS [default: 0]")
    parser.add_argument("--most-pixels", type=float, default=6e6, help="of the sample [default: 6e6]")
    parser.add_argument("--no-arrays", action="store_true", help="leave compressors of bytes out")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure the peers on the source that is named on the command line."""
    groups = open_groups(arguments.source, report=say)
    channels, dtypes = {group.image_shape[2] for group in groups}, {group.dtype for group in groups}
    if len(channels) > 1 or len(dtypes) > 1:
        raise SystemExit("images of one number of channels and one depth, please")
    some = sample(groups, int(arguments.most_pixels))
    peers = lossless_peers(next(iter(channels)), next(iter(dtypes)), arguments.max_error, EFFORT)
    if arguments.max_error:
        peers = tuple(peer for peer in peers if peer.name == "JPEG-LS")
    lines = []
    for peer in peers:
        for way, images in (("sheets", sheets_of(some.images)), ("files", some.images)):
            lines.append(line(peer.name, way, peer.setting, size_of(peer, images), some))
    if not (arguments.max_error or arguments.no_arrays):
        lines += bytes_lines(some)
    raw = sum(np.prod(group.image_shape) * len(group) * group.dtype.itemsize for group in groups)
    figures = {
        "set": Path(arguments.source).name,
        "images": some.whole_images,
        "pixels": some.whole_pixels,
        "raw_bytes": int(raw),
        "channels": next(iter(channels)),
        "dtype": str(next(iter(dtypes))),
        "max_error": arguments.max_error,
        "sample": {"images": len(some.images), "pixels": some.pixels},
        "imagecodecs": str(imagecodecs.__version__),
        "needs": lines,
    }
    return Findings(figures)


if __name__ == "__main__":
    harness.main("benchmarks.lossless_peers", __doc__, declare, measure)
