"""Tests that hold for every container of arrays: `.npz`, HDF5 and Zarr, local and behind URLs."""

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.array_containers import WRITERS, Arrays
from helpers.image_files import assert_same, everything, noise
from helpers.web_server import served
from smalti.errors import SourceError, UsageError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sources.arrays.containers import chunk_spans
from smalti.sources.open import open_groups, open_source

Writer = Callable[[Path, Arrays], Path]
every_kind = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's, of writing dtypes whose place in the format is not settled
        yield


def medmnist(labels: int = 1) -> Arrays:
    """Make arrays as in MedMNIST's files (Yang et al. 2023): labels [N, L]."""
    arrays = {}
    for seed, (split, count) in enumerate((("train", 7), ("val", 3), ("test", 4))):
        arrays[f"{split}_images"] = noise(count, 6, 5, 3, seed=seed)
        arrays[f"{split}_labels"] = np.arange(count * labels).reshape(count, labels)
    return arrays


def joined(arrays: Arrays, what: str) -> np.ndarray:
    return np.concatenate([arrays[f"{split}_{what}"] for split in ("train", "val", "test")])


def assert_ranges_are_slices(source: ImageSource) -> None:
    whole = everything(source)
    for start, stop in itertools.combinations((0, 1, 5, 8, len(source)), 2):
        found = ImageBatch.joined(list(source.batches(3, start, stop)))
        assert_same(found, whole.part(start, stop))
        assert {name: list(values) for name, values in found.fields.items()} == {
            name: list(values) for name, values in whole.part(start, stop).fields.items()
        }


@every_kind
def test_medmnists_layout_is_read_in_order_with_its_splits(tmp_path: Path, write: Writer) -> None:
    arrays = medmnist()
    source = open_source(write(tmp_path, arrays))
    found = everything(source)
    np.testing.assert_array_equal(found.pixels, joined(arrays, "images"))
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels, joined(arrays, "labels")[:, 0])
    assert found.fields == {"split": ["train"] * 7 + ["val"] * 3 + ["test"] * 4}
    assert_ranges_are_slices(source)


@every_kind
def test_several_labels_of_an_image_are_fields(tmp_path: Path, write: Writer) -> None:
    arrays = medmnist(labels=3)
    found = everything(open_source(write(tmp_path, arrays)))
    assert found.labels is None
    assert list(found.fields) == ["label_0", "label_1", "label_2", "split"]
    for number in range(3):
        assert found.fields[f"label_{number}"] == joined(arrays, "labels")[:, number].tolist()


@every_kind
@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2"])
def test_one_array_with_labels_names_and_fields(tmp_path: Path, write: Writer, dtype: str) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (11, 5, 4), dtype=np.uint16).astype(dtype)
    # NumPy's strings of bytes, which one kind holds, are ASCII
    words = np.array(["dog", "cat" if write.__name__ == "chunked_hdf5" else "cät"])[np.arange(11) % 2]
    arrays = {
        "images": pixels,
        "label": words,
        "names": np.array([f"{number}.png" for number in range(11)]),
        "age": np.arange(11) / 4,
        "ill": np.arange(11) % 2 == 0,
        "site": np.arange(11, dtype=np.int16)[:, None],
        "shorter": np.arange(3),
    }
    source = open_source(write(tmp_path, arrays))
    found = everything(source)
    assert source.dtype == found.pixels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found.pixels[..., 0], pixels)
    assert source.class_names == tuple(sorted(set(words.tolist())))
    assert found.labels is not None
    assert [source.class_names[label] for label in found.labels] == words.tolist()
    assert found.names == tuple(f"{number}.png" for number in range(11))
    expected = {"age": np.arange(11) / 4, "ill": np.arange(11) % 2 == 0, "site": np.arange(11)}
    assert {name: list(values) for name, values in found.fields.items()} == {
        name: values.tolist() for name, values in expected.items()
    }
    assert_ranges_are_slices(source)


@every_kind
def test_a_key_names_one_of_several_arrays(tmp_path: Path, write: Writer) -> None:
    arrays = {"images": noise(4, 5, 5), "masks": noise(4, 5, 5, seed=1), "label": np.arange(4)}
    path = write(tmp_path, arrays)
    with pytest.raises(SourceError, match=r"several arrays.*images \(uint8 \[4, 5, 5\]\), masks .*::images"):
        open_source(path)
    for key in ("images", "masks"):
        found = everything(open_source(f"{path}::{key}"))
        np.testing.assert_array_equal(found.pixels[..., 0], arrays[key])
        assert found.labels is not None
        assert found.labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="no array 'x'"):
        open_source(f"{path}::x")


