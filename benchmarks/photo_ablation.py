"""What each part of `photo` brings: archives of one set with one part switched off at a time.

    python -m benchmarks.photo_ablation SOURCE --db 36 --effort 1 -o results/transform/ablation.json

All archives aim at the same PSNR, carry their own models, and take the same number of steps. Bytes are of files on
disk; quality is that of what the reader decodes. Without the choice of tokens by bits nothing leads the error to the
goal, so that such a line must be read with both of its figures.
"""

import argparse
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.open import open_images
from smalti.codec.pack import pack_any_size
from smalti.codec.request import FitRequest, PackOptions
from smalti.exchange import compare
from smalti.images.source import SizedSource
from smalti.sources.open import open_any_size, open_groups
from smalti.training.common.goal import Goal
from smalti.training.observer import SilentObserver
from smalti.training.training_kind import FitOptions
from smalti.training.transform.transform_settings import TransformSettings
from smalti.training.transform.transform_training import TransformTraining

VARIANTS: dict[str, dict[str, Any]] = {
    "all parts": {},
    "a random start instead of the KLT": {"learned_start": False},
    "a plain transform instead of a lapped one": {"lapped": False},
    "no mixing network": {"mixing": False},
    "no network in the analysis": {"analysis": False},
    "a prior that sees no other coefficient": {"conditional": False},
    "tokens by distortion alone": {"optimised": False},
}


def line_of(source: SizedSource, spec: str, name: str, settings: TransformSettings, threads: int) -> dict[str, Any]:
    """Fit and pack a variant, and return what the file holds and gives back."""
    started = time.monotonic()
    torch.set_num_threads(threads)
    model = TransformTraining().fit(source, settings, FitOptions(), SilentObserver())  # `photo` might take pixels
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.smalti"
        pack_any_size(
            [source],
            path,
            model,
            FitRequest(),
            PackOptions(labels=False, threads=threads),
            resumable=False,
        )
        with open_images(path, threads=threads) as archive:
            info, quality = archive.info(), compare(archive, open_groups(spec)).quality
    mse = quality.mse_mean if quality.seen is None else quality.seen.mse_mean
    return {
        "variant": name,
        "archive_bytes": info.archive_bytes - info.bytes.columns,
        "model_bytes": info.bytes.model + info.bytes.prior,
        "db": round(-10 * math.log10(mse), 3),
        "seconds": round(time.monotonic() - started),
    }


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all variants."""
    (source,) = open_any_size(arguments.source)
    settings = TransformSettings("photo", Goal.of_psnr(arguments.db), arguments.effort)
    lines = []
    for name, changes in VARIANTS.items():
        lines.append(line_of(source, arguments.source, name, replace(settings, **changes), arguments.threads))
    return Findings(
        {"set": Path(arguments.source).name, "goal_db": arguments.db, "effort": arguments.effort, "variants": lines}
    )


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--db", type=float, default=36.0, help="the target [default: 36]")
    parser.add_argument("--effort", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)


if __name__ == "__main__":
    harness.main("benchmarks.photo_ablation", __doc__, declare, measure)
