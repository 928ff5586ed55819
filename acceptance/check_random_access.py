"""Read every image of an archive by its index, one at a time and in random order, against the whole decompressed set.

    python -m acceptance.check_random_access ARCHIVE [-o results/random_access.json]

Finds how many images differ (0 is right) and what one random image costs from an open archive.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

import smalti
from benchmarks import harness
from benchmarks.harness import Findings


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)


def measure(arguments: argparse.Namespace) -> Findings:
    """Read every image alone, and compare."""
    milliseconds, different = [], 0
    with smalti.open(arguments.archive) as archive:
        whole = archive[:]
        for index in np.random.default_rng(0).permutation(len(archive)).tolist():
            started = time.perf_counter()
            image = archive[index]
            milliseconds.append(1000 * (time.perf_counter() - started))
            different += not np.array_equal(image, whole[index])
    figures = {
        "images": len(whole),
        "different": different,
        "milliseconds_per_image_median": round(statistics.median(milliseconds), 3),
        "milliseconds_per_image_p99": round(float(np.percentile(milliseconds, 99)), 3),
    }
    return Findings(figures, different == 0)


if __name__ == "__main__":
    harness.main("acceptance.check_random_access", __doc__, declare, measure)