@every_kind
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (noise(4, 3, 9, 9), "transpose"),
        (np.zeros((4, 9, 9), np.float32), "::images: holds float32.*astype"),
        (np.zeros((4, 9, 9), np.int32), "::images: holds int32"),
        (noise(4, 9), "none of them of images"),
    ],
)
def test_what_is_no_images_is_refused_in_one_line(tmp_path: Path, write: Writer, array: np.ndarray, words: str) -> None:
    path = write(tmp_path, {"images": array, "label": np.arange(4)})
    with pytest.raises(SourceError, match=words) as raised:
        open_source(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@every_kind
def test_splits_of_other_shapes_are_groups(tmp_path: Path, write: Writer) -> None:
    arrays = {"train_images": noise(5, 6, 6), "val_images": noise(2, 9, 9), "test_images": noise(4, 6, 6)}
    first, second = open_groups(write(tmp_path, arrays))
    assert [(len(one), one.image_shape) for one in (first, second)] == [(9, (6, 6, 1)), (2, (9, 9, 1))]
    assert everything(first).fields["split"] == ["train"] * 5 + ["test"] * 4


@every_kind
def test_what_only_some_splits_have_is_a_field_with_gaps(tmp_path: Path, write: Writer) -> None:
    arrays = {
        "train_images": noise(2, 4, 4),
        "train_labels": np.arange(2),
        "train_age": np.arange(2) / 2,
        "test_images": noise(1, 4, 4),
    }
    found = everything(open_source(write(tmp_path, arrays)))
    assert found.labels is None
    assert found.fields == {
        "age": [0, 0.5, None],
        "split": ["train", "train", "test"],
        "label": [0, 1, None],
    }


@every_kind
def test_what_can_be_no_column_is_left_out_with_a_word(
    tmp_path: Path, write: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = {"x": noise(4, 5, 5), "boxes": np.zeros((4, 4)), "z": np.zeros(4, complex)}
    with caplog.at_level(logging.WARNING, "smalti"):
        found = everything(open_source(write(tmp_path, arrays)))
    assert (found.labels, found.names, found.fields) == (None, None, {})
    assert sorted(message.partition("::")[2].partition(":")[0] for message in caplog.messages) == ["boxes", "z"]


@every_kind
@pytest.mark.parametrize("place", ["memory", "http"])
def test_containers_behind_urls_are_read_as_local_ones(tmp_path: Path, write: Writer, place: str) -> None:
    arrays = medmnist()
    path = write(tmp_path, arrays)
    with served(tmp_path) as url:
        if place == "http" and path.is_dir():
            import zarr  # noqa: PLC0415

            zarr.consolidate_metadata(path)  # a web server lists no folders
        if place == "memory":
            fsspec.filesystem("memory").put(str(path), f"/containers/{path.name}", recursive=path.is_dir())
        root = "memory://containers/" if place == "memory" else url
        slash = "/" if place == "http" and path.is_dir() else ""
        source = open_source(f"{root}{path.name}{slash}")
        assert_same(everything(source), everything(open_source(path)))
        found = ImageBatch.joined(list(source.batches(2, 5, 9)))
        np.testing.assert_array_equal(found.pixels, joined(arrays, "images")[5:9])


@every_kind
def test_a_container_that_changes_is_noticed(tmp_path: Path, write: Writer) -> None:
    source = open_source(write(tmp_path, {"images": noise(9, 5, 4)}))
    write(tmp_path, {"images": noise(9, 4, 5)})
    with pytest.raises(SourceError, match=r"changed while it was read|Bad CRC-32"):
        everything(source)


@given(
    rows=st.integers(1, 30),
    chunk=st.integers(1, 40),
    start=st.integers(0, 100),
    stop=st.integers(0, 100),
    row_bytes=st.sampled_from([1, 1 << 27]),
)
def test_pieces_cover_a_range_and_end_where_chunks_do(
    rows: int, chunk: int, start: int, stop: int, row_bytes: int
) -> None:
    spans = list(chunk_spans(rows, chunk, row_bytes, start, stop))
    assert [number for first, end in spans for number in range(first, end)] == list(range(start, stop))
    for _, end in spans[:-1]:
        assert end % (chunk if row_bytes == 1 else 1) == 0
    limit = max(rows * row_bytes, 256 << 20)
    assert all((end - first) * row_bytes <= limit for first, end in spans)
