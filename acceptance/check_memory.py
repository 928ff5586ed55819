"""Peak memory of fitting, packing and reading 10,000 digits and 1,000,000: it must not grow with the images.

    python -m acceptance.check_memory -o results/memory.json [--only "pack compact"]

The digits are those of MNIST, again and again. Each way is `fit`, `pack` (with a model of the few images) or `read`
(`smalti decompress` to a .npy file), with `paper` (one epoch) or `compact` (effort 0), in a process of its own; the
peak is the largest resident set of that process as the system counts it. Kernels are taken from the start, so that
both sizes load the compiler. Exit code 1 if a peak of the many is more than 20% above that of the few.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import peak_and_seconds, smalti_command
from smalti.sources.open import open_source

MOST = 1.20
SETTINGS = {"paper": ["--epochs", "1"], "compact": ["--effort", "0"]}
WAYS = [f"{work} {profile}" for profile in SETTINGS for work in ("fit", "pack", "read")]


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--only", action="append", choices=WAYS, help="measure this way alone")
    parser.add_argument("--source", default="mnist", help="grey images with labels")
    parser.add_argument("--images", type=int, nargs=2, default=[10_000, 1_000_000], metavar=("FEW", "MANY"))


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all ways; those that the output holds already are kept."""
    os.environ["SMALTI_KERNELS"] = "always"
    found: dict[str, Any] = harness.earlier(arguments.output, "acceptance.check_memory").get("ways", {})
    with tempfile.TemporaryDirectory(prefix="smalti-memory-") as name:
        folder = Path(name)
        for count in arguments.images:
            write_digits(folder / f"{count}.npy", count, arguments.source)
        for way in arguments.only or WAYS:
            runs = {
                name: of_way(way, folder, count, arguments.images[0])
                for name, count in zip(("few", "many"), arguments.images, strict=True)
            }
            found[way] = {**runs, "ratio": round(runs["many"]["peak_mb"] / runs["few"]["peak_mb"], 3)}
            print(json.dumps({way: found[way]}), file=sys.stderr, flush=True)
    return Findings({"allowed": MOST, "ways": found}, all(way["ratio"] <= MOST for way in found.values()))


def write_digits(path: Path, count: int, named: str) -> None:
    """So many images of a source as a .npy file, which begins again at its end, with labels."""
    source = open_source(named)
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *source.image_shape[:2]))
    labels, done = np.zeros(count, np.int64), 0
    while done < count:
        for batch in source.batches(5_000):
            part = slice(done, min(done + len(batch), count))
            pixels[part] = batch.pixels[: part.stop - done, ..., 0]
            assert batch.labels is not None  # --source asks for them
            labels[part] = batch.labels[: part.stop - done]
            done = part.stop
    pixels.flush()
    np.save(path.with_suffix(".labels.npy"), labels)


def of_way(way: str, folder: Path, count: int, few: int) -> dict[str, float | int]:
    """The peak memory in MB (2**20 bytes) and the seconds of a way with so many images."""
    work, profile = way.split()
    images, model = folder / f"{count}.npy", folder / f"{profile}-{few}.smalti-model"
    archive = folder / f"{profile}-{count}.smalti"
    fit = ["fit", folder / f"{few}.npy", "-o", model, "--profile", profile, *SETTINGS[profile]]
    pack = ["compress", images, "-o", archive, "--model", model]
    if work != "fit" and not model.exists():
        peak_of(folder, *fit)
    if work == "read" and not archive.exists():
        peak_of(folder, *pack)
    if work == "fit" and count != few:
        fit = ["fit", images, "-o", folder / "many.smalti-model", *fit[4:]]
    peak, seconds = peak_of(
        folder, *{"fit": fit, "pack": pack, "read": ["decompress", archive, "-o", folder / "out.npy"]}[work]
    )
    (folder / "out.npy").unlink(missing_ok=True)
    return {"images": count, "peak_mb": peak, "seconds": round(seconds, 1)}


def peak_of(folder: Path, *words: Any) -> tuple[float, float]:
    """The peak memory and the seconds of a command of smalti's."""
    return peak_and_seconds(smalti_command(*words, "-q", "-f"), folder / "peak")


if __name__ == "__main__":
    harness.main("acceptance.check_memory", __doc__, declare, measure)
