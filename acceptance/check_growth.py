"""Read thousands of damaged archives in one process, and watch whether it grows: what is refused must be let go.

    python -m acceptance.check_growth -o results/growth.json [--files 6000]

Each file is a golden one with some bytes changed or cut. It is opened, read, verified, and read with damage skipped.
Exit code 1 if the process grows by more than 8 MB from a quarter of the files to the end. Linux.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import resident_mb
from smalti.archive.read.reader import open_archive
from smalti.errors import SmaltiError

GOLDEN = ROOT / "conformance" / "golden"
MOST_MB = 8


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--files", type=int, default=6000)


def measure(arguments: argparse.Namespace) -> Findings:
    """Read them all, and note how large the process is on the way."""
    os.environ["SMALTI_KERNELS"] = "never"  # to load a compiler is no growth
    sound = [path.read_bytes() for path in sorted(GOLDEN.glob("*.smalti"))]
    draws, sizes = random.Random(1), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.smalti"
        for number in range(arguments.files):
            path.write_bytes(damage(draws.choice(sound), draws))
            read(path)
            if (number + 1) % (arguments.files // 4) == 0:
                sizes.append(resident_mb())
    figures = {
        "files": arguments.files,
        "megabytes_at_each_quarter": sizes,
        "megabytes_grown": round(sizes[-1] - sizes[0], 1),
        "megabytes_allowed": MOST_MB,
    }
    return Findings(figures, sizes[-1] - sizes[0] <= MOST_MB)


def damage(data: bytes, draws: random.Random) -> bytes:
    """One to three bytes changed, and sometimes some cut out."""
    damaged = bytearray(data)
    for _ in range(draws.randint(1, 3)):
        damaged[draws.randrange(len(damaged))] = draws.randrange(256)
    if draws.random() < 0.3:
        start = draws.randrange(len(damaged))
        del damaged[start : start + draws.randrange(100)]
    return bytes(damaged)


def read(path: Path) -> None:
    """Ask for everything; skip parts that are refused."""
    with suppress(SmaltiError), open_archive(path) as archive:
        steps: list[Callable[[], Any]] = [
            lambda: archive[:],
            lambda: (archive.names, archive.labels, archive.class_names),
            archive.info,
            lambda: archive.verify("pixels"),
            lambda: list(archive.batches(16, on_error="skip")),
        ]
        for step in steps:
            with suppress(SmaltiError):
                step()


if __name__ == "__main__":
    harness.main("acceptance.check_growth", __doc__, declare, measure)
