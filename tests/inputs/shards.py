"""Cases of shards. Those of large programs are in `tests/data/shards`, written by its `make.py`."""

import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import imagecodecs
import lmdb
import numpy as np

from helpers.protobuf_messages import message
from inputs.case import Case, Group, Made, Pixels, group
from inputs.making import noise, pillow, plain_rgb, png, wide

_DATA = Path(__file__).parents[1] / "data" / "shards"
_MDS, _LITDATA, _TFRECORD, _TENSORFLOW, _MXNET = "mosaicml-streaming", "litdata", "tfrecord", "tensorflow", "mxnet"


def cases() -> list[Case]:
    return [*_mds_cases(), *_litdata_cases(), *_tfrecord_cases(), *_recordio_cases(), *_lmdb_cases()]


def pictures(count: int = 3) -> list[Pixels]:
    return [noise(4, 5, 3, seed=seed) for seed in range(count)]


def _copied(root: Path, name: str) -> Path:
    """Copy committed shards, so that messages name no folder of this project."""
    source, copy = _DATA / name, root / Path(name).name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copy(source, copy)
    return copy


def _case(what: str, maker: str, name: str, *groups: Group, **outcome: object) -> Case:
    return Case(what, maker, lambda root: Made(_copied(root, name), groups, **outcome))  # type: ignore[arg-type]


def _damaged(what: str, maker: str, name: str, file: str, at: int, words: str) -> Case:
    """Return the case of shards of which one byte is changed, or that end there if `at` is negative."""

    def make(root: Path) -> Made:
        copy = _copied(root, name)
        path = copy / file if file else copy
        data = bytearray(path.read_bytes())
        if at < 0:
            del data[at:]
        else:
            data[at] ^= 1
        path.write_bytes(data)
        return Made(copy, error=words)

    return Case(what, maker, make)


def _photo(folder: str) -> Group:
    return group([imagecodecs.jpeg8_decode((_DATA / folder / "photo.jpg").read_bytes())])


def _greys(dtype: type[np.generic], count: int = 2) -> Sequence[Pixels]:
    kind = np.iinfo(dtype)  # type: ignore[type-var]
    return [np.random.default_rng(seed).integers(0, kind.max + 1, (4, 5), dtype=dtype) for seed in range(count)]


def _mds_cases() -> list[Case]:
    labelled = group(pictures(), labels=[0, 1, 2])
    return [
        _case("MDS: `pil` and `int`, called x and y", _MDS, "mds/pil", group(pictures(), labels=[2, 1, 0])),
        _case("MDS: `pil` of seven modes", _MDS, "mds/modes", *_modes(), skipped={"entry 6": "32-bit samples"}),
        _case(
            "MDS: `pil` of mode P, whose palette the format does not keep",
            _MDS,
            "mds/palette",
            group([noise(4, 5, seed=8) % 16], fields={"source_mode": ["P;indices"]}),
        ),
        _case(
            "MDS: `png`, classes as texts, absolute paths, several shards",
            _MDS,
            "mds/png",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"], names=["0.png", "1.png", "2.png"]),
        ),
        _case("MDS: `png` of 16 bits", _MDS, "mds/deep_png", group([wide(4, 5, seed=9)])),
        _case(
            "MDS: `jpeg`, the bytes of a file",
            _MDS,
            "mds/jpeg",
            Group(_photo("mds").pixels, fields={"split": ["a"]}),
        ),
        _case(
            "MDS: `ndarray` of any shape and dtype: [H, W, C], [H, W], [C, H, W], floats",
            _MDS,
            "mds/arrays",
            group([noise(4, 5, 3, seed=11)]),
            group([noise(6, 5, seed=12)]),
            group([noise(3, 6, 7, seed=13).transpose(1, 2, 0)]),
            skipped={"entry 3": "holds float64"},
        ),
        _case("MDS: `ndarray:uint16`", _MDS, "mds/arrays_16", group(_greys(np.uint16))),
        _case("MDS: `ndarray:int16:4,5`", _MDS, "mds/arrays_int16", group(_greys(np.int16))),
        _case("MDS: all kinds of scalars; bytes and a pickle, left out", _MDS, "mds/scalars", _scalars()),
        _case("MDS: packed by zstd, with SHA-1 and XXH64", _MDS, "mds/packed_zs", labelled),
        _case("MDS: packed by gzip", _MDS, "mds/packed_gz", labelled),
        _case("MDS: packed by bzip2", _MDS, "mds/packed_bz", labelled),
        _case("MDS: packed by Brotli", _MDS, "mds/packed_br", labelled),
        _case("MDS: packed by Snappy", _MDS, "mds/packed_sn", labelled),
        _case(
            "MDS: a folder of two splits",
            _MDS,
            "mds/splits",
            group(pictures(), labels=[0, 1, 2], fields={"split": ["train", "train", "val"]}),
        ),
        _case("MDS without images", _MDS, "mds/no_images", error="no column holds images"),
        _case("MDS with two columns of images", _MDS, "mds/two_images", error="call one of them image"),
        _damaged("MDS with a changed byte and SHA-256", _MDS, "mds/splits", "train/shard.00000.mds", 400, "sha256"),
        _damaged("MDS cut off", _MDS, "mds/pil", "shard.00000.mds", -1, "bytes, not"),
    ]


