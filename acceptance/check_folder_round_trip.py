"""Make a folder of 1,000 Fashion-MNIST PNG files in ten class folders, compress and decompress it, compare.

    python -m acceptance.check_folder_round_trip -o results/folder_round_trip.json

Through the command line alone: smalti compress FOLDER, then smalti decompress. Names, labels, class names and order
must come back, and every PNG must hold the pixels that the archive gives for its index.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import smalti
from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import run_smalti
from smalti.images.source import read_images
from smalti.sources.open import open_source

CLASSES = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def make_folder(folder: Path, source: str, images: int) -> None:
    """Write the first test images as <class>/<index>.png."""
    batch = read_images(open_source(source), images)
    if batch.labels is None:
        raise SystemExit(f"{source} came without labels")
    for index, (pixels, label) in enumerate(zip(batch.pixels[..., 0], batch.labels, strict=True)):
        path = folder / CLASSES[label] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--source", default="fashion-mnist/test", help="grey images with labels 0 to 9")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--model", type=Path, help="to pack with [default: one is fitted]")


def measure(arguments: argparse.Namespace) -> Findings:
    """Pack the folder, take it apart again, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        originals, archive, back = Path(scratch, "originals"), Path(scratch, "f.smalti"), Path(scratch, "back")
        make_folder(originals, arguments.source, arguments.images)
        model = ["--model", arguments.model] if arguments.model else []
        packed = run_smalti("compress", originals, "-o", archive, *model)
        run_smalti("decompress", archive, "-o", back)
        first, second = (read_images(open_source(folder)) for folder in (originals, back))
        with smalti.open(archive) as opened:
            pixels, labels, names, class_names = opened[:], opened.labels, opened.names, opened.class_names
        expected = open_source(originals).class_names
        equal = {
            "names_and_order_equal": first.names == second.names == names,
            "labels_equal": bool(np.array_equal(first.labels, second.labels) and np.array_equal(first.labels, labels)),
            "class_names_equal": class_names == open_source(back).class_names == expected,
            "pixels_equal_to_archive": bool(np.array_equal(second.pixels[..., 0], pixels)),
        }
    sizes = {"images": len(second), "archive_bytes": packed["archive_bytes"], "raw_bytes": packed["raw_bytes"]}
    return Findings(sizes | equal, all(equal.values()))


if __name__ == "__main__":
    harness.main("acceptance.check_folder_round_trip", __doc__, declare, measure)
