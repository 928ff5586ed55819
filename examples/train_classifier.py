"""Train a small digit classifier from an archive and from the raw images, and test both on raw images.

    smalti compress mnist/train -o mnist-train.smalti --profile paper
    python examples/train_classifier.py mnist-train.smalti -o results/interop/classifier.json

It trains the same network from three inputs, with several seeds:

    raw        the original images, held in memory
    images     the archive's images, decoded by worker processes
    tokens     the archive's tokens, decoded in batches after collation, on the device that trains

The test uses the original test images, which no archive has changed. `images_per_second` counts all of training:
reading, decoding, and the network itself, which runs in one thread. `images_per_processor_second` counts only the time
that processors worked for it, workers included.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from smalti.bench.records import describe_machine
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockShuffleSampler
from smalti.sources.open import open_source

BATCH_IMAGES = 128

Images = tuple[Tensor, Tensor]
"""Images uint8 [N, 1, 28, 28] and labels int64 [N]."""

Epoch = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""Yields the batches of an epoch: images float32 [n, 1, 28, 28] in [0, 1], and labels int64 [n]."""


def network() -> nn.Module:
    """Two convolutions and a linear layer: 15,000 weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
    )


def raw_images(name: str) -> Images:
    """All images of a named set."""
    batches = list(open_source(name).batches(4096))
    images = np.concatenate([batch.pixels for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches if batch.labels is not None])
    return torch.from_numpy(images[:, None, :, :, 0]), torch.from_numpy(labels)


def from_raw(images: Tensor, labels: Tensor) -> Epoch:
    """Batches of an epoch from memory."""
    loader = DataLoader(TensorDataset(images, labels), BATCH_IMAGES, shuffle=True)

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        del number
        for found, of in loader:
            yield found.float() / 255, of

    return epoch


def from_archive(path: Path, workers: int, seed: int, tokens: bool) -> Epoch:
    """Batches of an epoch from an archive: decoded by workers, or from tokens after collation."""
    dataset = ArchiveDataset(path, dtype=torch.float32, tokens=tokens)
    sampler = BlockShuffleSampler(dataset, seed)
    loader = DataLoader(dataset, BATCH_IMAGES, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    decode = dataset.decoder("cpu") if tokens else None

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        sampler.set_epoch(number)
        for inputs, labels in loader:
            yield decode(inputs) if decode else inputs, labels

    return epoch


def train(epoch: Epoch, epochs: int, seed: int) -> tuple[nn.Module, float]:
    """Train a network; return it and its images per second."""
    torch.manual_seed(seed)
    classifier, images = network(), 0
    optimizer = torch.optim.Adam(classifier.parameters(), 2e-3)
    began = time.perf_counter()
    for number in range(epochs):
        for inputs, labels in epoch(number):
            loss = nn.functional.cross_entropy(classifier(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images += len(labels)
    return classifier, images / (time.perf_counter() - began)


@torch.no_grad()
def accuracy(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images that the classifier gets right."""
    guesses = torch.cat([classifier(part.float() / 255).argmax(1) for part in images.split(1000)])
    return float((guesses == labels).float().mean())


def processor_seconds() -> float:
    """Processor time of this process and of its finished workers."""
    return sum(os.times()[:4])


@dataclass(frozen=True)
class Run:
    """The result of one input with one seed."""

    accuracy: float
    images_per_second: float
    images_per_processor_second: float


def run(input_kind: str, arguments: argparse.Namespace, seed: int, trained_on: Images, tested_on: Images) -> Run:
    """Train from one input, and test on original images."""
    torch.manual_seed(seed)  # it shuffles raw images
    began = processor_seconds()
    if input_kind == "raw":
        epoch = from_raw(*trained_on)
    else:
        epoch = from_archive(arguments.archive, arguments.workers, seed, input_kind == "tokens")
    classifier, speed = train(epoch, arguments.epochs, seed)
    del epoch  # its workers end, so that their time is known
    spent = processor_seconds() - began
    return Run(accuracy(classifier, *tested_on), speed, arguments.epochs * len(trained_on[0]) / spent)


def summary(runs: list[Run]) -> dict[str, Any]:
    """A summary of the runs of one input, one for each seed."""
    accuracies = [each.accuracy for each in runs]
    return {
        "accuracy": round(statistics.mean(accuracies), 4),
        "accuracy_deviation": round(statistics.stdev(accuracies), 4) if len(runs) > 1 else None,
        "accuracies": [round(each, 4) for each in accuracies],
        "images_per_second": round(statistics.median(each.images_per_second for each in runs)),
        "images_per_processor_second": round(statistics.median(each.images_per_processor_second for each in runs)),
    }


def main() -> None:
    """Train from every input with every seed, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="of mnist/train, with labels")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained_on, tested_on = raw_images("mnist/train"), raw_images("mnist/test")
    runs: dict[str, list[Run]] = {"raw": [], "images": [], "tokens": []}
    for seed in range(arguments.seeds):
        for input_kind, found in runs.items():
            found.append(run(input_kind, arguments, seed, trained_on, tested_on))
            print(f"seed {seed}, {input_kind}: {found[-1]}", flush=True)
    result = {
        "command": f"python examples/train_classifier.py {arguments.archive.name} --epochs {arguments.epochs} "
        f"--seeds {arguments.seeds} -o results/interop/classifier.json",
        "machine": describe_machine(),
        "threads": 1,
        "workers": arguments.workers,
        "epochs": arguments.epochs,
        "archive_bytes": arguments.archive.stat().st_size,
        "raw_bytes": trained_on[0].numel(),
        **{input_kind: summary(found) for input_kind, found in runs.items()},
    }
    if arguments.output:
        arguments.output.write_text(f"{json.dumps(result, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
