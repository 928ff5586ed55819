"""Cases of Parquet files, and of datasets of Hugging Face."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, png, wide, write

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # before datasets is imported
import datasets

_FIELDS: dict[str, list[Any]] = {"lens": ["a", None, "b", "a"], "iso": [100, 200, 400, 800]}
_KNOWN = {"labels": [0, 1, 2, 0], "class_names": ["cat", "dog", "eel"], "fields": _FIELDS}


def cases() -> list[Case]:
    return [
        Case("`.parquet` with `Image` and `ClassLabel`", "datasets", _parquet),
        Case("`.parquet` of 16-bit images", "datasets", _wide),
        Case("a folder of shards of two splits", "datasets", _shards),
        Case("`save_to_disk`", "datasets", _saved),
        Case("`save_to_disk` of two splits", "datasets", _saved_splits),
        Case("an object of `datasets`", "datasets", lambda _: Made(_dataset(), [group(_images(), **_KNOWN)])),
        Case("an iterable dataset", "datasets", _iterable),
        Case("`.parquet` of bytes, times and decimals", "pyarrow", _plain),
        Case("`.parquet` of bytes", "pandas", _pandas),
        Case("images without paths beside a column `file_name`", "pyarrow", _spare_names),
        Case("`.parquet` of lists of numbers", "pyarrow", _lists),
        Case("paths without bytes, within the folder and out of it", "pyarrow", _paths),
        Case("rows without an image, or a damaged one", "pyarrow", _gaps),
        Case("`.parquet` without images", "pandas", _no_images),
        Case("a text called `.parquet`", "bytes by hand", _text),
    ]


def _images() -> list[Pixels]:
    return [noise(4, 5, 3, seed=seed) for seed in range(4)]


def _dataset(rows: int = 4) -> "datasets.Dataset":
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog", "eel"]),
        "lens": datasets.Value("string"),
        "iso": datasets.Value("int32"),
        "boxes": datasets.List(datasets.Value("int32")),
    }
    columns = {"image": [Image.fromarray(image) for image in _images()], "label": [0, 1, 2, 0], "boxes": [[1, 2]] * 4}
    table = {name: values[:rows] for name, values in (columns | _FIELDS).items()}
    return datasets.Dataset.from_dict(table, features=datasets.Features(features))


def _parquet(root: Path) -> Made:
    _dataset().to_parquet(root / "a.parquet")
    return Made(root / "a.parquet", [group(_images(), **_KNOWN)])


def _spare_names(root: Path) -> Made:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(image), "path": None} for image in _images()], kind)
    names = [f"{number}.png" for number in range(4)]
    pq.write_table(pa.table({"image": images, "file_name": names}), root / "a.parquet")
    return Made(root / "a.parquet", [group(_images(), names=names)])


def _wide(root: Path) -> Made:
    images = [Image.fromarray(wide(4, 5, seed=seed)) for seed in range(2)]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": images}, features=features).to_parquet(root / "a.parquet")
    return Made(root / "a.parquet", [group([wide(4, 5, seed=seed) for seed in range(2)])])


def _splits() -> dict[str, Any]:
    """Return the columns of the images of two splits, in this order: `test` with 2 rows, `train` with 4."""
    fields = {name: [*values[:2], *values] for name, values in _FIELDS.items()}
    return {"labels": [0, 1, 0, 1, 2, 0], "class_names": ["cat", "dog", "eel"], "fields": fields}


def _shards(root: Path) -> Made:
    (root / "data").mkdir()
    _dataset().select(range(2)).to_parquet(root / "data/train-00000-of-00002.parquet")
    _dataset().select(range(2, 4)).to_parquet(root / "data/train-00001-of-00002.parquet")
    _dataset(2).to_parquet(root / "data/test-00000-of-00001.parquet")
    known = _splits()
    known["fields"]["split"] = ["test"] * 2 + ["train"] * 4
    return Made(root, [group([*_images()[:2], *_images()], **known)])


def _saved(root: Path) -> Made:
    _dataset().save_to_disk(root / "set", num_shards=2)
    return Made(root / "set", [group(_images(), **_KNOWN)])


def _saved_splits(root: Path) -> Made:
    datasets.DatasetDict({"test": _dataset(2), "train": _dataset()}).save_to_disk(root / "set")
    known = _splits()
    known["fields"]["split"] = ["test"] * 2 + ["train"] * 4
    return Made(root / "set", [group([*_images()[:2], *_images()], **known)])


def _iterable(_: Path) -> Made:
    return Made(_dataset().to_iterable_dataset(num_shards=2), [group(_images(), **_KNOWN)])


def _plain(root: Path) -> Made:
    columns = {
        "image": [png(image) for image in _images()],
        "label": ["dog", "ant", "dog", "ant"],
        "taken": pa.array(np.array(["2024-05-06T07:08:09"] * 4, "datetime64[s]")),
        "price": pa.array(["1.20", None, "3.40", "5.60"]).cast(pa.decimal128(5, 2)),
    }
    pq.write_table(pa.table(columns), root / "a.parquet")
    fields = {"taken": ["2024-05-06T07:08:09.000"] * 4, "price": ["1.20", None, "3.40", "5.60"]}
    known = {"labels": [1, 0, 1, 0], "class_names": ["ant", "dog"], "fields": fields}
    return Made(root / "a.parquet", [group(_images(), **known)])


def _pandas(root: Path) -> Made:
    table = {"image": [png(image) for image in _images()], "file_name": list("dcba"), "seen": [True, False, None, True]}
    pd.DataFrame(table).to_parquet(root / "a.parquet")
    fields = {"seen": [True, False, None, True]}
    return Made(root / "a.parquet", [group(_images(), names=list("dcba"), fields=fields)])


def _lists(root: Path) -> Made:
    kind = pa.list_(pa.list_(pa.list_(pa.uint8())))
    rows = pa.array([image.tolist() for image in _images()], kind)
    pq.write_table(pa.table({"image": rows}), root / "a.parquet")
    return Made(root / "a.parquet", [group(_images())])


def _paths(root: Path) -> Made:
    write(root / "set/images/a.png", png(noise(4, 5)))
    write(root / "secret.png", png(noise(4, 5)))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    paths = ["images/a.png", "../secret.png", "/etc/passwd", "https://host/a.png"]
    rows = pa.array([{"bytes": None, "path": path} for path in paths], kind)
    pq.write_table(pa.table({"image": rows}), root / "set/a.parquet")
    out, address = "leads out of the folder", "address of a file"
    skipped = {"secret.png": out, "passwd": out, "a.png": address}
    return Made(root / "set/a.parquet", [group([noise(4, 5)], names=["images/a.png"])], skipped)


def _gaps(root: Path) -> Made:
    data = [png(noise(4, 5)), None, b"", png(noise(40, 50))[:999], png(noise(4, 5, seed=1))]
    pq.write_table(pa.table({"image": pa.array(data, pa.binary()), "n": [0, 1, 2, 3, 4]}), root / "a.parquet")
    expected = group([noise(4, 5), noise(4, 5, seed=1)], fields={"n": [0, 4]})
    return Made(root / "a.parquet", [expected], {"entry 1": "no image", "entry 2": "empty", "entry 3": "damaged"})


def _no_images(root: Path) -> Made:
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet(root / "a.parquet")
    return Made(root / "a.parquet", error="no column")


def _text(root: Path) -> Made:
    return Made(write(root / "a.parquet", b"This is a text.\n" * 100), error="Parquet")
