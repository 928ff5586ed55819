"""What a manifest of many archives costs: files opened, seconds and memory, step by step.

    python acceptance/check_manifest.py --json results/manifest.json

One small archive is linked as often as there are members, so that the disk holds it once. Each step runs in a process
of its own. A step that opens more files than it may ends the script with exit code 1.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import smalti
from smalti.archive.collection.collection import Collection
from smalti.archive.edit.edit import write_manifest

SHARD = Path(__file__).parents[1] / "tests" / "golden" / "format-1-named.smalti"


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
    """A manifest of links to one archive, all in one folder."""
    first = folder / "shard.smalti"
    first.write_bytes(shard.read_bytes())
    links = [folder / f"{number:06}.smalti" for number in range(members)]
    for link in links:
        os.link(first, link)
    manifest = folder / "all.smalti-manifest"
    write_manifest(links, manifest)
    return manifest


def _run(folder: Path, shard: Path, members: int) -> dict[str, Any]:
    start = time.perf_counter()
    manifest = _make(folder, shard, members)
    made = round(time.perf_counter() - start, 3)
    steps = {}
    for step in STEPS:
        command = [sys.executable, __file__, "--step", step, str(manifest)]
        ended = subprocess.run(command, capture_output=True, check=True, text=True)
        steps[step] = json.loads(ended.stdout) | {"opens_allowed": STEPS[step][1](members)}
    with smalti.open(manifest) as whole:
        images = len(whole)
    return {
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "smalti": smalti.__version__},
        "shard_bytes": shard.stat().st_size,
        "members": members,
        "images": images,
        "manifest_bytes": manifest.stat().st_size,
        "seconds_to_write": made,
        "steps": steps,
    }


def main() -> int:
    """Measure all steps, print them, and write them to a file if one is named."""
    parser = argparse.ArgumentParser(description="What a manifest of many archives costs.")
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--shard", type=Path, default=SHARD)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "MANIFEST"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        sys.stdout.write(json.dumps(_measure(asked.step[0], Path(asked.step[1]))))
        return 0
    with tempfile.TemporaryDirectory(dir=None if asked.json is None else asked.json.parent) as folder:
        found = _run(Path(folder), asked.shard, asked.members)
    text = json.dumps(found, indent=2) + "\n"
    sys.stdout.write(text)
    if asked.json is not None:
        asked.json.write_text(text)
    return int(any(step["opens"] > step["opens_allowed"] for step in found["steps"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
