"""DataLoader over an archive, with every way to start workers: no hang, and the same images in the same order.

    python scripts/check_dataloader.py ARCHIVE [-o results/interop/dataloader.json] [--runs 20]

Each run makes a loader and reads a whole epoch, in a process of its own that has read from the archive before, and
goes on reading from it in another thread: so that files are open and locks are held when workers are forked. A run
that takes longer than TIMEOUT_SECONDS is a hang. Exit code 1 if a run hangs, or gives other images or labels than
`archive[order]`, in another order.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import smalti
from smalti.interop.torch import ArchiveDataset, BlockShuffleSampler
from smalti.study.machine import describe_machine

TIMEOUT_SECONDS = 300
BATCH_IMAGES = 256
KINDS = ((0, "none"), (2, "fork"), (2, "spawn"), (2, "forkserver"))
"""Workers, and how they are started."""


def digest_of(batches: Iterable[tuple[Tensor, Tensor]]) -> str:
    """SHA-256 of all images and labels in the order in which they come, whatever the batches."""
    sha = hashlib.sha256()
    for images, labels in batches:
        for image, label in zip(images.numpy(), labels.tolist(), strict=True):
            sha.update(image.tobytes() + label.to_bytes(8, "little", signed=True))
    return sha.hexdigest()


def expected_digest(path: Path) -> str:
    """The same of `archive[order]`, without a loader."""
    with smalti.open(path) as archive:
        if archive.labels is None:
            raise smalti.UsageError(f"{path}: has no labels, of which this check is too")
        order = np.array(list(BlockShuffleSampler(archive)))
        return digest_of([(torch.from_numpy(archive[:][order]), torch.from_numpy(archive.labels[order]))])


def run_once(path: Path, workers: int, method: str) -> dict[str, Any]:
    """One epoch of a fresh loader: what the images were, and how long it took."""
    dataset, stop = ArchiveDataset(path), threading.Event()
    archive = dataset.archive

    def read_on() -> None:
        while not stop.wait(0.001):
            archive[:64]

    reading = threading.Thread(target=read_on)
    reading.start()
    options: dict[str, Any] = {"multiprocessing_context": method} if workers else {}
    try:
        began = time.perf_counter()
        sampler = BlockShuffleSampler(dataset)
        digest = digest_of(DataLoader(dataset, BATCH_IMAGES, sampler=sampler, num_workers=workers, **options))
        return {"sha256": digest, "seconds": time.perf_counter() - began}
    finally:
        stop.set()
        reading.join()


def check(path: Path, workers: int, method: str, runs: int, expected: str) -> dict[str, Any]:
    """Runs of one kind; one that hangs is ended."""
    seconds, hung, different = [], 0, 0
    for _ in range(runs):
        command = [sys.executable, __file__, str(path), "--run", str(workers), method]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            hung += 1
            continue
        found = json.loads(done.stdout)
        seconds.append(found["seconds"])
        different += found["sha256"] != expected
    return {
        "workers": workers,
        "start_method": method,
        "runs": runs,
        "hung": hung,
        "different": different,
        "seconds_median": round(statistics.median(seconds), 2) if seconds else None,
    }


def main() -> None:
    """Check and write; or be one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="with labels")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.run:
        print(json.dumps(run_once(arguments.archive, int(arguments.run[0]), arguments.run[1])))
        return
    expected, checks = expected_digest(arguments.archive), []
    for workers, method in KINDS:
        checks.append(check(arguments.archive, workers, method, arguments.runs, expected))
        print(json.dumps(checks[-1]), flush=True)
    with smalti.open(arguments.archive) as archive:
        result = {
            "command": f"python scripts/check_dataloader.py {arguments.archive.name} -o results/interop/dataloader.json",
            "machine": describe_machine(),
            "torch": torch.__version__,
            "images": len(archive),
            "blocks": len(archive.block_bounds) - 1,
            "sha256": expected,
            "checks": checks,
        }
    if arguments.output:
        arguments.output.write_text(f"{json.dumps(result, indent=2)}\n", encoding="utf-8")
    sys.exit(any(each["hung"] or each["different"] for each in checks))


if __name__ == "__main__":
    main()
