"""How fast this checkout decodes archives beside another one, such as an earlier release, in turns.

    git worktree add ../before e622a13
    python -m benchmarks.builds ARCHIVE ... --other ../before -o results/builds.json

Each round is a fresh process for each checkout. It reads up to 16,384 images, so that kernels are loaded, and then
opens the archive and decodes all of its images, on one thread and on two. Both must give the same SHA-256 of all
pixels.
Operations are those of the prior and of the layers that make pixels, where each image needs all of them: in pyramids
(`compact`, `fine`). This machine's rate of them is that of a large product of matrices, on as many threads.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import fresh_environment
from benchmarks.timing import sgemm_rate
from smalti.archive.read.reader import Archive, open_archive
from smalti.decoders.pyramid.pyramid_kind import pyramid_operations
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior

THREADS = (1, 2)

READ = """
import hashlib, json, sys, time
import smalti
path, threads = sys.argv[1], int(sys.argv[2])
with smalti.open(path, threads=threads) as archive:
    count = len(archive)
    some = archive[: min(count, 1 << 14)]
with smalti.open(path, threads=threads) as archive:
    digest = hashlib.sha256()
    seconds = 0.0
    for start in range(0, count, 1 << 14):
        begun = time.perf_counter()
        pixels = archive[start : start + (1 << 14)]
        seconds += time.perf_counter() - begun
        digest.update(pixels.tobytes())
print(json.dumps({"seconds": seconds, "images": count, "sha256": digest.hexdigest()}))
"""


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all archives."""
    rates = {}
    for threads in THREADS:
        with threadpool_limits(threads):
            rates[threads] = sgemm_rate()
    rows = [_archive(path, arguments, rates) for path in arguments.archives]
    figures = {
        "other": arguments.name,
        "products_per_second_of_a_large_matrix": {threads: round(rate) for threads, rate in rates.items()},
        "archives": rows,
    }
    return Findings(figures, passed=all(row["same_pixels"] for row in rows), rounds=arguments.rounds)


def _archive(path: Path, arguments: argparse.Namespace, rates: dict[int, float]) -> dict[str, Any]:
    """Both checkouts on one archive."""
    with open_archive(path) as archive:
        info = archive.info()
        own = _operations(archive)
    row: dict[str, Any] = {
        "archive": path.name,
        "profile": info.profile,
        "decoder": info.decoder,
        "images": info.images,
        "operations_of_an_image": own,
        "threads": {},
    }
    digests = set()
    for threads in THREADS:
        seconds: dict[str, list[float]] = {"this": [], "other": []}
        for _ in range(arguments.rounds):
            for name, root in (("this", ROOT), ("other", arguments.other)):
                found = _read(root, path, threads)
                seconds[name].append(found["seconds"])
                digests.add(found["sha256"])
        medians = {name: statistics.median(own) for name, own in seconds.items()}
        row["threads"][threads] = {
            name: {"seconds": round(median, 3), "images_per_second": round(info.images / median)}
            for name, median in medians.items()
        } | {
            "times_as_fast": round(medians["other"] / medians["this"], 2),
            "share_of_matrix_rate": None
            if own is None
            else round(sum(own.values()) * info.images / medians["this"] / rates[threads], 3),
        }
        print(f"{path.name}, {threads} threads: {row['threads'][threads]}", file=sys.stderr)
    return row | {"same_pixels": len(digests) == 1}


def _operations(archive: Archive) -> dict[str, int] | None:
    """Products of an image where all are done for each image: those of a pyramid."""
    if archive.any_size:
        return None
    network, prior = archive.model.network, archive.prior
    if not (isinstance(network, PyramidNetwork) and isinstance(prior, PyramidPrior)):
        return None
    return {"prior": prior.operations, "layers": pyramid_operations(network, prior.grid)}


def _read(root: Path, path: Path, threads: int) -> dict[str, Any]:
    environment = fresh_environment({"PYTHONPATH": str(root.resolve() / "src")})
    command = [sys.executable, "-c", READ, str(path.resolve()), str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{root}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archives", type=Path, metavar="ARCHIVE", nargs="+")
    parser.add_argument("--other", type=Path, required=True, metavar="FOLDER", help="the root of another checkout")
    parser.add_argument("--name", default="another checkout", help="of it, such as its commit")
    parser.add_argument("--rounds", type=int, default=3, help="of each checkout and number of threads [default: 3]")


if __name__ == "__main__":
    harness.main("benchmarks.builds", __doc__, declare, measure)
