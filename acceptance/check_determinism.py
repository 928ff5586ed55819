"""Decode one archive in many ways, each in a fresh process, and compare the SHA-256 of all of its pixels.

    python -m acceptance.check_determinism ARCHIVE [-o results/determinism.json]

The ways: the reader with 1 and 2 threads, batches of 1 to 4,096 and images in random order; the NumPy decoder in
float32 and float64 on each kernel of its BLAS that this processor can run, and in long doubles, which no BLAS
touches; the torch decoder with oneDNN on and off. The table is also written into docs/exactness.md with --page.
Exit code 1 if two ways differ.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import fresh_command, fresh_environment

NAME = "acceptance.check_determinism"
PAGE = ROOT / "docs" / "exactness.md"
KERNELS = ("Haswell", "SkylakeX", "Zen", "Sandybridge", "Nehalem", "Prescott")
LONG_DOUBLE_IMAGES = 2_000  # they are slow: a loop of NumPy's in place of a BLAS

Pixels = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class Way:
    """One way of decoding. `batch` 0 is all images at once, `images` 0 is all of them."""

    decoder: str
    title: str
    threads: int = 1
    batch: int = 1024
    dtype: str = "float32"
    images: int = 0
    one_dnn: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its process."""
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(self.threads)) | self.environment


def ways() -> list[Way]:
    """Every way, the plainest first."""
    found = [
        Way("reader", "the reader, as `archive[:]`", batch=0),
        Way("reader", "the reader, as `archive[:]`, 2 threads", threads=2, batch=0),
        *[Way("reader", f"the reader, batches of {batch:,}", batch=batch) for batch in (1, 7, 256, 4096)],
        Way("reader", "the reader, batches of 7, 2 threads", threads=2, batch=7),
        Way("shuffled", "the reader, one image at a time in random order", batch=1),
        Way("shuffled", "the reader, 300 at a time in random order, 2 threads", threads=2, batch=300),
    ]
    for dtype in ("float32", "float64"):
        found.append(Way("numpy", f"NumPy, {dtype}", dtype=dtype))
        found.append(Way("numpy", f"NumPy, {dtype}, 2 threads, batches of 4,096", 2, 4096, dtype))
    found.append(Way("plain", "NumPy, float32, layer by layer"))
    found.append(Way("plain", "NumPy, float32, layer by layer, batches of 7, 2 threads", 2, 7))
    for kernel in KERNELS:
        environment = {"OPENBLAS_CORETYPE": kernel}
        found.append(
            Way("plain", f"NumPy, float32, layer by layer, OPENBLAS_CORETYPE={kernel}", environment=environment)
        )
    title = f"NumPy, layer by layer in long doubles, the first {LONG_DOUBLE_IMAGES:,} images"
    found.append(Way("plain", title, dtype="longdouble", images=LONG_DOUBLE_IMAGES))
    for one_dnn in (True, False):
        for threads, batch in ((1, 1), (1, 256), (2, 4096)):
            words = f"torch, float32, oneDNN {'on' if one_dnn else 'off'}, batches of {batch:,}"
            many = f", {threads} threads" if threads > 1 else ""
            found.append(Way("torch", words + many, threads, batch, one_dnn=one_dnn))
    found.append(Way("torch", "torch, float64, oneDNN on, batches of 256", batch=256, dtype="float64"))
    return found


def by_reader(path: Path, way: Way) -> Pixels:
    """What `smalti.open` gives: all at once, or batch by batch."""
    import smalti  # noqa: PLC0415 (only what a way uses is imported)

    with smalti.open(path, threads=way.threads) as archive:
        if not way.batch:
            yield archive[:]
            return
        for batch in archive.batches(way.batch):
            yield batch.pixels


def by_shuffled_reader(path: Path, way: Way) -> Pixels:
    """What the reader gives in random order, put back in order."""
    from smalti.archive.read.reader import open_archive  # noqa: PLC0415

    with open_archive(path, threads=way.threads) as archive:
        order = np.random.default_rng(0).permutation(len(archive))
        pixels = np.empty(archive.shape, np.uint8)
        for start in range(0, len(order), way.batch):
            numbers = order[start : start + way.batch]
            pixels[numbers] = archive[int(numbers[0])] if way.batch == 1 else archive[numbers]
    yield pixels


def by_decoder(path: Path, way: Way) -> Pixels:
    """What a decoder makes of the tokens, batch by batch, cropped to the image."""
    from smalti.archive.format.limits import Limits  # noqa: PLC0415
    from smalti.archive.read.sections import SectionFile  # noqa: PLC0415
    from smalti.archive.read.store import ImageStore  # noqa: PLC0415
    from smalti.storage.positioned import file_at  # noqa: PLC0415

    file = SectionFile(file_at(path), Limits())
    if file.header.has_residuals:
        sys.exit(f"{path}: has residuals, which a decoder alone does not apply; give an archive without an error bound")
    store = ImageStore(file)
    decode = _decode_function(store.model.network, way)
    tokens = np.concatenate([store.block(number).indices for number in range(file.layout.blocks)])
    tokens = tokens.reshape(-1, *file.header.token_grid)[: way.images or None]
    height, width, _ = file.header.image_shape
    for start in range(0, len(tokens), way.batch):
        yield decode(tokens[start : start + way.batch])[:, :height, :width]


