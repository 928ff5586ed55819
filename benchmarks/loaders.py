"""Shuffled batches of a DataLoader from an archive, beside other forms of the same training set.

    python -m venv ../peers && ../peers/bin/pip install torch==2.13.0 litdata mosaicml-streaming webdataset datasets
    python -m benchmarks.loaders --peers ../peers/bin/python --case digits mnist mnist.smalti \
        -o results/interop/loaders.json

NAME, SOURCE and ARCHIVE ... of a case: archives of the source, whose images are of one shape. The other forms hold its
first images (--images) as they are, as PNG files, or raw where the form's own page advises that. Batches have 256
images. Each round reads two epochs of each form, in a fresh process, with 0 and with 2 workers.

    from first batch   images a second of an epoch, from the arrival of the first batch on
    whole              the same with all that comes before: the start of workers, and the first batch

The first epoch finds nothing decoded. In the second one a form may have kept what it decoded: an archive keeps up to
512 MiB. `times_the_best` divides the faster of an archive's two numbers of workers by the fastest of all others.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import harness, loader_peers
from benchmarks.harness import Findings
from benchmarks.processes import fresh_environment
from smalti.archive.open import open_images
from smalti.sources.open import open_source

WORKERS = (0, 2)
EPOCHS = ("first epoch", "second epoch")
SMALTI = "smalti"


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all cases."""
    return Findings({"cases": [_case(own, arguments) for own in arguments.case]}, rounds=arguments.rounds)


def _case(words: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    name, source, *archives = words
    opened = open_source(source)
    count = min(arguments.images, len(opened))
    pixels = np.concatenate([batch.pixels for batch in opened.batches(4096, 0, count)])
    pixels = pixels[..., 0] if pixels.shape[3] == 1 else pixels
    places = {SMALTI if len(archives) == 1 else f"{SMALTI}, {Path(path).stem}": path for path in archives}
    sizes = {form: _bytes_per_image(path) for form, path in places.items()}
    with TemporaryDirectory(dir=arguments.scratch) as scratch:
        np.save(f"{scratch}/images.npy", pixels)
        for form in loader_peers.FORMS:
            places[form] = str(Path(scratch, form.replace(", ", "-")))
            Path(places[form]).mkdir()
            made = _run(arguments.peers, "make", form, f"{scratch}/images.npy", places[form])
            sizes[form] = round(made["bytes"] / count, 1)
        rates = _rates(places, arguments)
    found = {form: {"bytes_per_image": sizes[form], **rates[form]} for form in places}
    return {
        "case": name,
        "images": count,
        "shape": pixels.shape[1:],
        "images_per_second": found,
        "times_the_best": {form: _times_the_best(form, found) for form in found if form.startswith(SMALTI)},
    }


def _bytes_per_image(path: str) -> float:
    with open_images(path) as archive:
        return round(archive.info().bytes_per_image, 1)


def _rates(places: dict[str, str], arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Images a second of each form, by workers, epoch, and where the count begins."""
    runs: dict[tuple[str, int], list[list[dict[str, float]]]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for form, place in places.items():
            for workers in WORKERS:
                python, kind = (sys.executable, SMALTI) if form.startswith(SMALTI) else (arguments.peers, form)
                runs[form, workers].append(_run(python, "read", kind, place, workers, len(EPOCHS)))
    found: dict[str, dict[str, Any]] = {form: {} for form in places}
    for (form, workers), own in runs.items():
        found[form][f"{workers} workers"] = {
            epoch: {
                "from first batch": round(statistics.median(_from_first(run[number]) for run in own)),
                "whole": round(statistics.median(run[number]["images"] / run[number]["seconds"] for run in own)),
            }
            for number, epoch in enumerate(EPOCHS)
        }
        print(f"{form}, {workers} workers: {found[form][f'{workers} workers']}", file=sys.stderr)
    return found


def _from_first(epoch: dict[str, float]) -> float:
    return (epoch["images"] - epoch["first_images"]) / (epoch["seconds"] - epoch["first_seconds"])


def _times_the_best(ours: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rate of an archive over that of the fastest other form, and over that of the fastest of PNG files."""
    times: dict[str, Any] = {}
    for epoch in EPOCHS:
        for count in ("from first batch", "whole"):
            best = {form: max(own[f"{w} workers"][epoch][count] for w in WORKERS) for form, own in found.items()}
            others = {form: rate for form, rate in best.items() if not form.startswith(SMALTI)}
            fastest = max(others, key=lambda form: others[form])
            png = max(rate for form, rate in others.items() if form.endswith("PNG"))
            times[f"{epoch}, {count}"] = {
                "of all": round(best[ours] / others[fastest], 2),
                "fastest": fastest,
                "of PNG": round(best[ours] / png, 2),
            }
    return times


def _run(python: str, *words: Any) -> Any:
    """What loader_peers.py prints in a process of its own."""
    command = [python, loader_peers.__file__, *map(str, words)]
    ran = subprocess.run(command, env=fresh_environment(), capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"{' '.join(command)} ended with {ran.returncode}: {ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument(
        "--case", nargs="+", action="append", required=True, metavar="WORD", help="NAME SOURCE ARCHIVE ..."
    )
    parser.add_argument("--images", type=int, default=10_000, help="that other forms hold at most [default: 10,000]")
    parser.add_argument("--peers", required=True, metavar="PYTHON", help="a Python that has the packages of the forms")
    parser.add_argument("--rounds", type=int, default=3, help="of each form and number of workers [default: 3]")
    parser.add_argument("--scratch", metavar="FOLDER", help="where forms are written [default: the system's]")


if __name__ == "__main__":
    harness.main("benchmarks.loaders", __doc__, declare, measure)
