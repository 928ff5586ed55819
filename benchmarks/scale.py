"""Measure what docs/scale.md reckons with: seconds and memory of a worker, bytes of plan and manifest, requests.

    python -m benchmarks.scale -o results/scale.json [--images 5000] [--members 10000]

CPU seconds, not those of the clock, so that other programs on the machine hardly matter. Linux; needs smalti[train]
and, for the requests, smalti[remote,parquet]; the web server is that of the tests.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import smalti
from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import in_fresh_process, peak_mb, resident_mb
from benchmarks.timing import png_bytes
from smalti.archive.collection.directory import Listed, MemberFacts, pack_manifest
from smalti.codec.bulk.engines import make_here
from smalti.codec.bulk.plan import group_of, make_plan, read_plan, write_plan
from smalti.codec.bulk.running import Task, run_plan
from smalti.codec.fit import fit_source
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.entry_range import Entries, listing_sha256
from smalti.sources.open import open_source
from smalti.training.kinds import load_model
from smalti.training.paper.settings import FitSettings, QuantizerSettings

NAME = "benchmarks.scale"
FIT_IMAGES = 2_000


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--worker", type=Path, help="measure a process that makes the shards of this plan")
    parser.add_argument("--reader", type=Path, help="measure a process that opens this manifest")


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure all; or be the process of a part."""
    if arguments.worker or arguments.reader:
        print(json.dumps(of_worker(arguments.worker) if arguments.worker else of_reader(arguments.reader)))
        sys.exit()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = pixels(arguments.images)
        larger = np.stack(
            [np.asarray(Image.fromarray(one).resize((64, 64))) for one in digits[: arguments.images // 5]]
        )
        figures: dict[str, Any] = {
            "worker, 28x28": worker_on(folder, "digits", digits),
            "worker, 64x64 (digits made larger)": worker_on(folder, "larger", larger),
            "plan": of_plan(folder, folder / "digits.smalti-model"),
            "manifest": of_manifest(folder, arguments.members),
            "listing": of_listing(folder, digits),
            "requests of a shard": of_requests(folder, digits[:2000]),
        }
    return Findings(figures)


def pixels(count: int) -> np.ndarray:
    """Digits uint8 [count, 28, 28]."""
    batches = open_source("mnist/train").batches(count, 0, count)
    return np.concatenate([batch.pixels for batch in batches])[..., 0]


def worker_on(folder: Path, name: str, images: np.ndarray) -> dict[str, Any]:
    """Fit a model quickly, plan two shards, and have a process make them."""
    np.save(folder / f"{name}.npy", images)
    quantizer = QuantizerSettings(codebook_size=128, update="ema", start="kmeans", restart=True)
    settings = FitSettings(quantizer=quantizer, epochs=1)
    some = ArraySource(images[: FIT_IMAGES * 28 * 28 // images[0].size], description="sample")
    model = folder / f"{name}.smalti-model"
    fit_source(some, settings).save(model)
    plan = make_plan(str(folder / f"{name}.npy"), model, folder / name, -(-len(images) // 2))
    write_plan(plan, folder / f"{name}.plan")
    measured = in_fresh_process(NAME, "--worker", folder / f"{name}.plan")
    with smalti.open(folder / name / "shard-00000.smalti") as archive:
        info = archive.info()
    return measured | {
        "model_file_bytes": model.stat().st_size,
        "bytes_of_a_shard_besides_images": info.bytes.model + info.bytes.prior + info.bytes.header + info.bytes.index,
        "token_bytes_per_image": round(info.bytes.tokens / info.images, 3),
        "record_bytes": (folder / name / "shard-00000.json").stat().st_size,
    }


def of_worker(path: Path) -> dict[str, Any]:
    """CPU seconds and memory of this process: the imports, the model, then its two shards."""
    imported, memory = time.process_time(), resident_mb()
    start = time.process_time()
    load_model(Path(read_plan(path).model))
    loaded = time.process_time() - start
    run_plan(path, engine=make_here, task=Task(0, 2))  # the first one warms up, and loads the model once more
    start = time.process_time()
    report = run_plan(path, engine=make_here, task=Task(1, 2))
    spent = time.process_time() - start - loaded
    return {
        "import_cpu_seconds": round(imported, 2),
        "memory_after_import_mb": memory,
        "model_load_cpu_seconds": round(loaded, 3),
        "images": report.images,
        "cpu_seconds_per_million_images": round(1e6 * spent / report.images),
        "peak_memory_mb": peak_mb(),
    }


def of_plan(folder: Path, model: Path) -> dict[str, Any]:
    """Bytes of a plan of 10,000 shards."""
    start = time.process_time()
    plan = make_plan("mnist", model, folder / "many", 7)
    planned = time.process_time() - start
    data = plan.to_bytes()
    start = time.process_time()
    type(plan).from_bytes(data)
    read = time.process_time() - start
    return {
        "shards": len(plan.shards),
        "bytes": len(data),
        "bytes_per_shard": round(len(data) / len(plan.shards), 1),
        "planning_cpu_seconds": round(planned, 3),
        "reading_cpu_seconds": round(read, 3),
    }


def of_manifest(folder: Path, members: int) -> dict[str, Any]:
    """A manifest of links to one shard: it is as long, and as slow to read, as one of different ones."""
    shard = folder / "digits" / "shard-00000.smalti"
    with smalti.open(shard) as archive:
        facts = MemberFacts(len(archive), archive.image_shape, str(archive.dtype))
    where = folder / "members"
    where.mkdir()
    listed = []
    for number in range(members):
        os.link(shard, where / f"shard-{number:05}.smalti")
        listed.append(Listed(f"shard-{number:05}.smalti", shard.stat().st_size, facts))
    (where / "manifest.smalti-manifest").write_bytes(pack_manifest(listed))
    measured = in_fresh_process(NAME, "--reader", where / "manifest.smalti-manifest")
    size = (where / "manifest.smalti-manifest").stat().st_size
    return {"members": members, "bytes": size, "bytes_per_member": round(size / members, 1), **measured}


def of_reader(path: Path) -> dict[str, Any]:
    """CPU seconds and memory of opening a manifest and of images from a hundred members."""
    before, start = resident_mb(), time.process_time()
    with smalti.open(path) as images:
        opened, memory = time.process_time() - start, resident_mb()
        start = time.process_time()
        images[0]
        first = time.process_time() - start
        start = time.process_time()
        images[np.linspace(1, len(images) - 1, 100).astype(int)]
        hundred = time.process_time() - start
        return {
            "images": len(images),
            "open_cpu_seconds": round(opened, 3),
            "open_memory_mb": round(memory - before, 1),
            "first_image_cpu_seconds": round(first, 3),
            "hundred_images_of_hundred_members_cpu_seconds": round(hundred, 3),
            "memory_mb": resident_mb(),
        }


def of_listing(folder: Path, images: np.ndarray) -> dict[str, Any]:
    """CPU seconds of opening files to plan: a folder, and the same files in a TAR file."""
    photos = folder / "photos"
    photos.mkdir()
    for number, data in enumerate(png_bytes(images)):
        (photos / f"{number:06}.png").write_bytes(data)
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(photos, ".")
    group = group_of(load_model(folder / "digits.smalti-model"))
    measured: dict[str, Any] = {"files": len(images)}
    for name, place in (("folder", photos), ("tar", folder / "photos.tar")):
        start = time.process_time()
        entries = Entries(str(place), group=group)
        opened = time.process_time() - start
        listing_sha256(str(place))
        listed = time.process_time() - start - opened
        source, _ = entries.entry_range(0, len(images))
        surveyed = time.process_time() - start - opened - listed
        assert source is not None
        read = sum(len(batch) for batch in source.batches(1024))
        decoded = time.process_time() - start - opened - listed - surveyed
        per_million = [round(1e6 * seconds / read) for seconds in (opened, listed, surveyed, decoded)]
        measured[f"{name}: cpu seconds per million files"] = dict(
            zip(("open", "names and sizes", "headers", "read and decode"), per_million, strict=True)
        )
    return measured


def of_requests(folder: Path, images: np.ndarray) -> dict[str, Any]:
    """Requests of a worker for a shard of one TAR file, and of a quarter of a Parquet file."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.web_server import Served, serve  # noqa: PLC0415

    packed, rows = io.BytesIO(), []
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number, data in enumerate(png_bytes(np.tile(images, (10, 1, 1)))):
            head = tarfile.TarInfo(f"{number:06}.png")
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))
            rows.append({"image": {"bytes": data, "path": None}, "label": 1})
    table = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows), table, row_group_size=len(rows) // 4, use_dictionary=False, compression="none"
    )
    served = Served({"a.tar": packed.getvalue(), "a.parquet": table.getvalue()})
    stop, measured = serve(served), {}
    for name, part in (("a.tar", 1), ("a.parquet", 1), ("a.parquet", 4)):
        where = folder / f"{name}.{part}"
        where.mkdir()
        plan = make_plan(f"{served.url}{name}", folder / "digits.smalti-model", where / "out", len(rows) // part)
        write_plan(plan, where / "plan")
        served.asked.clear()
        report = run_plan(where / "plan", engine=make_here, task=Task(0, part))
        assert report.done == 1, report
        measured[f"{'all' if part == 1 else 'a quarter'} of {name}"] = {
            "images": report.images,
            "file_bytes": len(served.files[name]),
            "requests": len(served.asked),
            "bytes_sent": served.bytes_sent,
        }
    stop()
    return measured


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
