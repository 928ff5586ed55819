"""Cases of TFRecord and RecordIO."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inputs.case import Case, Made, Pixels, group
from inputs.shards import DATA, copied, damaged_case, pictures, shard_case

_TFRECORD, _TENSORFLOW, _MXNET = "tfrecord", "tensorflow", "mxnet"


def cases() -> list[Case]:
    return [*_tfrecord_cases(), *_recordio_cases()]


def _tfrecord_cases() -> list[Case]:
    known = {"labels": [2, 1, 0], "names": ["0.png", "1.png", "2.png"]}
    fields: dict[str, list[object]] = {"image/height": [4, 4, 4], "weight": [0.0, 0.5, 1.0]}
    sizes = {"depth": [3, 3, 3], "height": [4, 4, 4], "width": [5, 5, 5]}
    raw = group(pictures(), labels=[0, 1, 2], fields=sizes)
    return [
        shard_case(
            "TFRecord: features of ImageNet; boxes, left out",
            _TFRECORD,
            "tfrecord/encoded.tfrecord",
            group(pictures(), **known, fields=fields),
        ),
        shard_case(
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
        shard_case("TFRecord: pixels, height, width and depth", _TFRECORD, "tfrecord/raw.tfrecords", raw),
        shard_case(
            "TFRecord: pixels of two bytes, of no stated type",
            _TFRECORD,
            "tfrecord/raw_16.tfrecord",
            error="only samples of one byte",
        ),
        shard_case(
            "TFRecord: classes as texts, a record without an image",
            _TFRECORD,
            "tfrecord/words.tfrecord",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"]),
            skipped={"entry 3": "no image"},
        ),
        shard_case("TFRecord without images", _TFRECORD, "tfrecord/no_images.tfrecord", error="no column holds images"),
        Case("`.tfrecord.gz` files by a pattern", _TENSORFLOW, _packed_records),
        shard_case(
            "TFRecord: tensors of `tf.io.serialize_tensor`: 8, 16 and signed 16 bits, floats",
            _TENSORFLOW,
            "tensorflow/tensors.tfrecord",
            *(group([_tensor(dtype)], labels=[-1]) for dtype in (np.uint8, np.uint16, np.int16)),
            skipped={"entry 3": "holds float64"},
        ),
        shard_case(
            "TFRecord of sequences", _TENSORFLOW, "tensorflow/sequences.tfrecord", error="no column holds images"
        ),
        Case("TFRecord: a folder of img2dataset, with tables and counts", _TFRECORD, _img2dataset),
        Case("TFRecord with a changed byte in an image", _TFRECORD, _changed_record),
        damaged_case("TFRecord with a changed length", _TFRECORD, "tfrecord/encoded.tfrecord", "", 0, "is no TFRecord"),
        damaged_case("TFRecord cut off", _TFRECORD, "tfrecord/encoded.tfrecord", "", -1, "cut off"),
        Case("a text called `.tfrecord`", "bytes by hand", _text_record),
    ]


def _tensor(dtype: type[np.generic]) -> Pixels:
    kind = np.iinfo(dtype)  # type: ignore[type-var]
    return np.random.default_rng(0).integers(0, kind.max + 1, (4, 5, 3), dtype=dtype)


def _tfds(root: Path) -> Made:
    folder = copied(root, "tfrecord/mnist-tfds")
    (folder / "dataset_info.json").write_text("{}")
    (folder / "label.labels.txt").write_text("zero\none\ntwo\n")
    known = {"labels": [0, 2, 1], "class_names": ["zero", "one", "two"]}
    return Made(folder, [group([pictures()[2], *pictures(2)], **known, fields={"split": ["test", "train", "train"]})])


def _img2dataset(root: Path) -> Made:
    copied(root, "tfrecord/raw.tfrecords").rename(root / "00000.tfrecord")
    pq.write_table(pa.table({"url": ["http://host/a"], "width": [5]}), root / "00000.parquet")
    (root / "00000_stats.json").write_text("{}")
    sizes = {"depth": [3, 3, 3], "height": [4, 4, 4], "width": [5, 5, 5]}
    return Made(root, [group(pictures(), labels=[0, 1, 2], fields=sizes)])


def _packed_records(root: Path) -> Made:
    for number in range(2):
        copied(root, f"tensorflow/a-{number}.tfrecord.gz")
    return Made(f"{root}/a-*.tfrecord.gz", [group(pictures(), labels=[1, 1 << 30, 1 << 60])])


def _changed_record(root: Path) -> Made:
    path = copied(root, "tfrecord/raw.tfrecords")
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
        shard_case(
            "RecordIO: one label for each image",
            _MXNET,
            "recordio/labels.rec",
            group(pictures(), labels=[2, 1, 0], fields={"id": [10, 11, 12]}),
        ),
        shard_case(
            "RecordIO: two labels for each image",
            _MXNET,
            "recordio/several.rec",
            group(pictures(), fields={"label_0": [0.0, 1.0, 2.0], "label_1": [0.5] * 3, **ids}),
        ),
        shard_case(
            "RecordIO: labels that are no whole numbers",
            _MXNET,
            "recordio/fractions.rec",
            group(pictures(), fields={"label": [0.0, 0.5, 1.0], **ids}),
        ),
        shard_case(
            "RecordIO of faces: the first record is about the others",
            _MXNET,
            "recordio/faces.rec",
            group(pictures(), labels=[0, 0, 0], fields={"id": [1, 2, 3]}),
            skipped={"entry 0": "no image in this record"},
        ),
        shard_case(
            "RecordIO: a record in 17 parts, because its pixels hold the magic number",
            _MXNET,
            "recordio/split.rec",
            group([np.frombuffer(b"\x0a\x23\xd7\xce" * 16, np.uint8).reshape(8, 8)], labels=[1], fields={"id": [0]}),
            group(pictures(1), labels=[0], fields={"id": [1]}),
        ),
        Case("RecordIO: a part in the middle of a record is missing", _MXNET, _missing_part),
        Case("a folder of faces: `train.rec`, `property`, `lfw.bin`", _MXNET, _faces_folder),
        Case("a folder of `.rec` and `.idx` of two splits", _MXNET, _recordio_folder),
        damaged_case("RecordIO cut off", _MXNET, "recordio/labels.rec", "", -1, "cut off"),
        damaged_case("RecordIO without its magic number", _MXNET, "recordio/labels.rec", "", 0, "not an image"),
    ]


def _missing_part(root: Path) -> Made:
    path = copied(root, "recordio/split.rec")
    data = path.read_bytes()
    last = data.index(bytes([0x0A, 0x23, 0xD7, 0xCE, 0, 0, 0, 0x60]))  # a last part, empty
    path.write_bytes(data[:last] + data[last + 8 :])
    return Made(path, error="a part of a record is missing")


def _faces_folder(root: Path) -> Made:
    for suffix in ("rec", "idx"):
        shutil.copy(DATA / f"recordio/faces.{suffix}", root / f"faces.{suffix}")
    (root / "property").write_text("3,112,112")
    (root / "lfw.bin").write_bytes(b"pickle")
    skipped = {"lfw.bin": "no .rec file", "entry 0": "no image in this record"}
    return Made(root, [group(pictures(), labels=[0, 0, 0], fields={"id": [1, 2, 3]})], skipped)


def _recordio_folder(root: Path) -> Made:
    for split, name in {"train": "labels", "val": "split"}.items():
        for suffix in ("rec", "idx"):
            shutil.copy(DATA / f"recordio/{name}.{suffix}", root / f"{split}.{suffix}")
    grey = np.frombuffer(b"\x0a\x23\xd7\xce" * 16, np.uint8).reshape(8, 8)
    fields = {"id": [10, 11, 12, 1], "split": ["train"] * 3 + ["val"]}
    colour = group([*pictures(), pictures()[0]], labels=[2, 1, 0, 0], fields=fields)
    return Made(root, [colour, group([grey], labels=[1], fields={"id": [0], "split": ["val"]})])