def _modes() -> list[Group]:
    """Return images of all modes of Pillow that MDS keeps exactly, by shape and dtype."""
    grey = np.stack([noise(4, 5, seed=1), np.where(noise(4, 5, seed=5) > 127, 255, 0).astype(np.uint8)])

    def one(pixels: Pixels, mode: str, source_mode: str | None = None) -> Group:
        return group([pixels], fields={"mode": [mode], "source_mode": [source_mode]})

    return [
        group(grey, fields={"mode": ["L", "1"], "source_mode": [None, "1"]}),
        one(noise(4, 5, 2, seed=2), "LA"),
        one(noise(4, 5, 4, seed=3), "RGBA"),
        one(wide(4, 5, seed=4), "I;16"),
        one(plain_rgb(noise(4, 5, 4, seed=6)), "CMYK", "CMYK"),
    ]


def _scalars() -> Group:
    whole = [f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)]
    fields: dict[str, list[object]] = {name: [5] for name in whole}
    fields |= {f"float{bits}": [5.0] for bits in (16, 32, 64)}
    fields |= {"digits": ["1" + 30 * "0"], "point": [0.1], "price": ["1.20"], "json": ['{"a": [1]}'], "word": ["é"]}
    return group([noise(4, 5)], fields=dict(sorted(fields.items())))


def _litdata_cases() -> list[Case]:
    plain = group(pictures())
    about = {"about.iso": [0.5, 1.5, 2.5], "about.ok": [False, False, True]}
    return [
        _case(
            "LitData: images of Pillow, integers, texts",
            _LITDATA,
            "litdata/pil",
            group(pictures(), labels=[2, 1, 0], names=["a/0", "a/1", "a/2"]),
        ),
        _case("LitData: grey images of Pillow, 16 bits", _LITDATA, "litdata/deep_pil", group(_greys(np.uint16))),
        _case(
            "LitData: pairs of a tensor [C, H, W] and an integer",
            _LITDATA,
            "litdata/tensors",
            group(pictures(), labels=[2, 1, 0]),
        ),
        _case("LitData: tensors uint16 [H, W]", _LITDATA, "litdata/grey_tensors", group(_greys(np.uint16))),
        _case("LitData: tensors int16 [H, W]", _LITDATA, "litdata/signed_tensors", group(_greys(np.int16))),
        _case("LitData: tensors of floats", _LITDATA, "litdata/floats", error="holds float32"),
        _case(
            "LitData: arrays beside nested values and a list; in frames of zstd",
            _LITDATA,
            "litdata/nested_frames",
            group(pictures(), fields=about),
        ),
        _case("LitData: each sample packed by zstd", _LITDATA, "litdata/packed_samples", plain),
        _case("LitData: whole chunks packed by zstd", _LITDATA, "litdata/packed_chunks", plain),
        _case("LitData: arrays alone", _LITDATA, "litdata/bare", plain),
        _case(
            "LitData: bytes of PNG files, classes as texts",
            _LITDATA,
            "litdata/bytes",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"]),
        ),
        _case("LitData: the bytes of a JPEG file", _LITDATA, "litdata/jpeg", _photo("litdata")),
        _case(
            "LitData: a folder of two splits",
            _LITDATA,
            "litdata/splits",
            group(
                [pictures()[2], *pictures(2)],
                labels=[0, 0, 1],
                fields={"split": ["test", "train", "train"]},
            ),
        ),
        _damaged("LitData: a table that goes back", _LITDATA, "litdata/bare", "chunk-0-0.bin", 6, "goes back"),
    ]


