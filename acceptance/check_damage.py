"""Flip every byte of an archive, one at a time, and count what is noticed and what is lost.

    python -m acceptance.check_damage ARCHIVE -o results/damage.json

Each damaged copy is opened and tested as `smalti test` does; images lost are those that `Archive.missing` names. Every
thousandth copy is also decoded with `on_error="skip"`, and what is served is compared with the sound archive.

What a payload of given bytes decodes to is remembered between copies, since it depends on the bytes alone: a checksum
that holds lets the remembered result be used, one that does not never gets there.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import harness
from benchmarks.harness import Findings
from smalti.archive.format.layout import PRELUDE_BYTES, TRAILER_BYTES
from smalti.archive.read import store
from smalti.archive.read.reader import open_archive
from smalti.errors import SmaltiError

DECODED_EVERY = 1000
PARTS = 64


class Flip(NamedTuple):
    """What one flipped byte did."""

    place: int
    noticed: bool
    images_lost: int


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="flip every n-th byte [default: all]")


def measure(arguments: argparse.Namespace) -> Findings:
    """Flip bytes of the archive, and count."""
    edges = np.linspace(0, arguments.archive.stat().st_size, PARTS + 1).astype(int).tolist()
    with ProcessPoolExecutor(arguments.processes) as pool:
        parts = pool.map(partial(flip_bytes, arguments.archive, arguments.every), edges[:-1], edges[1:])
        flips = [flip for part in parts for flip in part]
    figures = summary(arguments.archive, flips)
    return Findings(figures, figures["noticed"] == figures["flips"])


def flip_bytes(archive: Path, every: int, start: int, stop: int) -> list[Flip]:
    """Flip one bit of each `every`-th byte from `start` to `stop` in a copy of the archive."""
    remember_decoded_payloads()
    data = archive.read_bytes()
    with open_archive(archive) as sound:
        pixels = sound[:]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "damaged.smalti"
        copy.write_bytes(data)
        flips = []
        with copy.open("r+b", buffering=0) as file:
            for place in range(start + -start % every, stop, every):
                file.seek(place)
                file.write(bytes([data[place] ^ 1 << place % 8]))
                noticed, lost = outcome(copy, pixels, place % DECODED_EVERY == 0)
                flips.append(Flip(place, noticed, lost))
                file.seek(place)
                file.write(data[place : place + 1])
    return flips


def remember_decoded_payloads() -> None:
    """Let payloads that were decoded once be taken from memory."""
    decode_block = store.unpack_block
    blocks: dict[bytes, Any] = {}

    def unpack_block(payload: bytes, *arguments: Any) -> Any:
        if payload not in blocks:
            blocks[payload] = decode_block(payload, *arguments)
        return blocks[payload]

    store.unpack_block = unpack_block
    store.unpack_model = lru_cache(4)(store.unpack_model)


def outcome(path: Path, pixels: np.ndarray, decode: bool) -> tuple[bool, int]:
    """Whether opening or testing the file notices damage, and how many images are lost."""
    try:
        with open_archive(path) as archive:
            lost = sum(block.images for block in archive.missing())
            if decode and lost < len(archive):
                served = 0
                for batch in archive.batches(1024, on_error="skip"):
                    served += len(batch)
                    if not np.array_equal(batch.pixels.reshape(pixels[batch.numbers].shape), pixels[batch.numbers]):
                        raise AssertionError(f"{path}: wrong pixels were served")
                assert served == len(archive) - lost
            return not archive.verify().ok, lost
    except SmaltiError:
        return True, len(pixels)


def summary(path: Path, flips: list[Flip]) -> dict[str, Any]:
    """Flips, what was noticed and what was lost, by section and in all."""
    with open_archive(path) as archive:
        info = archive.info()
        names = np.full(info.archive_bytes, "index", object)
        names[:PRELUDE_BYTES] = "prelude"
        names[-TRAILER_BYTES:] = "trailer"
        for entry in archive._file.entries:
            names[entry.offset : entry.end] = entry.name.rstrip(" 0123456789") + (
                "s" if entry.section in (4, 5) else ""
            )
    by_section: dict[str, list[Flip]] = defaultdict(list)
    for flip in flips:
        by_section[names[flip.place]].append(flip)
    sections = {name: counts(part) for name, part in by_section.items()}
    return {"images": info.images, "block_images": info.block_images, **counts(flips), "sections": sections}


def counts(flips: list[Flip]) -> dict[str, Any]:
    """The numbers of some flips."""
    lost = [flip.images_lost for flip in flips]
    noticed = sum(flip.noticed for flip in flips)
    return {
        "flips": len(flips),
        "noticed": noticed,
        "noticed_percent": round(100 * noticed / len(flips), 4),
        "images_lost_median": statistics.median(lost),
        "images_lost_max": max(lost),
    }


if __name__ == "__main__":
    harness.main("acceptance.check_damage", __doc__, declare, measure)
