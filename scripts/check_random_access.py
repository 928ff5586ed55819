"""Read every image of an archive by its index, one at a time and in random order, against the whole decompressed set.

    python scripts/check_random_access.py ARCHIVE RESULT.json

Writes how many images differ (0 is right) and what one random image costs from an open archive.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import smalti
from smalti.study.machine import describe_machine


def main() -> None:
    """Check the archive named on the command line and write the result."""
    archive_path, result_path = Path(sys.argv[1]), Path(sys.argv[2])
    milliseconds, different = [], 0
    with smalti.open(archive_path) as archive:
        whole = archive[:]
        for index in np.random.default_rng(0).permutation(len(archive)).tolist():
            started = time.perf_counter()
            image = archive[index]
            milliseconds.append(1000 * (time.perf_counter() - started))
            different += not np.array_equal(image, whole[index])
    result = {
        "command": "python scripts/check_random_access.py demo/mnist.smalti results/random_access.json",
        "machine": describe_machine(),
        "images": len(whole),
        "different": different,
        "milliseconds_per_image_median": round(statistics.median(milliseconds), 3),
        "milliseconds_per_image_p99": round(float(np.percentile(milliseconds, 99)), 3),
    }
    result_path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