def _tfrecord_cases() -> list[Case]:
    known = {"labels": [2, 1, 0], "names": ["0.png", "1.png", "2.png"]}
    fields: dict[str, list[object]] = {"image/height": [4, 4, 4], "weight": [0.0, 0.5, 1.0]}
    sizes = {"depth": [3, 3, 3], "height": [4, 4, 4], "width": [5, 5, 5]}
    raw = group(pictures(), labels=[0, 1, 2], fields=sizes)
    return [
        _case(
            "TFRecord: features of ImageNet; boxes, left out",
            _TFRECORD,
            "tfrecord/encoded.tfrecord",
            group(pictures(), **known, fields=fields),
        ),
        _case(
            "TFRecord: a folder of `train-00000-of-00002`",
            _TFRECORD,
            "tfrecord/shards",
            group(pictures(), **known, fields={**fields, "split": ["train"] * 3}),
        ),
        Case(
            "TFRecord: a folder as TensorFlow Datasets writes it, with splits and names of classes",
            _TFRECORD,
            _tfds,
        ),
        _case("TFRecord: pixels, height, width and depth", _TFRECORD, "tfrecord/raw.tfrecords", raw),
        _case(
            "TFRecord: pixels of two bytes, of no stated type",
            _TFRECORD,
            "tfrecord/raw_16.tfrecord",
            error="only samples of one byte",
        ),
        _case(
            "TFRecord: classes as texts, a record without an image",
            _TFRECORD,
            "tfrecord/words.tfrecord",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"]),
            skipped={"entry 3": "no image"},
        ),
        _case("TFRecord without images", _TFRECORD, "tfrecord/no_images.tfrecord", error="no column holds images"),
        Case("`.tfrecord.gz` files by a pattern", _TENSORFLOW, _packed_records),
        _case(
            "TFRecord: tensors of `tf.io.serialize_tensor`: 8, 16 and signed 16 bits, floats",
            _TENSORFLOW,
            "tensorflow/tensors.tfrecord",
            *(group([_tensor(dtype)], labels=[-1]) for dtype in (np.uint8, np.uint16, np.int16)),
            skipped={"entry 3": "holds float64"},
        ),
        _case("TFRecord of sequences", _TENSORFLOW, "tensorflow/sequences.tfrecord", error="no column holds images"),
        Case("TFRecord with a changed byte in an image", _TFRECORD, _changed_record),
        _damaged("TFRecord with a changed length", _TFRECORD, "tfrecord/encoded.tfrecord", "", 0, "is no TFRecord"),
        _damaged("TFRecord cut off", _TFRECORD, "tfrecord/encoded.tfrecord", "", -1, "cut off"),
        Case("a text called `.tfrecord`", "bytes by hand", _text_record),
    ]


def _tensor(dtype: type[np.generic]) -> Pixels:
    kind = np.iinfo(dtype)  # type: ignore[type-var]
    return np.random.default_rng(0).integers(0, kind.max + 1, (4, 5, 3), dtype=dtype)


def _tfds(root: Path) -> Made:
    folder = _copied(root, "tfrecord/mnist-tfds")
    (folder / "dataset_info.json").write_text("{}")
    (folder / "label.labels.txt").write_text("zero\none\ntwo\n")
    known = {"labels": [0, 2, 1], "class_names": ["zero", "one", "two"]}
    return Made(folder, [group([pictures()[2], *pictures(2)], **known, fields={"split": ["test", "train", "train"]})])


