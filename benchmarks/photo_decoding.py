"""How fast archives of `photo` are decoded, beside Pillow's reading of AVIF files of the same images.

    python -m benchmarks.photo_decoding --set SOURCE ARCHIVE DB [--set ...] -o results/transform/decoding.json

Each archive is read from open to done, its first 16 megapixels to arrays. Pillow decodes AVIF files in memory, of
evenly spread images of about a megapixel, at the setting that reaches DB decibels, one thread for each file. Both take
turns, on 1 and on 2 threads; medians of rounds. With --without, NumPy alone is measured too, without the kernels of
`smalti[fast]`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from PIL import AvifImagePlugin

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.peers import sample, say
from smalti.archive.open import open_images
from smalti.images.seen import mse_at_db
from smalti.peers.curves import Curve, first_reaching
from smalti.peers.peer_codecs import decode_avif, peers_for
from smalti.sources.open import open_groups

DECODED_PIXELS = 16_000_000
AVIF_PIXELS = 1_000_000
THREADS = (1, 2)


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all sets."""
    rows = [_row(*own, arguments) for own in arguments.set]
    return Findings({"sets": rows}, rounds=arguments.rounds)


def _row(source: str, archive: str, decibels: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Megapixels a second of one set."""
    groups = open_groups(source, report=say)
    channels = groups[0].image_shape[2]
    some = sample(groups, AVIF_PIXELS)
    peer = next(peer for peer in peers_for(channels, groups[0].dtype) if peer.name == "AVIF")
    curve, mse = Curve(peer, peer.efforts[0], some.images, "files", say), mse_at_db(float(decibels))
    need, index = curve.need(mse, first_reaching(curve, mse))
    files = curve.files[index]
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    ways: dict[str, Callable[[int], float]] = {
        "smalti": partial(_smalti, Path(archive), "auto"),
        "pillow": partial(_pillow, files, channels, some.pixels),
    }
    if arguments.without:
        ways["numpy"] = partial(_smalti, Path(archive), "never")
    rates: dict[str, dict[int, list[float]]] = {way: {threads: [] for threads in THREADS} for way in ways}
    for _ in range(arguments.rounds + 1):
        for threads in THREADS:
            for way, rate in ways.items():
                rates[way][threads].append(rate(threads))
    found = {way: {n: statistics.median(own[1:]) for n, own in each.items()} for way, each in rates.items()}
    say(f"{source}: {found}")
    return {
        "set": Path(source).name,
        "db": float(decibels),
        "kind": _kind(Path(archive)),
        "avif_files": len(files),
        "avif_bytes_per_image": None if need.bytes is None else round(need.bytes / len(files), 1),
        "megapixels_per_second": {way: {n: round(rate, 2) for n, rate in own.items()} for way, own in found.items()},
        "smalti_of_pillow": {n: round(found["smalti"][n] / found["pillow"][n], 3) for n in THREADS},
    }


def _kind(archive: Path) -> str:
    with open_images(archive) as images:
        return str(images.info().decoder)


def _smalti(archive: Path, kernels: str, threads: int) -> float:
    os.environ["SMALTI_KERNELS"] = kernels
    started = time.perf_counter()
    with open_images(archive, threads=threads) as images:
        info = images.info()
        count = min(info.images, round(DECODED_PIXELS * info.images / info.pixels) or 1)
        found = images.images(slice(count))
    return sum(image.shape[0] * image.shape[1] for image in found) / (time.perf_counter() - started) / 1e6


def _pillow(files: list[bytes], channels: int, pixels: int, threads: int) -> float:
    decode = partial(decode_avif, channels=channels)
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(decode, files):
            pass
        return pixels / (time.perf_counter() - started) / 1e6


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("SOURCE", "ARCHIVE", "DB"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", action="store_true", help="NumPy alone too")


if __name__ == "__main__":
    harness.main("benchmarks.photo_decoding", __doc__, declare, measure)
