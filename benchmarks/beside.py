"""A picture of images beside what smalti, AVIF and JPEG XL make of them with as many bytes.

    python -m benchmarks.beside --case emoji emoji.smalti --case crops crops.smalti -o results/transform/beside.json
        --picture docs/figures/beside.png

A case is a source and its archive. smalti's bytes of an image are those of the archive without labels and names,
divided by the number of images: the model is in them. AVIF and JPEG XL get files of at most these bytes, or their
smallest file. Under each picture stand its bytes and its PSNR (over what is seen, with alpha); transparent pictures are
laid on white. Images are evenly spread over the set.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.images.batch import Pixels
from smalti.images.quality import QualityMeter
from smalti.images.seen import has_alpha, psnr_db, seen_errors
from smalti.peers.peer_codecs import Peer, peers_for
from smalti.sources.open import open_any_size

NAMES = ("original", "smalti", "AVIF", "JPEG XL")
SIDE, EDGE, LINE = 128, 8, 14

Made = tuple[Pixels, int]
"""A decoded image and its bytes."""


def smallest_within(peer: Peer, image: Pixels, most: float) -> Made:
    """The best image of a codec within so many bytes, or its smallest one."""
    effort = peer.efforts[0]
    low, high = 0, len(peer.settings) - 1
    best = effort.encode(image, peer.settings[0])
    while low <= high:
        middle = (low + high) // 2
        data = effort.encode(image, peer.settings[middle])
        if len(data) <= most:
            best, low = data, middle + 1
        else:
            high = middle - 1
    return effort.decode(best), len(best)


def db_of(original: Pixels, decoded: Pixels) -> float:
    """The PSNR of an image [H, W, C]."""
    first, second = original[None], decoded[None]
    if has_alpha(first):
        return psnr_db(float(seen_errors(first, second)[0])) or math.inf
    meter = QualityMeter(with_ssim=False)
    meter.add(first, second)
    return psnr_db(meter.result().mse_mean) or math.inf


def shown(image: Pixels) -> NDArray[np.uint8]:
    """RGB on white, enlarged by whole numbers: [h, w, 3]."""
    values = image.astype(np.float64) * (255 / np.iinfo(image.dtype).max)
    if image.shape[2] in (2, 4):
        alpha = values[..., -1:] / 255
        values = values[..., :-1] * alpha + 255 * (1 - alpha)
    plain = np.broadcast_to(values[..., :3], (*values.shape[:2], 3)).round().astype(np.uint8)
    times = max(1, SIDE // max(plain.shape[:2]))
    plain = plain.repeat(times, 0).repeat(times, 1)
    return np.asarray(plain[:SIDE, :SIDE])


def draw(rows: Sequence[Sequence[tuple[Pixels, str]]], path: Path) -> None:
    """Write a table of pictures, each with a line under it."""
    sheet = Image.new("RGB", (len(NAMES) * (SIDE + EDGE) + EDGE, LINE + len(rows) * (SIDE + LINE + EDGE)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(NAMES):
        pen.text((EDGE + column * (SIDE + EDGE), 0), name, fill="black")
    for number, row in enumerate(rows):
        for column, (image, words) in enumerate(row):
            place = (EDGE + column * (SIDE + EDGE), LINE + number * (SIDE + LINE + EDGE))
            sheet.paste(Image.fromarray(shown(image)), place)
            pen.text((place[0], place[1] + SIDE), words, fill="black")
    sheet.quantize(256).save(path, optimize=True)


def case_of(source: str, path: str, images: int) -> tuple[dict[str, Any], list[list[tuple[Pixels, str]]]]:
    """The figures of a case, and its rows of pictures."""
    with open_images(path) as archive:
        assert isinstance(archive, Archive)
        info = archive.info()
        own = (info.archive_bytes - info.bytes.columns) / info.images
        numbers = np.linspace(0, info.images - 1, images + 2).round().astype(int)[1:-1].tolist()
        decoded = [archive.images([number])[0] for number in numbers]
    opened = open_any_size(source)[0]
    originals = [next(opened.batches_at(np.array([number]), 1)).pixels[0] for number in numbers]  # type: ignore[attr-defined]
    peers = {peer.name: peer for peer in peers_for(opened.channels, opened.dtype)}
    rows, figures = [], []
    for number, original, mine in zip(numbers, originals, decoded, strict=True):
        plain = mine.reshape(original.shape)
        made = {"smalti": (plain, round(own))}
        made |= {name: smallest_within(peers[name], original, own) for name in NAMES[2:]}
        found = {name: {"bytes": size, "db": round(db_of(original, image), 2)} for name, (image, size) in made.items()}
        words = {name: f"{one['bytes']:,} B, {one['db']:.1f} dB" for name, one in found.items()}
        rows.append([(original, ""), *((image, words[name]) for name, (image, _) in made.items())])
        figures.append({"image": number, **found})
    return {"set": Path(source).name, "images": figures}, rows


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--case", nargs=2, action="append", required=True, metavar=("SOURCE", "ARCHIVE"))
    parser.add_argument("--images", type=int, default=2, help="of each case [default: 2]")
    parser.add_argument("--picture", type=Path, required=True, help="the PNG file to write")


def measure(arguments: argparse.Namespace) -> Findings:
    """Make the picture."""
    cases = [case_of(source, archive, arguments.images) for source, archive in arguments.case]
    draw([row for _, rows in cases for row in rows], arguments.picture)
    return Findings({"cases": [figures for figures, _ in cases]}, rounds=1)


if __name__ == "__main__":
    harness.main("benchmarks.beside", __doc__, declare, measure)
