"""Peak memory of `smalti compress` for MNIST, and for MNIST ten times over: it must not grow with the images.

    python scripts/check_memory.py -o results/memory.json [--only given]

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
import time
from pathlib import Path
from typing import Any

import numpy as np

from smalti.sources.open import open_source

MOST = 1.10
TIMES = 10
SMALTI = [sys.executable, "-m", "smalti"]
RUN = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); " + (
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)"
)


def main() -> None:
    """Measure all ways, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=["given", "paper", "compact"], help="measure this way alone")
    arguments = parser.parse_args()
    wanted = arguments.only or ["given", "paper", "compact"]
    found: dict[str, Any] = json.loads(arguments.output.read_text())["ways"] if arguments.output.exists() else {}
    with tempfile.TemporaryDirectory(prefix="smalti-memory-") as folder:
        place = Path(folder)
        once, often = write_digits(place)
        for way in wanted:
            options = options_of(way, place)
            runs = {name: measure(path, options, place) for name, path in (("once", once), ("ten_times", often))}
            ratio = runs["ten_times"]["peak_mb"] / runs["once"]["peak_mb"]
            found[way] = {**runs, "ratio": round(ratio, 3)}
            print(json.dumps({way: found[way]}), flush=True)
            result = {
                "command": "python scripts/check_memory.py " + " ".join(sys.argv[1:]),
                "allowed": MOST,
                "ways": found,
            }
            arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if any(way["ratio"] > MOST for way in found.values()) else 0)


def write_digits(folder: Path) -> tuple[Path, Path]:
    """MNIST as a .npy file, and ten times over as another, with labels."""
    source = open_source("mnist")
    paths = folder / "once.npy", folder / "often.npy"
    for path, times in zip(paths, (1, TIMES), strict=True):
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (times * len(source), 28, 28))
        labels, place = [], 0
        for _ in range(times):
            for batch in source.batches(5_000):
                pixels[place : place + len(batch)] = batch.pixels[..., 0]
                labels.append(batch.labels)
                place += len(batch)
        pixels.flush()
        np.save(path.with_suffix(".labels.npy"), np.concatenate(labels))
    return paths


def options_of(way: str, folder: Path) -> list[str]:
    """What `smalti compress` is given, after the fit of a model if there is to be one."""
    if way == "paper":
        return ["--epochs", "1"]
    model = folder / f"{way}.smalti-model"
    settings = ["--epochs", "1"] if way == "given" else ["--profile", "compact", "--effort", "0"]
    subprocess.run([*SMALTI, "fit", "mnist/test", "-o", str(model), "-q", *settings], check=True)
    return ["--model", str(model)]


def measure(images: Path, options: list[str], folder: Path) -> dict[str, float | int]:
    """Pack images, and give the peak memory of that in MB (2**20 bytes)."""
    out = folder / "out.smalti"
    command = [*SMALTI, "compress", str(images), "-o", str(out), "-q", "-f", *options]
    started = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", RUN, *command], check=True, capture_output=True, text=True)
    peak_kb, code = map(int, ran.stdout.split()[-2:])
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}: {ran.stderr}")
    scale = 1024 if sys.platform != "darwin" else 1 << 20
    return {
        "images": len(np.load(images, mmap_mode="r")),
        "peak_mb": round(peak_kb / scale, 1),
        "archive_bytes": out.stat().st_size,
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
