"""What small blocks bring and cost: one random image, all images, and bytes, by the images of a block.

    smalti fit cifar-10/test -o photo.smalti-model --profile photo --effort 1
    python -m benchmarks.blocks --case "CIFAR-10, 36 dB" cifar-10/test photo.smalti-model -o results/blocks.json

--case NAME SOURCE MODEL : the source is packed with the model for each number of `--block-images`. An image is read at
random from an open archive, from a block that was not read before. All images are read on 2 threads.
"""

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import run_smalti
from benchmarks.speed import one_image, read_images
from benchmarks.timing import in_turns

THREADS = 2


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all cases."""
    numbers = [None, *arguments.block_images]
    return Findings({"cases": [_case(*own, numbers, arguments.rounds) for own in arguments.case]}, arguments.rounds)


def _case(name: str, source: str, model: str, numbers: list[int | None], rounds: int) -> dict[str, Any]:
    """One set with each number of images in a block; None is the usual one."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {number: Path(folder, f"{number}.smalti") for number in numbers}
        packed = {number: _pack(source, model, path, number) for number, path in paths.items()}
        images = packed[None]["images"]
        works = {str(number): partial(read_images, path, images, THREADS) for number, path in paths.items()}
        seconds = in_turns(works, rounds)
        rows = [
            {
                "block_images": number,
                "blocks": packed[number]["blocks"],
                "bytes_per_image": round(path.stat().st_size / images, 1),
                "one_image_ms": one_image(path)["cold"],
                "images_per_second": round(images / statistics.median(seconds[str(number)])),
            }
            for number, path in paths.items()
        ]
    print(name, *rows, sep="\n", file=sys.stderr)
    return {"case": name, "images": images, "profile": packed[None]["profile"], "threads": THREADS, "rows": rows}


def _pack(source: str, model: str, out: Path, number: int | None) -> dict[str, Any]:
    asked = () if number is None else ("--block-images", number)
    return run_smalti("compress", source, "-o", out, "--model", model, "--no-compare", "-q", *asked)


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--case", nargs=3, action="append", required=True, metavar=("NAME", "SOURCE", "MODEL"))
    parser.add_argument("--block-images", type=int, nargs="+", default=[64, 16, 4], help="[default: 64 16 4]")
    parser.add_argument("--rounds", type=int, default=3, help="[default: 3]")


if __name__ == "__main__":
    harness.main("benchmarks.blocks", __doc__, declare, measure)
