"""How fast archives are opened, read and packed, beside files and arrays of the same images.

    python -m benchmarks.speed --case digits mnist mnist.smalti --pack lossless cifar-10/test lossless.smalti-model \\
        -o results/speed.json

--case NAME SOURCE ARCHIVE : the archive is of the source, whose images are of one shape. Evenly spread images, about 6
MB of pixels, are read as files from memory (one call for each image) and as arrays from disk. Archives are read from
open to done: as many images from the first one on. All take turns, on 1 and on 2 threads. AVIF loses detail; all other
files are lossless.

    open          of an archive, in a process that has opened one before
    one image     first: after opening    cold: of a block not read before    warm: of one that was read
    stages        shares of the time of reading on one thread: the file, entropy decoding with the prior, and pixels
    peak          the most memory of a process that decodes as many images, less that of one which only opens

--pack NAME SOURCE MODEL : seconds of `smalti compress SOURCE --model MODEL --no-compare`, from start to end, in turns
with WebP without loss (Pillow, method 4) of the same images, file by file in memory, both on 2 threads.
"""

import argparse
import io
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import fresh_command, peak_and_seconds, run_smalti
from benchmarks.timing import in_turns, seconds_of, sgemm_rate
from smalti.archive.format.layout import Section
from smalti.archive.read.reader import Archive, open_archive
from smalti.peers.peer_codecs import imagecodecs_or_none
from smalti.sources.open import open_source

READ_BYTES = 6_000_000
THREADS = (1, 2)
OPENINGS = 5
WARM_READS = 500
COLD_READS = 20

Pixels = NDArray[Any]


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all cases."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    figures = {
        "products_per_second_of_a_large_matrix": round(sgemm_rate()),
        "bytes_per_second_of_a_copy": round(_copy_rate()),
        "cases": [_case(*own, arguments.rounds) for own in arguments.case or ()],
        "packing": [_packing(*own, arguments.rounds) for own in arguments.pack or ()],
    }
    return Findings(figures, rounds=arguments.rounds)


def _copy_rate() -> float:
    block = np.ones(1 << 26, np.uint8)
    return len(block) / min(seconds_of(block.copy) for _ in range(9))


def _case(name: str, source: str, archive: str, rounds: int) -> dict[str, Any]:
    """All figures of one set."""
    images, path = _spread(source), Path(archive)
    with open_archive(path) as opened:
        info = opened.info()
        count = min(info.images, len(images))
    with tempfile.TemporaryDirectory() as folder:
        ways, sizes = _ways(images, path, count, Path(folder))
        works = {(way, threads): partial(work, threads) for way, work in ways.items() for threads in THREADS}
        seconds = in_turns({f"{way}|{threads}": work for (way, threads), work in works.items()}, rounds)
        memory = _peak(path, count, Path(folder))
    middle = {key: statistics.median(own) for key, own in seconds.items()}
    found = {
        "case": name,
        "profile": info.profile,
        "decoder": info.decoder,
        "images": info.images,
        "shape": info.shape,
        "images_read": count,
        "bytes_per_image": {"smalti": round(info.bytes_per_image, 1), **sizes},
        "images_per_second": {
            way: {threads: round(count / middle[f"{way}|{threads}"]) for threads in THREADS} for way in ways
        },
        "open_ms": round(1000 * statistics.median(_opening(path) for _ in range(9)), 2),
        "one_image_ms": one_image(path),
        "stages": _stages(path, count, rounds),
        "peak_mb": memory,
    }
    print(found, file=sys.stderr)
    return found


def _spread(source: str) -> Pixels:
    """Evenly spread images of a source: [n, H, W] or [n, H, W, C]."""
    opened = open_source(source)
    pixels = np.concatenate([batch.pixels for batch in opened.batches(4096)])
    count = min(len(pixels), READ_BYTES // pixels[0].nbytes)
    chosen = pixels[np.linspace(0, len(pixels) - 1, count).astype(np.intp)]
    return chosen[..., 0] if chosen.shape[3] == 1 else chosen


def _ways(
    images: Pixels, path: Path, count: int, folder: Path
) -> tuple[dict[str, Callable[[int], object]], dict[str, float]]:
    """Functions of a number of threads that read all images, and the bytes of an image in each form."""
    ways: dict[str, Callable[[int], object]] = {"smalti": lambda threads: read_images(path, count, threads)}
    sizes = {}
    for form, (encode, decode) in _codecs().items():
        files = _each(encode, images, 2)
        ways[form] = partial(_each, decode, files)
        sizes[form] = round(sum(map(len, files)) / len(files), 1)
    np.save(folder / "images.npy", images)
    ways["NPY"] = lambda _: np.array(np.load(folder / "images.npy", mmap_mode="r"))
    sizes["NPY"] = float(images[0].nbytes)
    import zarr  # noqa: PLC0415

    stored = zarr.create_array(
        folder / "images.zarr", data=images, chunks=(256, *images.shape[1:]), compressors=zarr.codecs.ZstdCodec(level=9)
    )
    ways["Zarr, zstd"] = lambda _: stored[:]
    chunks = [path.stat().st_size for path in (folder / "images.zarr").rglob("*") if path.is_file()]
    sizes["Zarr, zstd"] = round(sum(chunks) / len(images), 1)
    return ways, sizes


def _codecs() -> dict[str, tuple[Callable[[Pixels], bytes], Callable[[bytes], object]]]:
    """By name: an encoder and a decoder of one image."""

    def encode(image: Pixels, form: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, form, **options)
        return buffer.getvalue()

    def decode(data: bytes) -> Pixels:
        return np.asarray(Image.open(io.BytesIO(data)))

    found: dict[str, tuple[Callable[[Pixels], bytes], Callable[[bytes], object]]] = {
        "PNG": (partial(encode, form="PNG"), decode),
        "WebP": (partial(encode, form="WEBP", lossless=True), decode),
        "AVIF, quality 80": (partial(encode, form="AVIF", quality=80), decode),
    }
    imagecodecs = imagecodecs_or_none()
    if imagecodecs is not None and imagecodecs.JPEGXL.available:
        found["JPEG XL"] = (partial(imagecodecs.jpegxl_encode, lossless=True), imagecodecs.jpegxl_decode)
    return found


def _each(work: Callable[[Any], Any], items: Sequence[Any], threads: int) -> list[Any]:
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items, chunksize=64))


