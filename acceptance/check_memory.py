"""Peak memory of `smalti compress` for MNIST, and for MNIST ten times over: it must not grow with the images.

    python -m acceptance.check_memory -o results/memory.json [--only given]

Ways: "given" packs with a model that is there; "paper" fits the network of the study first, for one epoch; "compact"
packs with a model of the profile compact that is there. Each runs in a process of its own; the peak is the largest
resident set of that process as the system counts it. Exit code 1 if a peak of 700,000 images is more than 10% above
that of 70,000.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import peak_and_seconds, smalti_command
from smalti.sources.open import open_source

MOST = 1.10
TIMES = 10


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    ways = ["given", "paper", "compact"]
    parser.add_argument("--only", action="append", choices=ways, help="measure this way alone")
    parser.add_argument("--source", default="mnist", help="grey images with labels")
    parser.add_argument("--fit", default="mnist/test", help="what models are fitted on")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all ways; those that the output holds already are kept."""
    found: dict[str, Any] = harness.earlier(arguments.output, "acceptance.check_memory").get("ways", {})
    with tempfile.TemporaryDirectory(prefix="smalti-memory-") as name:
        folder = Path(name)
        once, often = write_digits(folder, arguments.source)
        for way in arguments.only or ["given", "paper", "compact"]:
            options = options_of(way, folder, arguments.fit)
            runs = {name: peak_of(path, options, folder) for name, path in (("once", once), ("ten_times", often))}
            ratio = runs["ten_times"]["peak_mb"] / runs["once"]["peak_mb"]
            found[way] = {**runs, "ratio": round(ratio, 3)}
            print(json.dumps({way: found[way]}), file=sys.stderr, flush=True)
    return Findings({"allowed": MOST, "ways": found}, all(way["ratio"] <= MOST for way in found.values()))


def write_digits(folder: Path, named: str) -> tuple[Path, Path]:
    """The images as a .npy file, and ten times over as another, with labels."""
    source = open_source(named)
    paths = folder / "once.npy", folder / "often.npy"
    for path, times in zip(paths, (1, TIMES), strict=True):
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (times * len(source), *source.image_shape[:2]))
        labels, place = [], 0
        for _ in range(times):
            for batch in source.batches(5_000):
                pixels[place : place + len(batch)] = batch.pixels[..., 0]
                labels.append(batch.labels)
                place += len(batch)
        pixels.flush()
        np.save(path.with_suffix(".labels.npy"), np.concatenate(labels))
    return paths


def options_of(way: str, folder: Path, named: str) -> list[str]:
    """What `smalti compress` is given, after the fit of a model if there is to be one."""
    if way == "paper":
        return ["--epochs", "1"]
    model = folder / f"{way}.smalti-model"
    settings = ["--epochs", "1"] if way == "given" else ["--profile", "compact", "--effort", "0"]
    subprocess.run(smalti_command("fit", named, "-o", model, "-q", *settings), check=True)
    return ["--model", str(model)]


def peak_of(images: Path, options: list[str], folder: Path) -> dict[str, float | int]:
    """Pack images, and give the peak memory of that in MB (2**20 bytes)."""
    out = folder / "out.smalti"
    command = smalti_command("compress", images, "-o", out, "-q", "-f", *options)
    peak, seconds = peak_and_seconds(command, folder / "peak")
    return {
        "images": len(np.load(images, mmap_mode="r")),
        "peak_mb": peak,
        "archive_bytes": out.stat().st_size,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    harness.main("acceptance.check_memory", __doc__, declare, measure)
