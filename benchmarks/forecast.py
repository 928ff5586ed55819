"""What `smalti estimate` foretells with `photo`, beside archives of real fits.

    python -m benchmarks.sets tiles -o tiles
    smalti compress tiles -o tiles.smalti --profile photo --psnr 36 --effort 3
    python -m benchmarks.forecast --case tiles tiles 36 tiles.smalti --set-by tiles -o results/transform/forecast.json

A case has a name, a source, a target and an archive of that source: the target is a PSNR in dB, or a mean squared
error if it is below 1. The effort is that of the archive, and so is `kind`. Bytes are without names and labels.
`share` is the bits of the tokens, as a share of the entropy from which a forecast begins: the numbers in
`training/transform/forecast.py` and `training/pixels/pixel_forecast.py` come from the cases of --set-by; the others
test them. `missed` is what an archive lacks of its target; such an archive tells nothing of the forecast. Exit code 1
if a forecast of another case is off by more than a factor of 1.3.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.sources.open import open_any_size
from smalti.training.cells.forecast import WITHIN
from smalti.training.cells.sized_fits import DEFAULT_EFFORT
from smalti.training.common.goal import Goal
from smalti.training.photo.photo_forecast import forecast_photo
from smalti.training.transform.transform_settings import TransformSettings

NAME = "benchmarks.forecast"


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument(
        "--case", nargs=4, action="append", required=True, metavar=("NAME", "SOURCE", "TARGET", "ARCHIVE")
    )
    parser.add_argument("--set-by", action="append", default=[], metavar="NAME", help="a case that set the numbers")
    parser.add_argument("--missed", nargs=2, action="append", default=[], metavar=("NAME", "WORDS"))


def goal_of(target: float) -> Goal:
    """The goal of a number: a mean squared error below 1, else a PSNR."""
    return Goal(mse=target) if target < 1 else Goal.of_psnr(target)


def case_of(source: str, target: float, archive: Path) -> dict[str, Any]:
    """Forecast a source, and look at its archive."""
    with open_images(archive) as opened:
        assert isinstance(opened, Archive)
        info = opened.info()
    effort = int(info.provenance.get("effort", DEFAULT_EFFORT))
    started = time.monotonic()
    both = forecast_photo(open_any_size(source)[0], TransformSettings("photo", goal_of(target), effort))
    found = both.pixels if info.decoder == "pixels" else both.transform
    seconds = time.monotonic() - started
    tokens = info.bytes.tokens
    real = info.archive_bytes - info.bytes.columns
    return {
        "target": target,
        "kind": info.decoder,
        "foretold_kind": "pixels" if both.takes_pixels else "transform",
        "effort": effort,
        "images": info.images,
        "foretold_bytes": found.archive_bytes,
        "real_bytes": real,
        "foretold_over_real": round(found.archive_bytes / real, 3),
        "share": round(8 * tokens / found.entropy_bits, 3),
        "foretold_other_bytes": found.other_bytes,
        "real_other_bytes": real - tokens,
        "forecast_seconds": round(seconds, 1),
    }


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure every case."""
    missed = dict(arguments.missed)
    cases: dict[str, dict[str, Any]] = {}
    for name, source, target, archive in arguments.case:
        found = case_of(source, float(target), Path(archive))
        cases[name] = {"sets_the_numbers": name in arguments.set_by, "missed": missed.get(name), **found}
    tests = [case for case in cases.values() if not case["sets_the_numbers"] and case["missed"] is None]
    off = [math.exp(abs(math.log(case["foretold_over_real"]))) for case in tests]
    figures = {"cases": cases, "within": WITHIN, "tests": len(tests), "largest_factor": round(max(off, default=1.0), 3)}
    return Findings(figures, all(factor <= WITHIN for factor in off))


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
