"""Time how fast an archive is decoded: all of it beside Pillow on the same images as PNG, and one image at random.

    python -m benchmarks.decoding ARCHIVE -o results/decoding.json [--source mnist] [--rounds 7]

Everything is measured in one process, in turns, on THREADS threads (2). Pillow decodes PNG bytes in memory to one
uint8 array; the archive is read from open to done, file to uint8 array. The images are those of the archive, and with
--source its originals too.
"""

import argparse
import io
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_info

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.timing import in_turns, png_bytes, seconds_of, sgemm_rate, summary
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import Archive, open_archive
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import ImageStore
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.images.source import read_images
from smalti.sources.open import open_source
from smalti.storage.positioned import file_at

GOAL_RATIO, LEAST_RATIO, GOAL_IMAGE_MS = 1.0, 0.3, 5.0
OPENINGS, READS_OF_AN_OPENING = 40, 75


def decode_png(files: Sequence[bytes], shape: tuple[int, ...], threads: int) -> NDArray[np.uint8]:
    """Decode PNG files with Pillow into one array."""
    pixels = np.empty(shape, np.uint8)

    def fill(start: int, stop: int) -> None:
        for number in range(start, stop):
            with Image.open(io.BytesIO(files[number])) as image:
                pixels[number] = np.asarray(image)

    cuts = [len(files) * part // threads for part in range(threads + 1)]
    if threads == 1:
        fill(*cuts)
        return pixels
    with ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(fill, start, stop) for start, stop in pairwise(cuts)]:
            job.result()
    return pixels


def read_all(path: Path, threads: int) -> NDArray[np.uint8]:
    """Decode a whole archive, from open to done."""
    with open_archive(path, threads=threads) as archive:
        return archive[:]


def multiply_adds(network: IntegerNetwork, grid: tuple[int, int]) -> int:
    """Multiply-adds of one image computed in full, layer by layer.

    A layer of tokens is a look-up: what a token adds counts as one an output. Products that padding cuts off count.
    """
    total, size = 0, grid
    for layer in network.layers:
        after = layer.output_size(size)
        rows, columns = after if layer.kind == "conv" else size
        inputs = 1 if layer.kind == "tokens" else layer.inputs
        total += rows * columns * layer.kernel[0] * layer.kernel[1] * inputs * layer.outputs
        size = after
    return total


def single_images(path: Path, openings: int) -> dict[str, Any]:
    """Milliseconds of one random image: the first after opening, from a block not read yet, from one read before."""
    first, cold = [], []
    draw = np.random.default_rng(0)
    for _ in range(openings):
        with open_archive(path) as archive:
            blocks = _first_of_blocks(archive)
            chosen = [int(number) for number in draw.permutation(blocks)[:10]]
            times = [_milliseconds_of(archive, number) for number in chosen]
            first.append(times[0])
            cold.extend(times[1:])
    with open_archive(path) as archive:
        for number in _first_of_blocks(archive):
            _ = archive[int(number)]
        numbers = draw.integers(0, len(archive), openings * READS_OF_AN_OPENING).tolist()
        warm = [_milliseconds_of(archive, number) for number in numbers]
    places = {"first_after_opening": first, "block_not_read_yet": cold, "block_read_before": warm}
    return {name: _milliseconds(times) for name, times in places.items()}


def _first_of_blocks(archive: Archive) -> NDArray[np.int64]:
    """One image of every token block."""
    return np.arange(0, len(archive), archive.info().block_images, dtype=np.int64)


def _milliseconds_of(archive: Archive, number: int) -> float:
    return 1000 * seconds_of(lambda: archive[number])


def _milliseconds(times: Sequence[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(times), 3),
        "p95_ms": round(float(np.percentile(times, 95)), 3),
        "reads": len(times),
    }


def compared(
    path: Path, images: NDArray[np.uint8], originals: NDArray[np.uint8] | None, threads: int, rounds: int
) -> dict[str, Any]:
    """Seconds of decoding everything, by archive and by Pillow."""
    sets = {"": png_bytes(images)} | ({} if originals is None else {"_originals": png_bytes(originals)})
    works: dict[str, Callable[[], object]] = {"smalti": lambda: read_all(path, threads)}
    for name, files in sets.items():
        assert (decode_png(files[:50], (50, *images.shape[1:]), 1) == (originals if name else images)[:50]).all()
        for used in (1, threads):
            works[f"pillow_{used}_threads{name}"] = lambda files=files, used=used: decode_png(files, images.shape, used)
    works["smalti_1_thread"] = lambda: read_all(path, 1)
    seconds = in_turns(works, rounds)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "png_bytes": {f"images{name}": sum(map(len, files)) for name, files in sets.items()},
        "seconds": {name: summary(values) for name, values in seconds.items()},
        "speed_against_pillow": {
            name: round(value / middle["smalti"], 3) for name, value in middle.items() if name.startswith("pillow")
        },
    }


def decoder_alone(path: Path, threads: int, rate: float) -> dict[str, Any]:
    """The network without the file: as the reader runs it, and layer by layer with every product really done."""
    file = SectionFile(file_at(path), Limits())
    store, grid = ImageStore(file), file.header.token_grid
    network = store.model.network
    tokens = np.concatenate([store.block(number).indices for number in range(file.layout.blocks)]).reshape(-1, *grid)
    file.close()
    each = multiply_adds(network, grid)
    result: dict[str, Any] = {"multiply_adds_per_image": each}
    for name, plain in (("by_windows", False), ("layer_by_layer", True)):
        decoder = IntegerDecoder(network, plain=plain)
        taken = statistics.median(seconds_of(lambda d=decoder: d.decode(tokens, threads)) for _ in range(3))
        result[name] = {"seconds": round(taken, 3), "share_of_sgemm": round(each * len(tokens) / taken / rate, 3)}
    return result


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)
    parser.add_argument("--source", help="the originals, decoded from PNG too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--openings", type=int, default=OPENINGS, help="how often the archive is opened for one image")


def measure(arguments: argparse.Namespace) -> Findings:
    """Everything this program finds."""
    path, source, threads = arguments.archive, arguments.source, arguments.threads
    images = read_all(path, threads)
    originals = None if source is None else read_images(open_source(source)).pixels.reshape(images.shape)
    rate = sgemm_rate(arguments.rounds)
    found = compared(path, images, originals, threads, arguments.rounds)
    alone = decoder_alone(path, threads, rate)
    rate = max(rate, sgemm_rate(arguments.rounds))
    taken = found["seconds"]["smalti"]["median_seconds"]
    (blas,) = [info for info in threadpool_info() if info["internal_api"] == "openblas"][:1]
    figures = {
        "blas": {"library": "OpenBLAS", "kernel": blas["architecture"], "threads": blas["num_threads"]},
        "images": len(images),
        "threads": threads,
        "all_images": found,
        "goal_speed_against_pillow": GOAL_RATIO,
        "least_speed_against_pillow": LEAST_RATIO,
        "sgemm_multiply_adds_per_second": round(rate),
        "share_of_sgemm": round(alone["multiply_adds_per_image"] * len(images) / taken / rate, 3),
        "share_is": "multiply-adds of every image computed in full, over the seconds of decompressing, over the rate "
        "of sgemm; by_windows does fewer, for it looks up what it has computed before",
        "decoder_alone": alone,
        "one_random_image": single_images(path, arguments.openings),
        "goal_one_image_ms": GOAL_IMAGE_MS,
    }
    return Findings(figures, rounds=arguments.rounds)


if __name__ == "__main__":
    harness.main("benchmarks.decoding", __doc__, declare, measure)
