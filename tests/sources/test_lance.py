"""Lance datasets. pylance and what it needs are large, so that these tests run where it is installed already."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from inputs.making import noise, png
from smalti.errors import SmaltiError
from smalti.sources.open import open_entries, open_source

lance = pytest.importorskip("lance", reason="pylance is not installed: it is large, and no part of smalti[dev]")

IMAGES = [noise(4, 5, 3, seed=seed) for seed in range(7)]


def write(path: Path, columns: dict[str, object], schema: pa.Schema | None = None) -> Path:
    lance.write_dataset(pa.table(columns, schema=schema), str(path), max_rows_per_file=3)
    return path


def test_images_labels_names_and_fields(tmp_path: Path) -> None:
    columns = {
        "image": [png(image) for image in IMAGES],
        "label": list("abababa"),
        "file_name": [f"{n}.png" for n in range(7)],
        "iso": list(range(7)),
    }
    source = open_source(write(tmp_path / "a.lance", columns))
    (batch,) = source.batches(10)
    np.testing.assert_array_equal(batch.pixels, IMAGES)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert (source.class_names, batch.names) == (("a", "b"), tuple(columns["file_name"]))
    assert batch.fields == {"iso": list(range(7))}


def test_rows_that_were_deleted_and_added(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"image": [png(image) for image in IMAGES], "n": list(range(7))})
    lance.dataset(str(path)).delete("n = 2 or n = 3")
    lance.write_dataset(pa.table({"image": [png(IMAGES[0])], "n": [9]}), str(path), mode="append")
    source = open_source(path)
    (batch,) = source.batches(10)
    assert batch.fields == {"n": [0, 1, 4, 5, 6, 9]}
    np.testing.assert_array_equal(batch.pixels, [IMAGES[n] for n in (0, 1, 4, 5, 6, 0)])
    records = open_entries(path)
    assert [entry for entry, _ in records.read(np.array([1, 4, 5]))] == [1, 4, 5]  # type: ignore[union-attr]


def test_blobs(tmp_path: Path) -> None:
    blob = pa.field("image", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    columns = {"image": [png(IMAGES[0]), None, png(IMAGES[1])], "label": [3, 4, 5]}
    path = write(tmp_path / "a", columns, pa.schema([blob, pa.field("label", pa.int64())]))
    source = open_source(path)
    (batch,) = source.batches(10)
    np.testing.assert_array_equal(batch.pixels, IMAGES[:2])
    assert batch.labels is not None
    assert batch.labels.tolist() == [3, 5]
    assert [file.reason for file in source.skipped] == ["no image in this row"]


def test_a_damaged_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"image": [png(image) for image in IMAGES]})
    for file in (path / "data").iterdir():
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(SmaltiError, match="cannot be read"):
        open_source(path)
