"""What a promise for each image costs: archives of mnist/test, and of noise, for some values of --max-mse.

    smalti fit mnist/train -o mnist.smalti-model
    python scripts/measure_promise.py mnist.smalti-model -o results/promise.json

Every figure is of a file on disk and of what its reader decodes.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from smalti.archive.read.reader import open_archive
from smalti.codec.packing import compress_source
from smalti.exchange import compare
from smalti.images.source import ImageSource
from smalti.sources.open import open_source
from smalti.training.paper.grid_model import Model

PROMISES = (None, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0)
NOISE_IMAGES = 2_000


def measure(source: ImageSource, model: Model, max_mse: float | None) -> dict[str, Any]:
    """Pack a source with a promise and return what the file holds and gives back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.smalti"
        compress_source(source, path, model, labels=False, max_mse=max_mse, threads=2)
        with open_archive(path, threads=2) as archive:
            info, quality, sound = archive.info(), compare(archive, source).quality, archive.verify().ok
    if not sound or (max_mse is not None and quality.mse_max > max_mse):
        raise SystemExit(f"the promise of {max_mse} is broken: worst image {quality.mse_max}")
    promise = info.promise
    return {
        "max_mse": max_mse,
        "archive_bytes": info.archive_bytes,
        "bytes_per_image": info.bytes_per_image,
        "bytes_per_image_without_model": (info.archive_bytes - info.bytes.model) / info.images,
        "share_of_raw": info.archive_bytes / info.raw_bytes,
        "mse_mean": quality.mse_mean,
        "mse_max": quality.mse_max,
        "corrected_images": 0 if promise is None else promise.corrected,
        "stored_images": 0 if promise is None else promise.stored,
    }


def main() -> None:
    """Measure with the model named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = Model.load(arguments.model)
    noise = np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *model.image_shape), np.uint8)
    sources = {"mnist/test": open_source("mnist/test"), f"{NOISE_IMAGES} images of noise": open_source(noise)}
    results: dict[str, Any] = {"command": "python scripts/measure_promise.py MODEL -o results/promise.json"}
    for name, source in sources.items():
        results[name] = []
        for max_mse in PROMISES if name == "mnist/test" else (0.0,):
            row = measure(source, model, max_mse)
            results[name].append(row)
            print(
                f"{name}, {max_mse}: {row['bytes_per_image']:.2f} bytes an image ({row['share_of_raw']:.4f} of raw), "
                f"worst MSE {row['mse_max']:.5f}; {row['corrected_images']} corrected, {row['stored_images']} stored",
                flush=True,
            )
    arguments.output.write_text(f"{json.dumps(results, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
