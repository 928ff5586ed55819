"""Parquet as an output: `datasets` reads it with its features, and a round trip loses nothing."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_files import assert_same, everything, noise
from smalti.errors import OutputExistsError, SmaltiError
from smalti.images.batch import ImageBatch
from smalti.sinks import parquet_file
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_source

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets

NAMES = tuple(f"{'ab'[number % 2]}/{number} é.png" for number in range(9))
FIELDS = {
    "whole": [None, None, None, 3, -(2**63), 2**63 - 1, 0, 1, 2],
    "real": [0.1, None, float("inf"), 1.0, 2.0, 3.0, -0.0, 5e-324, 1e308],
    "truth": [True, False, None, True, True, True, True, True, True],
    "text": ["", "é", None, "猫", "a", "b", "c", "d", "true"],
    "none": [None] * 9,
}


def write(out: Path, batch: ImageBatch, class_names: list[str] | None = None, **options: Any) -> None:
    """Write in batches of two."""
    shape = batch.pixels.shape[1:]
    with open_image_writer(
        out, shape, len(batch), dtype=batch.pixels.dtype, class_names=class_names, **options
    ) as writer:
        for start in range(0, len(batch), 2):
            writer.write(batch.part(start, start + 2))


def loaded(path: Path) -> "datasets.Dataset":
    return datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (2, "uint8"), (3, "uint8"), (4, "uint8"), (1, "uint16")])
def test_datasets_loads_images_classes_names_and_fields(tmp_path: Path, channels: int, dtype: str) -> None:
    pixels = noise(9, 4, 5, channels).astype(dtype) * (257 if dtype == "uint16" else 1)
    labels = np.arange(9) % 2
    write(tmp_path / "a.parquet", ImageBatch(pixels, labels, NAMES, FIELDS), ["cat", "dog"])
    found = loaded(tmp_path / "a.parquet")
    assert found.features == datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "whole": datasets.Value("int64"),
            "real": datasets.Value("float64"),
            "truth": datasets.Value("bool"),
            "text": datasets.Value("string"),
            "none": datasets.Value("string"),
        }
    )
    for row, image in zip(found, pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]).reshape(4, 5, channels), image)
    assert {name: found[:][name] for name in FIELDS} == FIELDS
    assert found[:]["label"] == labels.tolist()
    paths = found.cast_column("image", datasets.Image(decode=False))[:]["image"]
    assert [path["path"] for path in paths] == list(NAMES)


@pytest.mark.parametrize("class_names", [None, ["cat", "dog"]])
@pytest.mark.parametrize("labels", [None, np.arange(9) % 2])
@pytest.mark.parametrize("names", [None, NAMES])
def test_a_round_trip_loses_nothing(
    tmp_path: Path, names: tuple[str, ...] | None, labels: np.ndarray | None, class_names: list[str] | None
) -> None:
    batch = ImageBatch(noise(9, 4, 5, 3), labels, names, FIELDS)
    write(tmp_path / "a.parquet", batch, class_names)
    source = open_source(tmp_path / "a.parquet")
    found = everything(source)
    assert_same(found, batch)
    assert found.fields == FIELDS
    assert source.class_names == (None if labels is None or class_names is None else ("cat", "dog"))


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=3)


@given(values=st.lists(scalars, min_size=1, max_size=12))
@settings(max_examples=40)
def test_columns_become_as_wide_as_their_values(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    out = tmp_path_factory.mktemp("out") / "a.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_file, "_GROUP_ROWS", 2)  # so that what was written has to be written anew
        with open_image_writer(out, (1, 1, 1), len(values)) as writer:
            for number, value in enumerate(values):
                pixels = np.full((1, 1, 1, 1), number, np.uint8)
                writer.write(ImageBatch(pixels, fields={"value": [value], "number": [number]}))
    found = everything(open_source(out))
    assert found.pixels.ravel().tolist() == found.fields["number"] == list(range(len(values)))
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        assert [kind for kind in map(type, found.fields["value"]) if kind is not type(None)] == [str] * sum(
            value is not None for value in values
        )
        numbers = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
        texts = [None if value is None else text for value, text in zip(values, numbers, strict=True)]
        if float not in kinds or int not in kinds:  # else an integer became a float before it became a text
            assert found.fields["value"] == texts
    else:
        assert found.fields["value"] == values


def test_row_groups_are_bounded_and_the_same_images_make_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ImageBatch(noise(9, 40, 50, 3), np.arange(9), NAMES)
    monkeypatch.setattr(parquet_file, "_GROUP_BYTES", 20_000)
    write(tmp_path / "a.parquet", batch)
    write(tmp_path / "b.parquet", batch)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 1]


def test_images_of_several_shapes_are_written(tmp_path: Path) -> None:
    with open_image_writer(tmp_path / "a.parquet", None, 2) as writer:
        writer.write(ImageBatch(noise(1, 4, 5, 3), fields={"number": [0]}))
        writer.write(ImageBatch(noise(1, 6, 5, 1).astype(np.uint16) * 257, fields={"number": [1]}))
    assert [np.asarray(row["image"]).shape for row in loaded(tmp_path / "a.parquet")] == [(4, 5, 3), (6, 5)]


@pytest.mark.parametrize("shape", [(4, 5, 3), None])
def test_sixteen_bits_of_colour_are_refused_and_nothing_is_left(tmp_path: Path, shape: tuple[int, ...] | None) -> None:
    pixels = np.zeros((1, 4, 5, 3), np.uint16)
    with (
        pytest.raises(SmaltiError, match=r"cut to 8 bits by Hugging Face datasets; write a folder, \.tar or \.npy"),
        open_image_writer(tmp_path / "a.parquet", shape, 1, dtype=pixels.dtype) as writer,
    ):
        writer.write(ImageBatch(pixels))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("labels", "class_names"), [([0, 5], ["a", "b"]), ([0, -2], ["a", "b"]), ([0, 1], ["a", "a"])])
def test_labels_that_cannot_be_classes_are_numbers(tmp_path: Path, labels: list[int], class_names: list[str]) -> None:
    with open_image_writer(tmp_path / "a.parquet", (4, 5, 1), 2, class_names=class_names) as writer:
        for number, label in enumerate(labels):
            writer.write(ImageBatch(noise(1, 4, 5, 1, seed=number), np.array([label])))
    assert loaded(tmp_path / "a.parquet").features["label"] == datasets.Value("int64")
    assert everything(open_source(tmp_path / "a.parquet")).labels.tolist() == labels


def test_no_label_is_a_class_label_too(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ImageBatch(noise(2, 4, 5, 1), np.array([-1, 1])), ["cat", "dog"])
    assert loaded(tmp_path / "a.parquet").features["label"].names == ["cat", "dog"]


def test_integers_beyond_floats_among_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SmaltiError, match="no float is equal to"):
        write(tmp_path / "a.parquet", ImageBatch(noise(3, 4, 5, 1), fields={"number": [2**60 + 1, 1, 0.5]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image", "label"])
def test_fields_of_names_that_are_taken_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SmaltiError, match="has the name of a column"):
        write(tmp_path / "a.parquet", ImageBatch(noise(1, 4, 5, 1), fields={name: [1]}))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_or_replaced_whole(tmp_path: Path) -> None:
    batch = ImageBatch(noise(2, 4, 5, 1))
    (tmp_path / "a.parquet").write_text("mine")
    with pytest.raises(OutputExistsError):
        write(tmp_path / "a.parquet", batch)
    with pytest.raises(RuntimeError), open_image_writer(tmp_path / "a.parquet", (4, 5, 1), 2, overwrite=True) as writer:
        writer.write(batch)
        raise RuntimeError
    assert (tmp_path / "a.parquet").read_text() == "mine"
    write(tmp_path / "a.parquet", batch, overwrite=True)
    assert_same(everything(open_source(tmp_path / "a.parquet")), batch)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_no_images_are_a_table_without_rows(tmp_path: Path) -> None:
    with open_image_writer(tmp_path / "a.parquet", (4, 5, 1), 0):
        pass
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


def test_what_is_written_anew_waits_beside_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    monkeypatch.setattr(parquet_file, "_GROUP_ROWS", 2)
    fields = {"number": [1, 2, 3, 4.5]}  # whole numbers that become real ones
    write(tmp_path / "a.parquet", ImageBatch(noise(4, 4, 5, 1), fields=fields))
    assert loaded(tmp_path / "a.parquet")["number"] == [1.0, 2.0, 3.0, 4.5]
