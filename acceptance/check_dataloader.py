"""DataLoader over an archive, with every way to start workers: no hang, and the same images in the same order.

    python -m acceptance.check_dataloader ARCHIVE [-o results/interop/dataloader.json] [--runs 20]

Each run opens the archive, begins to read from it in another thread, which goes on, and meanwhile reads some images
through a loader: so that files are open and locks are held when workers are forked. A run that takes longer than
TIMEOUT_SECONDS is a hang: its tracebacks are shown, and the runs of its kind end. Exit code 1 if a run hangs, or gives
other images or labels than `archive[order]`, or in another order.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import smalti
from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import fresh_command, fresh_environment
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockShuffleSampler

NAME = "acceptance.check_dataloader"
TIMEOUT_SECONDS = 300
IMAGES = 10_000
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


def expected_digest(path: Path, images: int) -> str:
    """The same of `archive[order]`, without a loader."""
    with smalti.open(path) as archive:
        if archive.labels is None:
            raise smalti.UsageError(f"{path}: has no labels, of which this check is too")
        order = np.array(list(islice(BlockShuffleSampler(archive), images)))
        return digest_of([(torch.from_numpy(archive[order]), torch.from_numpy(archive.labels[order]))])


def run_once(path: Path, workers: int, method: str, images: int) -> dict[str, Any]:
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
        sampler = list(islice(BlockShuffleSampler(dataset), images))
        digest = digest_of(DataLoader(dataset, BATCH_IMAGES, sampler=sampler, num_workers=workers, **options))
        return {"sha256": digest, "seconds": time.perf_counter() - began}
    finally:
        stop.set()
        reading.join()


def run_all(path: Path, workers: int, method: str, runs: int, images: int) -> None:
    """Print what each run gives; one that hangs ends the process."""
    for _ in range(runs):
        faulthandler.dump_traceback_later(TIMEOUT_SECONDS, exit=True)
        print(json.dumps(run_once(path, workers, method, images)), flush=True)
        faulthandler.cancel_dump_traceback_later()


def check(path: Path, workers: int, method: str, runs: int, images: int, expected: str) -> dict[str, Any]:
    """Runs of one kind, in a process of their own, of whose workers none is left in the end."""
    command = fresh_command(NAME, path, "--runs", runs, "--images", images, "--kind", workers, method)
    with tempfile.TemporaryFile("w+") as output:  # no pipe: a worker that hangs would hold it open
        process = subprocess.Popen(command, stdout=output, start_new_session=True, env=fresh_environment())
        process.wait()
        with contextlib.suppress(ProcessLookupError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        found = [json.loads(line) for line in output]
    return {
        "workers": workers,
        "start_method": method,
        "runs": runs,
        "finished": len(found),
        "same_images_in_same_order": sum(run["sha256"] == expected for run in found),
        "seconds_median": round(statistics.median(run["seconds"] for run in found), 2) if found else None,
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path, help="with labels")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--images", type=int, default=IMAGES, help="of a run")
    parser.add_argument("--kind", nargs=2, help=argparse.SUPPRESS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Check every kind; or be the runs of one kind."""
    torch.set_num_threads(1)
    if arguments.kind:
        run_all(arguments.archive, int(arguments.kind[0]), arguments.kind[1], arguments.runs, arguments.images)
        sys.exit()
    expected, checks = expected_digest(arguments.archive, arguments.images), []
    for workers, method in KINDS:
        checks.append(check(arguments.archive, workers, method, arguments.runs, arguments.images, expected))
        print(json.dumps(checks[-1]), file=sys.stderr, flush=True)
    same = all(each["same_images_in_same_order"] == arguments.runs for each in checks)
    return Findings({"images": arguments.images, "sha256": expected, "checks": checks}, same, arguments.runs)


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
