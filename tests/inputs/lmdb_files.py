"""Cases of LMDB."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmdb

from helpers.protobuf_messages import message
from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, pillow, png
from inputs.shards import pictures

_DATUM_FIELDS = {
    "channels": (1, "int32"),
    "height": (2, "int32"),
    "width": (3, "int32"),
    "data": (4, "bytes"),
    "label": (5, "int32"),
    "float_data": (6, "float[]"),
    "encoded": (7, "bool"),
}


def datum(pixels: Pixels, label: int | None = None) -> bytes:
    """Return Caffe's Datum of pixels [H, W, C], red first, as its `convert_imageset` stores them."""
    height, width, channels = pixels.shape
    planes = pixels[..., ::-1].transpose(2, 0, 1).tobytes()
    values = {} if label is None else {"label": label}
    made = message("Datum", _DATUM_FIELDS)(channels=channels, height=height, width=width, data=planes, **values)
    return bytes(made.SerializeToString())


def write_lmdb(path: Path, rows: Mapping[bytes, bytes], **options: object) -> Path:
    with lmdb.open(str(path), **options) as environment, environment.begin(write=True) as transaction:
        for key, value in rows.items():
            transaction.put(key, value)
    return path


def cases() -> list[Case]:
    caffe, plain = "lmdb, protobuf", "lmdb"
    return [
        Case("LMDB: Caffe's Datum in colour", caffe, lambda root: _caffe(root, pictures())),
        Case("LMDB: Caffe's Datum in grey, a negative label", caffe, lambda root: _caffe(root, _wide_greys(), -1)),
        Case("LMDB: Caffe's Datum of an image file", caffe, _encoded_datum),
        Case("LMDB: Datum of floats, of four channels; a pickle", caffe, _unread_datum),
        Case("LMDB: image files as values, as LSUN has them", plain, _lsun),
        Case("LMDB: values of many pages, in a file without a folder", plain, _large_values),
        Case("LMDB: a set for reading text", plain, _texts),
        Case("LMDB without entries", plain, lambda root: Made(write_lmdb(root / "a", {}), error="no files")),
        Case("LMDB of named tables", plain, _named_tables),
        Case("LMDB cut off", plain, _cut_lmdb),
    ]


def _wide_greys() -> list[Pixels]:
    return [noise(6, 7, 1, seed=seed) for seed in range(3)]


def _caffe(root: Path, images: Sequence[Pixels], first_label: int = 5) -> Made:
    rows = {b"%08d" % (7 * n): datum(pixels, first_label + n) for n, pixels in enumerate(images)}
    labels = [first_label + n for n in range(len(images))]
    expected = group(images, labels=labels, names=["00000000", "00000007", "00000014"])
    return Made(write_lmdb(root / "train_lmdb", rows), [expected])


def _encoded_datum(root: Path) -> Made:
    made = message("Datum", _DATUM_FIELDS)
    rows = {b"a.png": made(data=png(pictures()[0]), label=3, encoded=True, channels=3).SerializeToString()}
    return Made(write_lmdb(root / "a", rows), [group(pictures(1), labels=[3], names=["a.png"])])


def _unread_datum(root: Path) -> Made:
    made = message("Datum", _DATUM_FIELDS)
    rows = {
        b"floats": made(channels=1, height=1, width=2, float_data=[0.5, 1]).SerializeToString(),
        b"four": made(channels=4, height=2, width=2, data=bytes(16)).SerializeToString(),
        b"grey": datum(noise(4, 5, 1)),
        b"pickle": pickle.dumps((b"image", 1)),
    }
    skipped = {"floats": "a Datum of floats", "four": "4 channels", "pickle": "no image file and no Datum"}
    return Made(write_lmdb(root / "a", rows), [group([noise(4, 5)], names=["grey"])], skipped)


def _lsun(root: Path) -> Made:
    pixels = pictures()
    rows = {key: pillow(image, "webp", lossless=True) for key, image in zip([b"b", b"a", b"\xff"], pixels, strict=True)}
    order = [pixels[1], pixels[0], pixels[2]]
    return Made(write_lmdb(root / "a.lmdb", rows), [group(order, fields={"name": ["a", "b", None]})])


def _large_values(root: Path) -> Made:
    images = [noise(70, 80, 3, seed=seed) for seed in range(40)]
    rows = {b"%03d.png" % n: png(image) for n, image in enumerate(images)}
    path = write_lmdb(root / "a.lmdb", rows, subdir=False, map_size=1 << 24)
    return Made(path, [group(images, names=[f"{n:03}.png" for n in range(40)])])


def _texts(root: Path) -> Made:
    rows = {b"num-samples": b"3"}
    for number, (pixels, text) in enumerate(zip(pictures(), ["A1", "é", "-"], strict=True), 1):
        rows |= {b"image-%09d" % number: png(pixels), b"label-%09d" % number: text.encode()}
    names = [f"image-{number:09}" for number in (1, 2, 3)]
    return Made(write_lmdb(root / "a", rows), [group(pictures(), names=names, fields={"text": ["A1", "é", "-"]})])


def _named_tables(root: Path) -> Made:
    with lmdb.open(str(root / "a"), max_dbs=1) as environment:
        table = environment.open_db(b"images")
        with environment.begin(write=True, db=table) as transaction:
            transaction.put(b"a", png(noise(4, 5)))
    return Made(root / "a", error="named tables")


def _cut_lmdb(root: Path) -> Made:
    made = _caffe(root, pictures())
    data = root / "train_lmdb" / "data.mdb"
    data.write_bytes(data.read_bytes()[:-1])
    return Made(made.spec, error="is cut off")
