"""What a manifest of many archives costs: files opened, seconds and memory, step by step.

    python -m acceptance.check_manifest -o results/manifest.json

One small archive is linked as often as there are members, so that the disk holds it once. Each step runs in a process
of its own. The check fails if a step opens more members than it may.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import smalti
from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import in_fresh_process
from smalti.archive.collection.collection import Collection
from smalti.archive.edit.edit import write_manifest

NAME = "acceptance.check_manifest"
SHARD = ROOT / "conformance" / "golden" / "format-1-named.smalti"


def _nothing(_: Collection) -> None:
    """Opening alone."""


def _one_image(whole: Collection) -> None:
    _ = whole.images([len(whole) // 2])


def _first_batch(whole: Collection) -> None:
    next(whole.batches(256))


def _columns(whole: Collection) -> None:
    _ = whole.block_bounds, whole.class_names, whole.labels


def _info(whole: Collection) -> None:
    _ = whole.info(), whole.lost_columns


STEPS: dict[str, tuple[Callable[[Collection], None], Callable[[int], int]]] = {
    "open": (_nothing, lambda members: 0),
    "one image": (_one_image, lambda members: 1),
    "first batch": (_first_batch, lambda members: members),
    "bounds, class names and labels": (_columns, lambda members: members),
    "info and lost columns": (_info, lambda members: members),
}
"""What is done after opening, and how many members it may open."""


def _measure(step: str, manifest: Path) -> dict[str, Any]:
    """Do one step: members opened, seconds, and the most memory beyond that of the imports."""
    opened = 0

    def count(event: str, details: tuple[Any, ...]) -> None:
        nonlocal opened
        opened += event == "open" and str(details[0]).endswith(".smalti")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.addaudithook(count)
    start = time.perf_counter()
    with smalti.open(manifest) as whole:
        assert isinstance(whole, Collection)
        STEPS[step][0](whole)
        seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"opens": opened, "seconds": round(seconds, 3), "peak_bytes": 1024 * (after - before)}


def _make(folder: Path, shard: Path, members: int) -> Path:
    """Write a manifest of links to one archive, all in one folder."""
    first = folder / "shard.smalti"
    first.write_bytes(shard.read_bytes())
    links = [folder / f"{number:06}.smalti" for number in range(members)]
    for link in links:
        os.link(first, link)
    manifest = folder / "all.smalti-manifest"
    write_manifest(links, manifest)
    return manifest


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--shard", type=Path, default=SHARD, help="the archive that all members are links to")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "MANIFEST"), help=argparse.SUPPRESS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure every step in a process of its own. It passes if no step opens more members than it may."""
    if arguments.step is not None:
        step, manifest = arguments.step
        print(json.dumps(_measure(step, Path(manifest))))
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        manifest = _make(Path(folder), arguments.shard, arguments.members)
        seconds_to_write = time.perf_counter() - started
        steps = {
            step: in_fresh_process(NAME, "--step", step, manifest) | {"opens_allowed": allowed(arguments.members)}
            for step, (_, allowed) in STEPS.items()
        }
        manifest_bytes = manifest.stat().st_size
    figures = {
        "shard_bytes": arguments.shard.stat().st_size,
        "members": arguments.members,
        "manifest_bytes": manifest_bytes,
        "seconds_to_write": round(seconds_to_write, 3),
        "steps": steps,
    }
    return Findings(figures, all(step["opens"] <= step["opens_allowed"] for step in steps.values()))


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