def read_images(path: Path, count: int, threads: int) -> None:
    """Open an archive and decode its first images."""
    with open_archive(path, threads=threads) as archive:
        _ = archive[:count]


def _opening(path: Path) -> float:
    return seconds_of(lambda: open_archive(path).close())


def one_image(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of one random image: the first after opening, of a block not read before, and of one read before."""
    times: dict[str, list[float]] = {"first": [], "cold": [], "warm": []}
    draw = np.random.default_rng(0)
    for _ in range(OPENINGS):
        with open_archive(path) as archive:
            blocks = draw.permutation(archive.block_bounds[:-1])[: 1 + COLD_READS // OPENINGS].tolist()
            first, *cold = [_milliseconds(archive, number) for number in blocks]
            times["first"].append(first)
            times["cold"] += cold
            last = blocks[-1]
            times["warm"] += [_milliseconds(archive, last) for _ in range(WARM_READS // OPENINGS)]
    return {
        name: {
            "median": round(statistics.median(own), 3),
            "99th percentile": round(float(np.percentile(own, 99)), 3),
            "reads": len(own),
        }
        for name, own in times.items()
        if own
    }


def _milliseconds(archive: Archive, number: int) -> float:
    return 1000 * seconds_of(lambda: archive[number])


def _stages(path: Path, count: int, rounds: int) -> dict[str, float]:
    """Shares of the time of reading on one thread."""

    def tokens() -> None:
        with open_archive(path) as archive:
            archive.tokens(0, count)

    def file() -> None:
        with open_archive(path) as archive:
            last = int(np.searchsorted(archive.block_bounds, count))
            for number in range(last):
                archive.sections.read(archive.sections.entry(Section.TOKENS, number))

    works = {"all": lambda: read_images(path, count, 1), "tokens": tokens, "file": file}
    seconds = {name: statistics.median(own) for name, own in in_turns(works, rounds).items()}
    file_share, token_share = seconds["file"] / seconds["all"], seconds["tokens"] / seconds["all"]
    return {
        "file": round(file_share, 3),
        "entropy decoding": round(token_share - file_share, 3),
        "pixels": round(1 - token_share, 3),
    }


def _peak(path: Path, count: int, folder: Path) -> float:
    """MB that decoding takes."""
    peaks = [
        peak_and_seconds(fresh_command("benchmarks.speed", "--only-read", path, number), folder / "peak")[0]
        for number in (1, count)
    ]
    return round(peaks[1] - peaks[0], 1)


def _packing(name: str, source: str, model: str, rounds: int) -> dict[str, Any]:
    """Seconds of packing a set, and of writing it as WebP."""
    opened = open_source(source)
    images = np.concatenate([batch.pixels for batch in opened.batches(4096)])
    images = images[..., 0] if images.shape[3] == 1 else images
    encode = _codecs()["WebP"][0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "packed.smalti"
        works = {
            "smalti": lambda: run_smalti(
                "compress", source, "-o", out, "--model", model, "--threads", 2, "--no-compare", "-f"
            ),
            "webp": lambda: _each(encode, images, 2),
        }
        seconds = {way: statistics.median(own) for way, own in in_turns(works, rounds).items()}
        size = out.stat().st_size
    return {
        "case": name,
        "images": len(images),
        "bytes_per_image": {
            "smalti": round(size / len(images), 1),
            "webp": round(sum(map(len, _each(encode, images, 2))) / len(images), 1),
        },
        "images_per_second": {way: round(len(images) / own) for way, own in seconds.items()},
        "smalti_of_webp": round(seconds["webp"] / seconds["smalti"], 2),
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--case", nargs=3, action="append", metavar=("NAME", "SOURCE", "ARCHIVE"))
    parser.add_argument("--pack", nargs=3, action="append", metavar=("NAME", "SOURCE", "MODEL"))
    parser.add_argument("--rounds", type=int, default=5, help="[default: 5]")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only-read"]:
        read_images(Path(sys.argv[2]), int(sys.argv[3]), 1)
    else:
        harness.main("benchmarks.speed", __doc__, declare, measure)