def _packed_records(root: Path) -> Made:
    for number in range(2):
        _copied(root, f"tensorflow/a-{number}.tfrecord.gz")
    return Made(f"{root}/a-*.tfrecord.gz", [group(pictures(), labels=[1, 1 << 30, 1 << 60])])


def _changed_record(root: Path) -> Made:
    path = _copied(root, "tfrecord/raw.tfrecords")
    data = path.read_bytes()
    path.write_bytes(data.replace(pictures()[1].tobytes(), pictures()[0].tobytes()))
    sizes = {"depth": [3, 3], "height": [4, 4], "width": [5, 5]}
    expected = group([pictures()[0], pictures()[2]], labels=[0, 2], fields=sizes)
    return Made(path, [expected], {"entry 1": "the checksum of its record is wrong"})


def _text_record(root: Path) -> Made:
    path = root / "a.tfrecord"
    path.write_text("This is a text.\n" * 100)
    return Made(path, error="is no TFRecord file")


def _recordio_cases() -> list[Case]:
    ids = {"id": [0, 1, 2]}
    return [
        _case(
            "RecordIO: one label for each image",
            _MXNET,
            "recordio/labels.rec",
            group(pictures(), labels=[2, 1, 0], fields={"id": [10, 11, 12]}),
        ),
        _case(
            "RecordIO: two labels for each image",
            _MXNET,
            "recordio/several.rec",
            group(pictures(), fields={"label_0": [0.0, 1.0, 2.0], "label_1": [0.5] * 3, **ids}),
        ),
        _case(
            "RecordIO: labels that are no whole numbers",
            _MXNET,
            "recordio/fractions.rec",
            group(pictures(), fields={"label": [0.0, 0.5, 1.0], **ids}),
        ),
        _case(
            "RecordIO of faces: the first record is about the others",
            _MXNET,
            "recordio/faces.rec",
            group(pictures(), labels=[0, 0, 0], fields={"id": [1, 2, 3]}),
            skipped={"entry 0": "no image in this record"},
        ),
        _case(
            "RecordIO: a record in 17 parts, because its pixels hold the magic number",
            _MXNET,
            "recordio/split.rec",
            group([np.frombuffer(b"\x0a\x23\xd7\xce" * 16, np.uint8).reshape(8, 8)], labels=[1], fields={"id": [0]}),
            group(pictures(1), labels=[0], fields={"id": [1]}),
        ),
        Case("RecordIO: a part in the middle of a record is missing", _MXNET, _missing_part),
        Case("a folder of `.rec` and `.idx` of two splits", _MXNET, _recordio_folder),
        _damaged("RecordIO cut off", _MXNET, "recordio/labels.rec", "", -1, "cut off"),
        _damaged("RecordIO without its magic number", _MXNET, "recordio/labels.rec", "", 0, "not an image"),
    ]


def _missing_part(root: Path) -> Made:
    path = _copied(root, "recordio/split.rec")
    data = path.read_bytes()
    last = data.index(bytes([0x0A, 0x23, 0xD7, 0xCE, 0, 0, 0, 0x60]))  # a last part, empty
    path.write_bytes(data[:last] + data[last + 8 :])
    return Made(path, error="a part of a record is missing")


def _recordio_folder(root: Path) -> Made:
    for split, name in {"train": "labels", "val": "split"}.items():
        for suffix in ("rec", "idx"):
            shutil.copy(_DATA / f"recordio/{name}.{suffix}", root / f"{split}.{suffix}")
    grey = np.frombuffer(b"\x0a\x23\xd7\xce" * 16, np.uint8).reshape(8, 8)
    fields = {"id": [10, 11, 12, 1], "split": ["train"] * 3 + ["val"]}
    colour = group([*pictures(), pictures()[0]], labels=[2, 1, 0, 0], fields=fields)
    return Made(root, [colour, group([grey], labels=[1], fields={"id": [0], "split": ["val"]})])


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


def _lmdb_cases() -> list[Case]:
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
