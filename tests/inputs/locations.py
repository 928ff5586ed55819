"""Cases of smalti's own archives, and of sources behind URLs."""

import gzip
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from conformance.readers import read_archive
from helpers.web_server import RangeHandler, served
from inputs.case import Case, Group, Made, group
from inputs.making import noise, png, wide, write
from inputs.zipping import pack_zip
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.read.reader import open_archive

_GOLDEN = Path(__file__).parents[2] / "conformance" / "golden"
_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def cases() -> list[Case]:
    return [
        Case("another archive", "smalti; read by `conformance/readers`", _archive),
        Case("a collection of two shapes", "the same", _collection),
        Case("an archive, cut in half", "the same", _cut_archive),
        Case("`http://host/a.npy`, server with ranges", "NumPy", _http_npy),
        Case("`http://host/photos/`, a listing", "Pillow", _http_folder),
        Case(
            "`http://host/a.npy` of 210 samples, server without ranges",
            "NumPy",
            lambda root: _whole(root, 5, _NoRanges),
        ),
        Case(
            "`http://host/a.npy` of 5 MB, server without ranges", "NumPy", lambda root: _whole(root, 125_000, _NoRanges)
        ),
        Case(
            "`http://host/a.npy` of 5 MB, server that packs what it sends",
            "NumPy",
            lambda root: _whole(root, 125_000, _Packing),
        ),
        Case("`http://host/none.npy`", "", _http_none),
        Case("`s3://bucket/a.npy`", "NumPy; moto's S3 server", _s3_npy),
        Case("`s3://bucket/photos`", "Pillow; moto's S3 server", _s3_folder),
        Case("`s3://bucket/a.h5::images`", "h5py; moto's S3 server", _s3_hdf5),
        Case("`memory://inputs/photos`", "Pillow; fsspec", _memory),
        Case("`zip://a.npy::file://...`", "NumPy, GNU zip", _in_a_zip),
    ]


def _golden(kind: str) -> tuple[Path, Group]:
    path = _GOLDEN / f"format-1-{kind}.smalti"
    read = read_archive(path.read_bytes())
    classes = None if read.class_names is None else tuple(read.class_names)
    labels = None if read.labels is None else read.labels.tolist()
    return path, Group(read.pixels, labels, names=read.names, class_names=classes)


def _archive(root: Path) -> Made:
    path, expected = _golden("named")
    shutil.copy(path, root / "a.smalti")
    return Made(root / "a.smalti", [expected])


def _collection(root: Path) -> Made:
    parts = [_golden(kind) for kind in ("plain", "corrected")]
    write_collection(root / "a.smalti", [partial(open_archive, path) for path, _ in parts])
    return Made(root / "a.smalti", [expected for _, expected in parts])


def _cut_archive(root: Path) -> Made:
    data = _golden("plain")[0].read_bytes()
    return Made(write(root / "a.smalti", data[: len(data) // 2]), error="the file ends at byte")


class _NoRanges(RangeHandler):
    """Serves whole files with their lengths, and no ranges, as most servers do."""

    def send_head(self):  # type: ignore[no-untyped-def]
        del self.headers["Range"]
        return super().send_head()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Accept-Ranges":
            super().send_header(keyword, value)


class _Packing(_NoRanges):
    """Serves whole files, compressed by gzip if the client accepts that."""

    def send_head(self):  # type: ignore[no-untyped-def]
        path = Path(self.translate_path(self.path))
        if not path.is_file() or "gzip" not in self.headers.get("Accept-Encoding", ""):
            return super().send_head()
        packed = gzip.compress(path.read_bytes())
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        return io.BytesIO(packed)


@contextmanager
def _http_npy(root: Path) -> Iterator[Made]:
    np.save(root / "a.npy", wide(5, 6, 7))
    np.save(root / "a.labels.npy", np.arange(5))
    with served(root) as address:
        yield Made(f"{address}a.npy", [group(wide(5, 6, 7), labels=[0, 1, 2, 3, 4])])


@contextmanager
def _http_folder(root: Path) -> Iterator[Made]:
    for seed, name in enumerate(("cat/1.png", "dog/1.png")):
        write(root / "photos" / name, png(noise(4, 5, seed=seed)))
    images = [noise(4, 5, seed=seed) for seed in range(2)]
    known = {"names": ["cat/1.png", "dog/1.png"], "labels": [0, 1], "class_names": ["cat", "dog"]}
    with served(root) as address:
        yield Made(f"{address}photos/", [group(images, **known)])


@contextmanager
def _whole(root: Path, images: int, handler: type[RangeHandler]) -> Iterator[Made]:
    pixels = (np.arange(images * 42) % 251).astype(np.uint8).reshape(images, 6, 7)  # which packs well
    np.save(root / "a.npy", pixels)
    with served(root, handler) as address:
        refused = pixels.nbytes > 4 << 20
        yield Made(f"{address}a.npy", [] if refused else [group(pixels)], error="ranges" if refused else None)


@contextmanager
def _http_none(root: Path) -> Iterator[Made]:
    with served(root) as address:
        yield Made(f"{address}none.npy", error="no such file")


@contextmanager
def _bucket(root: Path, bucket: str) -> Iterator[str]:
    """Put the files of `root` into a bucket of an S3 server; buckets live as long as the process."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (slow to import)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**_KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(key, value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir(bucket)
        files.put(f"{root}/", f"{bucket}/", recursive=True)
        try:
            yield f"s3://{bucket}"
        finally:
            fsspec.filesystem("s3").clear_instance_cache()
            server.stop()


@contextmanager
def _s3_npy(root: Path) -> Iterator[Made]:
    np.save(root / "a.npy", wide(5, 6, 7))
    with _bucket(root, "of-npy") as bucket:
        yield Made(f"{bucket}/a.npy", [group(wide(5, 6, 7))])


@contextmanager
def _s3_folder(root: Path) -> Iterator[Made]:
    for seed, name in enumerate(("a.png", "b.png")):
        write(root / "photos" / name, png(noise(4, 5, seed=seed)))
    write(root / "photos" / "metadata.csv", b"file_name,n\nb.png,1\na.png,2\n")
    images = [noise(4, 5, seed=seed) for seed in (1, 0)]
    with _bucket(root, "of-folder") as bucket:
        yield Made(f"{bucket}/photos", [group(images, names=["b.png", "a.png"], fields={"n": [1, 2]})])


@contextmanager
def _s3_hdf5(root: Path) -> Iterator[Made]:
    with h5py.File(root / "a.h5", "w") as file:
        file["images"], file["more"] = noise(5, 6, 7), noise(5, 6, 7, seed=1)
    with _bucket(root, "of-hdf5") as bucket:
        yield Made(f"{bucket}/a.h5::images", [group(noise(5, 6, 7))])


@contextmanager
def _memory(root: Path) -> Iterator[Made]:
    files = fsspec.filesystem("memory")
    for seed, name in enumerate(("a.png", "b.png")):
        files.pipe(f"/inputs/photos/{name}", png(noise(4, 5, seed=seed)))
    try:
        images = [noise(4, 5, seed=seed) for seed in range(2)]
        yield Made("memory://inputs/photos", [group(images, names=["a.png", "b.png"])])
    finally:
        files.rm("/inputs", recursive=True)


def _in_a_zip(root: Path) -> Made:
    np.save(root / "a.npy", wide(5, 6, 7))
    pack_zip(root / "a.zip", root, ["a.npy"])
    return Made(f"zip://a.npy::file://{root}/a.zip", [group(wide(5, 6, 7))])
