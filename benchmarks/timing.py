"""Clocks, and what this machine can do: so that figures of different days and machines can be compared."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work, in turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = seconds_of(work)
            if number:
                seconds[name].append(taken)
    return seconds


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most, in seconds."""
    return {
        "median_seconds": round(statistics.median(values), 4),
        "least_seconds": round(min(values), 4),
        "most_seconds": round(max(values), 4),
    }


def sgemm_rate(rounds: int = 9, side: int = 2048) -> float:
    """Multiply-adds per second of NumPy's float32 matrix product, all threads of its BLAS: the best of some rounds.

    What this machine can do today: a benchmark's own rate over this one says more than its seconds do.
    """
    left = np.random.default_rng(0).random((side, side), np.float32)
    right, out = left.T.copy(), np.empty_like(left)
    best = min(seconds_of(lambda: np.matmul(left, right, out=out)) for _ in range(rounds))
    return float(side**3 / best)


def png_bytes(images: NDArray[np.uint8]) -> list[bytes]:
    """Each image, uint8 [H, W] or [H, W, C], as the bytes of a PNG file, with Pillow's own settings."""
    files = []
    for image in images:
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files
