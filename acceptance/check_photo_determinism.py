"""Decode an archive of images of any sizes in many ways, each in a fresh process, to one SHA-256 of all pixels.

    python -m acceptance.check_photo_determinism ARCHIVE [ARCHIVE ...] [-o results/photo-determinism.json]

The ways: NumPy alone and with kernels (`smalti[fast]`), each with 1 and 2 threads, all images at once, one by one in
random order, in batches, and on each kernel of the BLAS that this processor can run; and PyTorch from the tokens, image
by image. The digest is that of all images in order, each as C-ordered samples; it is also in the archive itself. Exit
code 1 if two ways differ.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acceptance.check_determinism import KERNELS, run
from benchmarks import harness
from benchmarks.harness import Findings
from smalti.images.batch import Pixels

NAME = "acceptance.check_photo_determinism"


@dataclass(frozen=True)
class Way:
    """One way of decoding. `batch` 0 is all images at once; `shuffled` is one by one in random order."""

    title: str
    kernels: str = "never"
    threads: int = 1
    batch: int = 0
    shuffled: bool = False
    torch: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its process."""
        return {"SMALTI_KERNELS": self.kernels, "OMP_NUM_THREADS": str(self.threads)} | self.environment


def ways() -> list[Way]:
    """Every way, the plainest first."""
    found = []
    for kernels, title in (("never", "NumPy"), ("always", "kernels")):
        found += [
            Way(f"{title}, all at once", kernels),
            Way(f"{title}, all at once, 2 threads", kernels, threads=2),
            Way(f"{title}, batches of 7, 2 threads", kernels, threads=2, batch=7),
            Way(f"{title}, one by one in random order", kernels, shuffled=True),
        ]
        found += [
            Way(f"{title}, OPENBLAS_CORETYPE={core}", kernels, environment={"OPENBLAS_CORETYPE": core})
            for core in KERNELS
        ]
    return [*found, Way("PyTorch, image by image", torch=True), Way("PyTorch, 2 threads", threads=2, torch=True)]


def images(path: Path, way: Way) -> Iterator[Pixels]:
    """All images in order."""
    from smalti.archive.read.reader import open_archive  # noqa: PLC0415 (only what a way uses is imported)

    with open_archive(path, threads=way.threads) as archive:
        count = len(archive)
        if way.torch:
            yield from _by_torch(archive, way)
        elif way.shuffled:
            order = np.random.default_rng(0).permutation(count).tolist()
            found = {number: archive[number] for number in order}
            yield from (found[number] for number in range(count))
        else:
            for start in range(0, count, way.batch or count):
                yield from archive.images(slice(start, start + (way.batch or count)))


def _by_torch(archive: Any, way: Way) -> Iterator[Pixels]:
    import torch  # noqa: PLC0415

    from smalti.torch_decoders.kinds import TORCH_CELL_DECODERS  # noqa: PLC0415

    torch.set_num_threads(way.threads)
    model = archive.cells.model
    decode = TORCH_CELL_DECODERS[model.kind](model, torch.device("cpu"))
    for number in range(len(archive)):
        tokens = torch.from_numpy(archive.tokens(number, number + 1).astype(np.int64))
        height, width = archive.shape_of(number)[:2]
        yield decode(tokens)[0, :height, :width].numpy()


def decode(path: Path, way: Way) -> dict[str, Any]:
    """Decode in this process: the digest of all pixels."""
    from threadpoolctl import threadpool_info  # noqa: PLC0415

    begun, digest, count = time.perf_counter(), hashlib.sha256(), 0
    for image in images(path, way):
        digest.update(np.ascontiguousarray(image).tobytes())
        count += 1
    blas = [info.get("architecture") for info in threadpool_info() if info["internal_api"] == "openblas"]
    seconds = round(time.perf_counter() - begun, 1)
    return {"images": count, "sha256": digest.hexdigest(), "kernel": blas[0] if blas else None, "seconds": seconds}


def compare(path: Path) -> dict[str, Any]:
    """Go every way; what each gave, and whether all gave what the archive states."""
    from smalti.archive.read.reader import open_archive  # noqa: PLC0415

    with open_archive(path) as archive:
        kind, stored = archive.info().decoder, archive.verify("pixels").stored_sha256
    rows = []
    for way in ways():
        found = run(NAME, path, way)
        found["same"] = None if "impossible" in found else found["sha256"] == stored
        rows.append({"way": way.title, **found})
        print(path.name, rows[-1], file=sys.stderr, flush=True)
    same = all(row["same"] is not False for row in rows)
    return {"archive": path.name, "kind": kind, "stored_sha256": stored, "same": same, "ways": rows}


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    parser.add_argument("--way", type=json.loads, help=argparse.SUPPRESS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Compare all ways for each archive, or go one way in this process."""
    if arguments.way:
        print(json.dumps(decode(arguments.archives[0], Way(**arguments.way))))
        sys.exit(0)
    archives = [compare(path) for path in arguments.archives]
    return Findings({"archives": archives}, passed=all(archive["same"] for archive in archives))


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
