"""Files of other programs through the command line: compressed, tested against themselves, skipped with code 3."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image

from helpers.command_line import Smalti
from helpers.web_server import served
from inputs.case import Made, Pixels, group
from inputs.making import png, tiff, write
from inputs.tables import datasets
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive

COUNT = 8
NAMES = [f"{number}.png" for number in range(COUNT)]
LABELS = [7, 2, 1, 0, 4, 1, 4, 9]
CLASSES = [f"digit {label}" for label in range(10)]


def _write_all(root: Path, digits: Pixels) -> None:
    for name, digit in zip(NAMES, digits, strict=True):
        write(root / name, png(digit))


def class_folders(root: Path, digits: Pixels) -> Made:
    order = sorted(range(COUNT), key=lambda number: (LABELS[number], number))
    names = [f"{LABELS[number]}/{NAMES[number]}" for number in order]
    for name, number in zip(names, order, strict=True):
        write(root / name, png(digits[number]))
    write(root / "7/cut.png", png(digits[0])[:100])
    write(root / "7/notes.txt", b"These are notes.\n")
    present = sorted(set(LABELS))
    known = {"labels": [present.index(LABELS[number]) for number in order], "class_names": [str(n) for n in present]}
    return Made(root, [group(digits[order], names=names, **known)], {"7/cut.png": "damaged", "7/notes.txt": "suffix"})


def metadata(root: Path, digits: Pixels) -> Made:
    _write_all(root, digits)
    rows = {"file_name": NAMES, "label": LABELS, "age": [*range(30, 30 + COUNT - 1), None], "site": list("abcdabcd")}
    pd.DataFrame(rows).astype({"age": "Int64"}).to_csv(root / "metadata.csv", index=False)
    fields = {name: rows[name] for name in ("age", "site")}
    return Made(root, [group(digits, names=NAMES, labels=LABELS, fields=fields)])


def tiff_files(root: Path, digits: Pixels) -> Made:
    for number, digit in enumerate(digits):
        stored = 255 - digit if number % 2 else digit
        kind = "miniswhite" if number % 2 else "minisblack"
        write(root / f"{number}.tif", tiff(stored, photometric=kind, compression="lzw"))
    fields = {"source_mode": [None, "L;I"] * (COUNT // 2)}
    return Made(root, [group(digits, names=[f"{number}.tif" for number in range(COUNT)], fields=fields)])


def idx(root: Path, digits: Pixels) -> Made:
    images = write(
        root / "t-images-idx3-ubyte", b"\0\0\x08\x03" + np.array(digits.shape, ">u4").tobytes() + digits.tobytes()
    )
    labels = write(root / "t-labels-idx1-ubyte", b"\0\0\x08\x01" + np.array([COUNT], ">u4").tobytes() + bytes(LABELS))
    subprocess.run(["gzip", images, labels], check=True)
    return Made(root / "t-images-idx3-ubyte.gz", [group(digits, labels=LABELS)])


def npy(root: Path, digits: Pixels) -> Made:
    np.save(root / "a.npy", digits)
    return Made(root / "a.npy", [group(digits)])


def medmnist(root: Path, digits: Pixels) -> Made:
    parts = {"train": slice(0, 5), "val": slice(5, 6), "test": slice(6, COUNT)}
    images = {f"{split}_images": digits[part] for split, part in parts.items()}
    labels = {f"{split}_labels": np.array(LABELS, np.uint8)[part, None] for split, part in parts.items()}
    np.savez(root / "a.npz", **images, **labels)
    fields = {"split": ["train"] * 5 + ["val"] + ["test"] * 2}
    return Made(root / "a.npz", [group(digits, labels=LABELS, fields=fields)])


def packed_folder(root: Path, digits: Pixels) -> Made:
    _write_all(root / "photos", digits)
    (root / "photos" / "link.png").symlink_to("/etc/passwd")
    subprocess.run(["tar", "--sort=name", "-C", root / "photos", "-czf", root / "a.tar.gz", "."], check=True)
    return Made(root / "a.tar.gz", [group(digits, names=NAMES)], {"link.png": "a link"})


def shards(root: Path, digits: Pixels) -> Made:
    from webdataset import ShardWriter  # noqa: PLC0415 (slow to import)

    with ShardWriter(str(root / "s-%03d.tar"), maxcount=5, verbose=0) as writer:
        for number, digit in enumerate(digits):
            writer.write({"__key__": str(number), "png": digit, "cls": LABELS[number], "json": {"n": number / 2}})
    fields = {"n": [number / 2 for number in range(COUNT)]}
    return Made(f"{root}/s-{{000..001}}.tar", [group(digits, names=NAMES, labels=LABELS, fields=fields)])


def _dataset(digits: Pixels) -> "datasets.Dataset":
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    columns = {"image": [Image.fromarray(digit) for digit in digits], "label": LABELS}
    return datasets.Dataset.from_dict(columns, features=features)


def parquet(root: Path, digits: Pixels) -> Made:
    _dataset(digits).to_parquet(root / "a.parquet")
    return Made(root / "a.parquet", [group(digits, labels=LABELS, class_names=CLASSES)])


def saved_dataset(root: Path, digits: Pixels) -> Made:
    _dataset(digits).save_to_disk(root / "set")
    return Made(root / "set", [group(digits, labels=LABELS, class_names=CLASSES)])


def hdf5(root: Path, digits: Pixels) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file.create_dataset("images", data=digits, chunks=(3, 28, 28), compression="gzip")
        file["labels"], file["names"] = LABELS, NAMES
    return Made(root / "a.h5", [group(digits, names=NAMES, labels=LABELS)])


def zarr_store(root: Path, digits: Pixels) -> Made:
    store = zarr.open_group(root / "a.zarr", mode="w", zarr_format=3)
    store.create_array("images", data=digits, chunks=(3, 28, 28))
    store.create_array("labels", data=np.array(LABELS))
    return Made(root / "a.zarr", [group(digits, labels=LABELS)])


@contextmanager
def http(root: Path, digits: Pixels) -> Iterator[Made]:
    made = npy(root, digits)
    with served(root) as address:
        yield Made(f"{address}a.npy", made.groups)


@contextmanager
def memory(root: Path, digits: Pixels) -> Iterator[Made]:
    files = fsspec.filesystem("memory")
    for name, digit in zip(NAMES, digits, strict=True):
        files.pipe(f"/commands/{name}", png(digit))
    files.pipe("/commands/empty.png", b"")
    try:
        yield Made("memory://commands", [group(digits, names=NAMES)], {"empty.png": "empty file"})
    finally:
        files.rm("/commands", recursive=True)


Maker = Callable[[Path, Pixels], Any]
MAKERS: list[Maker] = [
    class_folders,
    metadata,
    tiff_files,
    idx,
    npy,
    medmnist,
    packed_folder,
    shards,
    parquet,
    saved_dataset,
    hdf5,
    zarr_store,
    http,
    memory,
]


@contextmanager
def made_by(maker: Maker, root: Path, digits: Pixels) -> Iterator[Made]:
    root.mkdir()
    made = maker(root, digits)
    if isinstance(made, Made):
        yield made
    else:
        with made as running:
            yield running


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_sources_are_compressed_and_tested_against(
    maker: Maker,
    smalti: Smalti,
    model_path: Path,
    digits: Any,
    tmp_path: Path,
) -> None:
    out = tmp_path / "a.smalti"
    with made_by(maker, tmp_path / "in", digits.images[:COUNT]) as made:
        code = 3 if made.skipped else 0
        expected = made.groups[0]
        if made.skipped:
            line = smalti.fails(1, "compress", made.spec, "--model", model_path, "-o", out, "--strict")
            assert any(name in line for name in made.skipped) and not out.exists()
        ran = smalti("compress", made.spec, "--model", model_path, "-o", out, "--json", "--threads", 1)
        assert (ran.code, ran.json["images"]) == (code, COUNT), ran
        assert {file["name"] for file in ran.json["skipped"]} == made.skipped.keys()
        tested = smalti("test", out, "--against", made.spec, "--json", "--threads", 1)
    with open_archive(out) as archive:
        assert archive.labels is None if expected.labels is None else archive.labels.tolist() == expected.labels
        assert archive.names == (None if expected.names is None else tuple(expected.names))
        assert archive.class_names == (None if expected.class_names is None else tuple(expected.class_names))
        assert {name: list(values) for name, values in archive.fields.items()} == expected.fields
        errors = (archive[:].astype(float) - expected.pixels[..., 0]) / 255
    assert tested.code == code, tested
    assert tested.json["mse_mean"] == pytest.approx((errors**2).mean(), rel=1e-9)
    assert tested.json["labels_equal"] is (None if expected.labels is None else True)
    assert tested.json["names_equal"] is (None if expected.names is None else True)


def test_images_of_two_sizes_and_a_damaged_one(
    smalti: Smalti,
    model_path: Path,
    digits: Any,
    tmp_path: Path,
) -> None:
    images = [digit[2:26, 4:24] if number % 2 else digit for number, digit in enumerate(digits.images[:COUNT])]
    for name, image in zip(NAMES, images, strict=True):
        write(tmp_path / "in" / name, png(image))
    write(tmp_path / "in" / "cut.png", png(images[0])[:100])
    out = tmp_path / "a.smalti"
    refused = smalti.fails(1, "compress", tmp_path / "in", "--model", model_path, "-o", out, "--strict", "-q")
    assert "cut.png" in refused and not out.exists()
    assert smalti("compress", tmp_path / "in", "--model", model_path, "-o", out, "--threads", 1).code == 3
    tested = smalti("test", out, "--against", tmp_path / "in", "--json", "--threads", 1)
    assert tested.code == 3 and tested.json["names_equal"] is True
    with open_images(out) as collection:
        found = dict(zip(collection.names, collection.images(slice(None)), strict=True))
    squares = [((found[name] / 255 - image / 255) ** 2).mean() for name, image in zip(NAMES, images, strict=True)]
    assert tested.json["mse_max"] == pytest.approx(max(squares), rel=1e-9)


def test_sixteen_bits_are_compressed_within_an_error_bound(
    smalti: Smalti,
    digits: Any,
    tmp_path: Path,
) -> None:
    images = digits.images[:COUNT].astype(np.uint16) * 257
    for name, image in zip(NAMES, images, strict=True):
        write(tmp_path / "in" / name, png(image))
    write(tmp_path / "in" / "empty.png", b"")
    fit = ["-k", 4, "--epochs", 1, "--seed", 5, "--max-mse", 1e-5, "--threads", 1]
    out = tmp_path / "a.smalti"
    assert "empty.png" in smalti.fails(1, "compress", tmp_path / "in", *fit, "-o", out, "--strict")
    assert smalti("compress", tmp_path / "in", *fit, "-o", out).code == 3
    with open_archive(out) as archive:
        assert archive.dtype == np.uint16 and archive.names == tuple(NAMES)
        errors = (archive[:].astype(float) - images) / 65535
    assert (errors**2).mean(axis=(1, 2)).max() <= 1e-5
    tested = smalti("test", out, "--against", tmp_path / "in", "--json")
    assert tested.code == 3 and tested.json["mse_max"] == pytest.approx((errors**2).mean(axis=(1, 2)).max(), rel=1e-9)


def test_a_model_of_8_bits_takes_no_images_of_16(
    smalti: Smalti,
    model_path: Path,
    digits: Any,
    tmp_path: Path,
) -> None:
    write(tmp_path / "in" / "a.png", png(digits.images[0].astype(np.uint16) * 257))
    line = smalti.fails(1, "compress", tmp_path / "in", "--model", model_path, "-o", tmp_path / "a.smalti")
    assert "uint16, not uint8" in line and not (tmp_path / "a.smalti").exists()
