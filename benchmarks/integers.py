"""What integers cost a decoder: its squared error in floats, rounded, and after fine-tuning, for some fitted models.

    smalti fit mnist/train -o k64.smalti-model --codebook-size 64        (and so on for other sizes)
    python -m benchmarks.integers k64.smalti-model ... -o results/integers.json

The errors in floats and after calibration are those that the fit measured on the 10,000 test digits; the last is
measured again on the archive of these digits.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.read.reader import open_archive
from smalti.codec.pack import pack
from smalti.codec.request import PackOptions
from smalti.exchange import compare
from smalti.sources.open import open_source
from smalti.training.paper.grid_model import Model

TEST = "mnist/test"


def figures_of(path: Path) -> dict[str, Any]:
    """Return the figures of one model."""
    model = Model.load(path)
    if model.provenance["validation"] != TEST:
        raise SystemExit(f"{path}: was validated on {model.provenance['validation']}, not on {TEST}; fit mnist/train")
    source = open_source(TEST)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test.smalti"
        pack(source, file, model, options=PackOptions(labels=False))
        with open_archive(file) as archive:
            info, quality = archive.info(), compare(archive, source).quality
    fitted = model.quantization
    return {
        "profile": model.settings.profile,
        "codebook_size": model.codebook_size,
        "seed": model.settings.seed,
        "codes_used": info.codes_used,
        "float_mse": fitted["float_mse"],
        "calibrated_mse": fitted["calibrated_mse"],
        "archive_mse": quality.mse_mean,
        "calibrated_cost_percent": 100 * (fitted["calibrated_mse"] / fitted["float_mse"] - 1),
        "archive_cost_percent": 100 * (quality.mse_mean / fitted["float_mse"] - 1),
        "finetune_steps": fitted["steps"],
        "finetune_seconds": fitted["seconds"],
        "model_bytes": info.bytes.model,
        "first_100_mse": quality.first_100.mse,
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("models", nargs="+", type=Path)


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure the models named on the command line."""
    rows = [figures_of(path) for path in arguments.models]
    return Findings({"images": TEST, "models": sorted(rows, key=lambda row: (row["codebook_size"], row["seed"]))})


if __name__ == "__main__":
    harness.main("benchmarks.integers", __doc__, declare, measure)