def _decode_function(network: Any, way: Way) -> Callable[[NDArray[np.integer]], NDArray[np.uint8]]:
    if way.decoder != "torch":
        from smalti.decoders.grid.integer_decoder import IntegerDecoder  # noqa: PLC0415

        decoder = IntegerDecoder(network, getattr(np, way.dtype), plain=way.decoder == "plain")
        return lambda tokens: decoder.decode(tokens, way.threads)
    import torch  # noqa: PLC0415

    from smalti.torch_decoders.grid import TorchIntegerDecoder  # noqa: PLC0415

    torch.set_num_threads(way.threads)
    torch.backends.mkldnn.flags(enabled=way.one_dnn).__enter__()
    twin = TorchIntegerDecoder(network, dtype=getattr(torch, way.dtype))
    return lambda tokens: twin.decode(torch.from_numpy(tokens.astype(np.int64))).numpy()


MAKERS = {"reader": by_reader, "shuffled": by_shuffled_reader}


def decode(path: Path, way: Way) -> dict[str, Any]:
    """Decode in this process: the digest of the pixels, and of the first 2,000 images alone."""
    from threadpoolctl import threadpool_info  # noqa: PLC0415

    begun, whole, first, done = time.perf_counter(), hashlib.sha256(), hashlib.sha256(), 0
    for pixels in MAKERS.get(way.decoder, by_decoder)(path, way):
        whole.update(pixels.tobytes())
        first.update(pixels[: max(0, LONG_DOUBLE_IMAGES - done)].tobytes())
        done += len(pixels)
    blas = [info.get("architecture") for info in threadpool_info() if info["internal_api"] == "openblas"]
    return {
        "images": done,
        "sha256": whole.hexdigest(),
        "sha256_first": first.hexdigest(),
        "kernel": blas[0] if blas else None,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def run(name: str, path: Path, way: Any) -> dict[str, Any]:
    """Decode in a fresh process of a check, by one of its ways, which has a title and variables of the environment."""
    command = fresh_command(name, path, "--way", json.dumps(asdict(way)))
    done = subprocess.run(command, env=fresh_environment(way.variables), capture_output=True, text=True, check=False)
    if done.returncode == -4:
        return {"impossible": "this processor lacks instructions of the kernel"}
    if done.returncode:
        sys.exit(f"{way.title}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stored_digest(path: Path) -> str | None:
    """The SHA-256 of all pixels that the archive itself states."""
    from smalti.archive.read.reader import open_archive  # noqa: PLC0415

    with open_archive(path) as archive:
        return archive.verify("pixels").stored_sha256


def compare(path: Path) -> dict[str, Any]:
    """Go every way; what each gave, and whether all gave the same."""
    import torch  # noqa: PLC0415 (only what a way uses is imported)

    digest, rows, reference = stored_digest(path), [], None
    for way in ways():
        found = run(NAME, path, way)
        reference = reference or found
        wanted = reference["sha256_first"] if way.images else digest
        found["same"] = None if "impossible" in found else found["sha256_first" if way.images else "sha256"] == wanted
        rows.append({"way": way.title, **{k: v for k, v in found.items() if k != "sha256_first"}})
        print(_row(rows[-1]), file=sys.stderr, flush=True)
    return {
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "images": reference["images"] if reference else 0,
        "stored_sha256": digest,
        "same": all(row["same"] is not False for row in rows),
        "ways": rows,
    }


def _row(row: dict[str, Any]) -> str:
    if row["same"] is None:
        return f"| {row['way']} | | not possible: {row['impossible']} |"
    verdict = "the same" if row["same"] else "**DIFFERENT**"
    return f"| {row['way']} | {row['kernel'] or ''} | {verdict}: `{row['sha256'][:16]}` |"


def table(result: dict[str, Any], machine: str, versions: dict[str, str]) -> str:
    """Return the result as Markdown."""
    made_with = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"{result['images']:,} images; {machine}; {made_with}.",
        f"SHA-256 of the pixels, as stored in the archive: `{result['stored_sha256']}`.",
        "",
        "| decoded by | kernel that NumPy's BLAS ran | SHA-256 of the pixels |",
        "|---|---|---|",
        *[_row(row) for row in result["ways"]],
    ]
    return "\n".join(lines)


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("archive", type=Path)
    parser.add_argument("--page", action="store_true", help="write the table into docs/exactness.md")
    parser.add_argument("--way", help=argparse.SUPPRESS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Decode all ways; or be the process of one."""
    if arguments.way:
        print(json.dumps(decode(arguments.archive, Way(**json.loads(arguments.way)))))
        sys.exit()
    result = compare(arguments.archive)
    if arguments.page:
        text = table(result, harness.machine(), harness.versions())
        harness.write_between_marks(PAGE, NAME, text)
    return Findings(result, result["same"])


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
