"""DataLoader over an archive, with every way to start workers: no hang, and the same images in the same order.

    python scripts/check_dataloader.py ARCHIVE [-o results/interop/dataloader.json] [--runs 20]

Each run makes a loader anew and reads a whole epoch, in a process that has read from the archive before and goes on
reading from it in another thread: so that locks are held and files are open when workers are forked. A run that takes
longer than TIMEOUT seconds is a hang. Then images per second of the ways to read: see docs/pytorch.md. Exit code 1 if
a run hangs, or gives other images than `archive[order]`.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import smalti
from smalti.interop.torch import ArchiveDataset, BlockShuffleSampler
from smalti.study.machine import describe_machine

TIMEOUT = 300
BATCH_IMAGES = 256
METHODS = ("fork", "spawn", "forkserver")
WAYS = ("raw", "items", "floats", "batches", "tokens", "tokens, decoded")
RATE_RUNS = 5


def digest_of(batches: Iterator[Any]) -> str:
    """SHA-256 of all images and labels in the order in which they come."""
    sha = hashlib.sha256()
    for images, labels in batches:
        for part in zip(images.numpy(), labels.numpy(), strict=True):
            sha.update(part[0].tobytes() + int(part[1]).to_bytes(8, "little"))
    return sha.hexdigest()


def expected_digest(path: Path) -> str:
    """The same of `archive[order]`, without a loader."""
    with smalti.open(path) as archive:
        order = np.array(list(BlockShuffleSampler(archive, 0)))
        pixels, labels = torch.from_numpy(archive[:][order]), torch.from_numpy(archive.labels[order])
    return digest_of(iter([(pixels, labels)]))


def run_once(path: Path, workers: int, method: str) -> dict[str, Any]:
    """One epoch of a fresh loader; what the images were and how long it took."""
    dataset, stop = ArchiveDataset(path), threading.Event()
    archive = dataset.archive

    def read_on() -> None:
        while not stop.is_set():
            archive[:64]

    dataset[0]
    reading = threading.Thread(target=read_on)
    reading.start()
    try:
        began = time.perf_counter()
        options = {"multiprocessing_context": method, "timeout": TIMEOUT} if workers else {}
        loader = DataLoader(
            dataset, BATCH_IMAGES, sampler=BlockShuffleSampler(dataset, 0), num_workers=workers, **options
        )
        digest = digest_of(iter(loader))
        seconds = time.perf_counter() - began
    finally:
        stop.set()
        reading.join()
    return {"sha256": digest, "seconds": seconds}


def check(path: Path, workers: int, method: str, runs: int, expected: str) -> dict[str, Any]:
    """Runs of one kind, each in a process of its own, which is ended if it hangs."""
    seconds, hung, different = [], 0, 0
    for _ in range(runs):
        command = [sys.executable, __file__, str(path), "--run", str(workers), method]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            hung += 1
            continue
        found = json.loads(done.stdout)
        seconds.append(found["seconds"])
        different += found["sha256"] != expected
    result = {
        "workers": workers,
        "start_method": method if workers else "none",
        "runs": runs,
        "hung": hung,
        "different": different,
        "seconds_median": round(statistics.median(seconds), 2) if seconds else None,
    }
    print(result, flush=True)
    return result


def rate(path: Path, way: str, workers: int) -> float:
    """Images per second of one epoch, from the first batch on: what starting workers takes is not in it."""
    dataset: Any = ArchiveDataset(
        path, tokens=way.startswith("tokens"), dtype=torch.float32 if way == "floats" else None
    )
    sampler: Any = BlockShuffleSampler(dataset, 0)
    decode = dataset.decoder() if way == "tokens, decoded" else None
    if way == "raw":
        dataset = TensorDataset(torch.from_numpy(dataset.archive[:])[:, None], torch.from_numpy(dataset.archive.labels))
    size: int | None = BATCH_IMAGES
    if way in ("batches", "tokens", "tokens, decoded"):
        sampler, size = BatchSampler(sampler, BATCH_IMAGES, drop_last=False), None
    images, began = 0, 0.0
    for inputs, labels in DataLoader(dataset, size, sampler=sampler, num_workers=workers):
        if decode is not None:
            decode(inputs)
        if not began:
            began = time.perf_counter()
            continue
        images += len(labels)
    return images / (time.perf_counter() - began)


def main() -> None:
    """Check, measure and write; or be one run of a check."""
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
    expected = expected_digest(arguments.archive)
    kinds = [(0, "none"), *((2, method) for method in METHODS)]
    checks = [check(arguments.archive, *kind, arguments.runs, expected) for kind in kinds]
    rates: dict[str, dict[str, int]] = {way: {} for way in WAYS}
    for workers in (0, 1, 2):
        for way in WAYS:
            found = statistics.median(rate(arguments.archive, way, workers) for _ in range(RATE_RUNS))
            rates[way][f"{workers} workers"] = round(found)
            print(way, workers, round(found), flush=True)
    with smalti.open(arguments.archive) as archive:
        result = {
            "command": f"python scripts/check_dataloader.py {arguments.archive.name} -o {arguments.output}",
            "machine": describe_machine(),
            "torch": torch.__version__,
            "images": len(archive),
            "blocks": len(archive.block_bounds) - 1,
            "sha256": expected,
            "checks": checks,
            "images_per_second": rates,
        }
    if arguments.output:
        arguments.output.write_text(f"{json.dumps(result, indent=2)}\n", encoding="utf-8")
    sys.exit(any(each["hung"] or each["different"] for each in checks))


if __name__ == "__main__":
    main()
