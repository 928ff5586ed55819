"""What each part of `compact` brings: archives of 5,000 digits with one part switched off at a time.

    python -m benchmarks.ablation -o results/rate/ablation.json

Every archive carries its own model, and aims at the same mean squared error; bytes are of files on disk, quality is
that of what the reader decodes from them. Where tokens are not chosen by rate, nothing leads the error to the goal, so
that the line must be read with both of its figures. Lines that the output holds already are not measured again.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.read.reader import open_archive
from smalti.codec.fit import fit_source
from smalti.codec.pack import pack
from smalti.codec.request import FitRequest, PackOptions
from smalti.exchange import compare
from smalti.images.source import read_images
from smalti.sources.open import open_source
from smalti.training.common.goal import Goal
from smalti.training.pyramid.pyramid_settings import PyramidSettings

SOURCE = "mnist/test"
GOAL = Goal(mse=0.012)
EFFORT = 1
SEARCH_EFFORT = 5
"""The lowest effort at which a model learns once from the tokens that a search finds."""

IMAGES = 5_000

VARIANTS: dict[str, dict[str, Any]] = {
    "all parts": {},
    "2: no coarse scale": {"coarse": False},
    "3: K = 32 for every level": {"codes": 32},
    "3: K = 64 for every level": {"codes": 64},
    "3: K = 128 for every level": {"codes": 128},
    "3: K = 256 for every level": {"codes": 256},
    "a decoder that mixes neighbours": {"mixing": True},
    "4: tokens by distortion alone": {"rate_aware": False},
    "4: no search at packing": {"search": False},
    "5: prior without context": {"conditional": False},
    "6: weights do not shrink": {"shrink_weights": False},
}


def line_of(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Fit and pack a variant, and return what the file holds and gives back."""
    search = changes.get("search", True)
    settings = replace(PyramidSettings("compact", GOAL, EFFORT), **{k: v for k, v in changes.items() if k != "search"})
    source = open_source(read_images(open_source(SOURCE), IMAGES).pixels)
    started = time.monotonic()
    model = fit_source(source, settings)
    request = FitRequest(effort=SEARCH_EFFORT if search else 0, adapt=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.smalti"
        pack(source, path, model, request, PackOptions(labels=False, threads=1))
        with open_archive(path, threads=1) as archive:
            info, quality = archive.info(), compare(archive, source).quality
    return {
        "variant": name,
        "archive_bytes": info.archive_bytes,
        "bytes_per_image": round(info.bytes_per_image, 3),
        "model_bytes": info.bytes.model,
        "prior_bytes": info.bytes.prior,
        "tokens_bytes": info.bytes.tokens,
        "codes": info.codebook_size,
        "mse_mean": quality.mse_mean,
        "ssim_mean": quality.ssim_mean,
        "seconds": round(time.monotonic() - started),
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="measure this one alone")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all variants that are not there yet."""
    torch.set_num_threads(1)
    lines = harness.earlier(arguments.output, "benchmarks.ablation").get("variants", [])
    done = {line["variant"] for line in lines}
    for name in arguments.variant or VARIANTS:
        if name not in done:
            lines.append(line_of(name, VARIANTS[name]))
            print(lines[-1], file=sys.stderr, flush=True)
    figures = {"source": SOURCE, "images": IMAGES, "target_mse": GOAL.mse, "effort": EFFORT, "variants": lines}
    return Findings(figures)


if __name__ == "__main__":
    harness.main("benchmarks.ablation", __doc__, declare, measure)
