"""What an error bound for each image costs: archives of mnist/test, and of noise, for some values of --max-mse.

    smalti fit mnist/train -o mnist.smalti-model --profile paper
    python -m benchmarks.error_bound mnist.smalti-model -o results/promise.json

Every figure is of a file on disk and of what its reader decodes.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.read.reader import open_archive
from smalti.codec.pack import pack
from smalti.codec.request import PackOptions
from smalti.exchange import compare
from smalti.images.source import ImageSource
from smalti.sources.open import open_source
from smalti.training.paper.grid_model import Model

BOUNDS = (None, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0)
NOISE_IMAGES = 2_000


def row_of(source: ImageSource, model: Model, max_mse: float | None) -> dict[str, Any]:
    """Pack a source with an error bound; return the facts and the quality of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.smalti"
        pack(source, path, model, options=PackOptions(labels=False, max_mse=max_mse, threads=2))
        with open_archive(path, threads=2) as archive:
            info, quality, sound = archive.info(), compare(archive, source).quality, archive.verify().ok
    if not sound or (max_mse is not None and quality.mse_max > max_mse):
        raise SystemExit(f"the error bound {max_mse} is broken: worst image {quality.mse_max}")
    bound = info.promise
    return {
        "max_mse": max_mse,
        "archive_bytes": info.archive_bytes,
        "bytes_per_image": info.bytes_per_image,
        "bytes_per_image_without_model": (info.archive_bytes - info.bytes.model) / info.images,
        "share_of_raw": info.archive_bytes / info.raw_bytes,
        "mse_mean": quality.mse_mean,
        "mse_max": quality.mse_max,
        "corrected_images": 0 if bound is None else bound.corrected,
        "stored_images": 0 if bound is None else bound.stored,
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("model", type=Path)


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure with the model named on the command line."""
    model = Model.load(arguments.model)
    noise = np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *model.image_shape), np.uint8)
    figures: dict[str, Any] = {"mnist/test": [row_of(open_source("mnist/test"), model, bound) for bound in BOUNDS]}
    figures[f"{NOISE_IMAGES} images of noise"] = [row_of(open_source(noise), model, 0.0)]
    return Findings(figures)


if __name__ == "__main__":
    harness.main("benchmarks.error_bound", __doc__, declare, measure)
