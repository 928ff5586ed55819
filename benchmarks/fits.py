"""How long fits of this checkout take beside those of another one, such as an earlier release, in turns.

    git worktree add ../before e622a13
    python -m benchmarks.fits mnist --other ../before --name e622a13 -o results/fits.json

`paper` takes 3 epochs over the first images of the source (--images); `compact` has --effort 1, whose steps are those
of all efforts. Each fit is a fresh process on all cores. Sums have another order in each checkout, so their errors and
bits differ a little.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import fresh_environment
from smalti.sources.open import open_source

SETTINGS = {"paper": ["--epochs", "3"], "compact": ["--effort", "1"]}
QUALITY = {"paper": ["validation_mse"], "compact": ["mse", "bits", "model_bytes"]}


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all profiles."""
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch, "images.npy")
        np.save(images, next(iter(open_source(arguments.source).batches(arguments.images))).pixels[..., 0])
        found = {name: _profile(name, images, arguments) for name in arguments.only or SETTINGS}
    return Findings({"other": arguments.name, "images": arguments.images, "profiles": found}, rounds=arguments.rounds)


def _profile(name: str, images: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both checkouts with one profile."""
    seconds: dict[str, list[float]] = {"this": [], "other": []}
    quality = {}
    for _ in range(arguments.rounds):
        for build, root in (("this", ROOT), ("other", arguments.other)):
            taken, quality[build] = _fit(root, name, images)
            seconds[build].append(taken)
            print(f"{name}, {build}: {taken:.1f} s, {quality[build]}", file=sys.stderr, flush=True)
    medians = {build: statistics.median(own) for build, own in seconds.items()}
    return {build: {"seconds": round(median, 1), **quality[build]} for build, median in medians.items()} | {
        "share_of_the_time": round(medians["this"] / medians["other"], 3)
    }


def _fit(root: Path, name: str, images: Path) -> tuple[float, dict[str, float]]:
    """The seconds of a fit, and what the last report of its history says of quality."""
    model = images.with_name("fit.smalti-model")
    command = [sys.executable, "-m", "smalti", "fit", str(images), "-o", str(model), "--profile", name]
    command += [*SETTINGS[name], "--json", "-q", "-f"]
    environment = fresh_environment({"PYTHONPATH": str(root.resolve() / "src")})
    begun = time.perf_counter()
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=images.parent)
    taken = time.perf_counter() - begun
    if ran.returncode:
        sys.exit(f"{root}: {ran.stdout}{ran.stderr}")
    last = json.loads(ran.stdout)["history"][-1]
    return taken, {key: last[key] for key in QUALITY[name]}


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("source", help="grey images of one size")
    parser.add_argument("--other", type=Path, required=True, metavar="FOLDER", help="the root of another checkout")
    parser.add_argument("--name", default="another checkout", help="of it, such as its commit")
    parser.add_argument("--images", type=int, default=6_000, help="to fit on [default: 6,000]")
    parser.add_argument("--only", action="append", choices=list(SETTINGS), help="measure this profile alone")
    parser.add_argument("--rounds", type=int, default=1, help="of each checkout and profile [default: 1]")


if __name__ == "__main__":
    harness.main("benchmarks.fits", __doc__, declare, measure)
