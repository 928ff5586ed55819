"""Make a folder of 1,000 Fashion-MNIST PNG files in ten class folders, compress and decompress it, compare.

    python scripts/check_folder_round_trip.py results/folder_round_trip.json

Through the command line alone: smalti compress FOLDER, then smalti decompress. Names, labels, class names and order
must come back, and every PNG must hold the pixels that the archive gives for its index.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import smalti
from smalti.images.source import read_images
from smalti.sources.open import open_source

CLASSES = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
IMAGES = 1000


def run(*arguments: str) -> dict[str, Any]:
    """Run a smalti command and return its JSON."""
    command = [sys.executable, "-m", "smalti", *arguments, "--json"]
    plain: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return plain


def make_folder(folder: Path) -> None:
    """Write the first test images as <class>/<index>.png."""
    batch = read_images(open_source("fashion-mnist/test"), IMAGES)
    if batch.labels is None:
        sys.exit("fashion-mnist came without labels")
    for index, (pixels, label) in enumerate(zip(batch.pixels[..., 0], batch.labels, strict=True)):
        path = folder / CLASSES[label] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def main() -> None:
    """Run the check and write the result named on the command line."""
    with tempfile.TemporaryDirectory() as scratch:
        originals, archive, back = Path(scratch, "originals"), Path(scratch, "f.smalti"), Path(scratch, "back")
        make_folder(originals)
        packed = run("compress", str(originals), "-o", str(archive))
        run("decompress", str(archive), "-o", str(back))
        first, second = (read_images(open_source(folder)) for folder in (originals, back))
        with smalti.open(archive) as opened:
            pixels, labels, names, class_names = opened[:], opened.labels, opened.names, opened.class_names
        result = {
            "command": "python scripts/check_folder_round_trip.py results/folder_round_trip.json",
            "images": len(second),
            "archive_bytes": packed["archive_bytes"],
            "raw_bytes": packed["raw_bytes"],
            "names_and_order_equal": first.names == second.names == names,
            "labels_equal": bool(np.array_equal(first.labels, second.labels) and np.array_equal(first.labels, labels)),
            "class_names_equal": class_names == open_source(back).class_names == tuple(sorted(CLASSES)),
            "pixels_equal_to_archive": bool(np.array_equal(second.pixels[..., 0], pixels)),
        }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(0 if all(value for value in result.values()) else 1)


if __name__ == "__main__":
    main()
