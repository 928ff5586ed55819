"""Tell digits apart from the tokens of an archive, without decoding an image, beside the same network on pixels.

    python -m benchmarks.classification mnist.smalti -o results/rate/classification.json

ARCHIVE holds all of MNIST in order: the first 60,000 images are learned from, the last 10,000 are told apart. The
networks are the same but for their first layer: a vector of weights for each pixel, times its grey level, or for each
token at its place. Pixels are those that the archive decodes to.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import smalti
from benchmarks import harness
from benchmarks.harness import Findings

TRAIN_IMAGES = 60_000
HIDDEN = 128
EPOCHS = 8
BATCH_IMAGES = 256
SEEDS = 1


class TokenLayer(nn.Module):
    """The sum of a vector for each token at its place: tokens int64 [n, T], numbered apart at each place."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(numbers, HIDDEN, mode="sum")
        nn.init.normal_(self.bag.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [n, HIDDEN]."""
        return self.bag(tokens)


def numbered_apart(tokens: np.ndarray) -> tuple[Tensor, int]:
    """Tokens [n, T] with numbers of their own at each place, and how many numbers there are."""
    parts, first = [], 0
    for column in tokens.T.astype(np.int64):
        _, ranks = np.unique(column, return_inverse=True)
        parts.append(ranks + first)
        first += int(ranks.max()) + 1
    return torch.from_numpy(np.stack(parts, 1)), first


def classify(first: nn.Module, inputs: Tensor, labels: Tensor, seed: int) -> tuple[float, float]:
    """Return the accuracy on the last images, and the seconds of an epoch."""
    torch.manual_seed(seed)
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    started = time.monotonic()
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAIN_IMAGES).split(BATCH_IMAGES):
            loss = nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    seconds = (time.monotonic() - started) / EPOCHS
    with torch.no_grad():
        predicted = network(inputs[TRAIN_IMAGES:]).argmax(1)
    return float((predicted == labels[TRAIN_IMAGES:]).float().mean()), seconds


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)


def measure(arguments: argparse.Namespace) -> Findings:
    """Learn from tokens and from pixels."""
    torch.set_num_threads(2)
    with smalti.open(arguments.archive, threads=2) as archive:
        if archive.labels is None or len(archive) != 70_000:
            raise SystemExit(f"{arguments.archive}: give an archive of all of MNIST, with labels")
        started = time.monotonic()
        tokens, numbers = numbered_apart(archive.tokens().reshape(len(archive), -1))
        token_seconds = time.monotonic() - started
        started = time.monotonic()
        pixels = torch.from_numpy(archive[:].reshape(len(archive), -1)).float() / 255
        pixel_seconds = time.monotonic() - started
        labels = torch.from_numpy(archive.labels.copy())
    figures: dict[str, object] = {"epochs": EPOCHS, "seeds": SEEDS, "tokens_per_image": tokens.shape[1]}
    for name, inputs, seconds in (("tokens", tokens, token_seconds), ("pixels", pixels, pixel_seconds)):
        runs = []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            first = TokenLayer(numbers) if name == "tokens" else nn.Linear(pixels.shape[1], HIDDEN)
            runs.append(classify(first, inputs, labels, seed))
        accuracies, epochs = zip(*runs, strict=True)
        figures[name] = {
            "accuracy": round(float(np.mean(accuracies)), 4),
            "accuracies": [round(value, 4) for value in accuracies],
            "seconds_per_epoch": round(float(np.median(epochs)), 2),
            "seconds_to_read": round(seconds, 2),
            "inputs_per_image": int(inputs.shape[1]),
        }
    return Findings(figures)


if __name__ == "__main__":
    harness.main("benchmarks.classification", __doc__, declare, measure)
