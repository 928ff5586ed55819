"""Images per second of DataLoader over an archive, in every way that docs/pytorch.md tells of, and of raw images.

    python -m benchmarks.loading ARCHIVE... [-o results/interop/loading.json]

An epoch in the order of BlockShuffleSampler, from the first batch on: what it takes to start workers is not in it. Ways
and numbers of workers take turns, and the median of ROUNDS is given. Without workers, images per second of processor
time are given too, which are the same however busy the machine is with other work.

    raw               the decoded images in memory, collated one by one, as most datasets are
    images            the archive's, collated one by one
    floats            the same, scaled to 0..1 as float32
    batches           the archive's, a whole batch for each list of numbers
    tokens            the archive's tokens, a whole batch for each list of numbers
    tokens, decoded   the same, decoded on the processor by the process that trains
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import smalti
from benchmarks import harness
from benchmarks.harness import Findings
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockShuffleSampler

BATCH_IMAGES = 256
ROUNDS = 3
WAYS = ("raw", "images", "floats", "batches", "tokens", "tokens, decoded")
WORKERS = (0, 1, 2)


@dataclass(frozen=True)
class Rate:
    """Images of one epoch per second, and per second of this process's processor time."""

    per_second: float
    per_processor_second: float


def rate(path: Path, way: str, workers: int) -> Rate:
    """Read one epoch."""
    tokens, floats = way.startswith("tokens"), torch.float32 if way == "floats" else None
    dataset: Any = ArchiveDataset(path, labels=False, tokens=tokens, dtype=floats)
    sampler: Any = BlockShuffleSampler(dataset)
    decode = dataset.decoder() if way == "tokens, decoded" else None
    if way == "raw":
        dataset = TensorDataset(torch.from_numpy(dataset.archive[:]))
    size: int | None = BATCH_IMAGES
    if tokens or way == "batches":
        sampler, size = BatchSampler(sampler, BATCH_IMAGES, drop_last=False), None
    images, began = 0, (0.0, 0.0)
    for batch in DataLoader(dataset, size, sampler=sampler, num_workers=workers):
        inputs = batch[0] if way == "raw" else batch
        if decode is not None:
            decode(inputs)
        if began == (0.0, 0.0):
            began = time.perf_counter(), time.process_time()
        else:
            images += len(inputs)
    return Rate(images / (time.perf_counter() - began[0]), images / (time.process_time() - began[1]))


def rates(path: Path, rounds: int) -> dict[str, Any]:
    """Rates of an archive, and what it is."""
    found: dict[tuple[str, int], list[Rate]] = {(way, workers): [] for way in WAYS for workers in WORKERS}
    for _ in range(rounds):
        for (way, workers), runs in found.items():
            runs.append(rate(path, way, workers))
    with smalti.open(path) as archive:
        info = archive.info()
        return {
            "archive": path.name,
            "profile": info.profile,
            "shape": archive.shape,
            "images_per_second": {
                way: {
                    f"{workers} workers": round(statistics.median(each.per_second for each in found[way, workers]))
                    for workers in WORKERS
                }
                for way in WAYS
            },
            "images_per_processor_second": {
                way: round(statistics.median(each.per_processor_second for each in found[way, 0])) for way in WAYS
            },
        }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=ROUNDS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Rates of all archives."""
    torch.set_num_threads(1)
    archives = [rates(path, arguments.rounds) for path in arguments.archives]
    return Findings({"threads": 1, "batch_images": BATCH_IMAGES, "archives": archives}, rounds=arguments.rounds)


if __name__ == "__main__":
    harness.main("benchmarks.loading", __doc__, declare, measure)
