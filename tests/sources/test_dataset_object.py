"""Objects of Hugging Face `datasets` as sources: stored, iterable, and by split."""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import smalti
from helpers.image_files import everything, noise
from smalti.errors import OutputError, SourceError, UsageError
from smalti.sources.open import open_source
from smalti.sources.tables import dataset_object
from smalti.sources.tables.dataset_object import is_dataset_object, spool_rows
from smalti.storage.spool import spool_folder

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets

CLASSES = datasets.ClassLabel(names=["cat", "dog"])
FEATURES = datasets.Features({"image": datasets.Image(), "label": CLASSES, "lens": datasets.Value("string")})
IMAGES = noise(7, 4, 5, 3)


def rows() -> Iterator[dict[str, Any]]:
    for number, image in enumerate(IMAGES):
        yield {"image": Image.fromarray(image), "label": number % 2, "lens": None if number == 3 else f"l{number}"}


def stored() -> "datasets.Dataset":
    return datasets.Dataset.from_list(list(rows()), features=FEATURES)


def assert_all(source: Any) -> None:
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels, IMAGES)
    np.testing.assert_array_equal(batch.labels, np.arange(7) % 2)
    assert source.class_names == ("cat", "dog")
    assert batch.fields == {"lens": ["l0", "l1", "l2", None, "l4", "l5", "l6"]}


@pytest.mark.parametrize("format_type", [None, "numpy", "arrow"])
def test_a_dataset_is_a_source_whatever_its_format(format_type: str | None) -> None:
    assert_all(open_source(stored().with_format(format_type)))


def test_a_selection_and_ranges() -> None:
    source = open_source(stored().select([6, 1, 4]))
    np.testing.assert_array_equal(everything(source).pixels, IMAGES[[6, 1, 4]])
    np.testing.assert_array_equal(next(iter(source.batches(9, 1, 2))).pixels, IMAGES[[1]])


@pytest.mark.parametrize("kind", ["shards", "generator", "mapped"])
def test_an_iterable_dataset_is_a_source_of_any_number_of_passes(kind: str) -> None:
    made = {
        "shards": lambda: stored().to_iterable_dataset(num_shards=3),
        "generator": lambda: datasets.IterableDataset.from_generator(rows, features=FEATURES),
        "mapped": lambda: stored().to_iterable_dataset().map(lambda row: row, features=FEATURES),
    }[kind]()
    source = open_source(made)
    for _ in range(2):
        assert_all(source)
    assert len(source) == 7


def test_the_temporary_file_of_an_iterable_dataset_goes_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = open_source(stored().to_iterable_dataset())
    assert len(list(tmp_path.glob("smalti-*/*.arrow"))) == 1
    del source
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SourceError, match="no column holds images"):
        open_source(stored().remove_columns("image").to_iterable_dataset())
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_file_lies_beside_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    out = tmp_path / "x.smalti"
    source = open_source(stored().to_iterable_dataset(), spool_beside=out)
    assert len(list(tmp_path.glob(".x.smalti.*.spool/*.arrow"))) == 1
    assert_all(source)
    del source
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    smalti.compress(stored().to_iterable_dataset(), out, epochs=1, codebook_size=4)
    gc.collect()
    with smalti.open(out) as archive:
        assert len(archive) == 7
    assert list(tmp_path.glob(".*")) == []


def test_the_temporary_file_of_a_fit_lies_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = []
    monkeypatch.setattr(dataset_object, "spool_folder", lambda beside: outputs.append(beside) or spool_folder(beside))
    model = tmp_path / "x.smalti-model"
    smalti.fit(stored().to_iterable_dataset(), model, epochs=1, codebook_size=4)
    assert outputs == [model]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is known to Linux alone")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(OutputError, match="No space left on device; make room"):
        spool_rows(stored().to_iterable_dataset(), Path("/dev/full"), "rows")


def test_columns_that_are_left_out_are_not_decoded() -> None:
    def pages() -> Iterator[dict[str, Any]]:
        for row in rows():
            yield row | {"pages": [row["image"]] * 2}

    features = datasets.Features({**FEATURES, "pages": datasets.List(datasets.Image())})
    assert_all(open_source(datasets.IterableDataset.from_generator(pages, features=features)))


def test_rows_without_features_are_understood() -> None:
    def bare() -> Iterator[dict[str, Any]]:
        for number, image in enumerate(IMAGES):
            yield {"pixels": image, "label": ["ant", "bee"][number % 2], "number": number}

    source = open_source(datasets.IterableDataset.from_generator(bare))
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels, IMAGES)
    assert (source.class_names, batch.fields) == (("ant", "bee"), {"number": list(range(7))})


def test_rows_that_differ_in_type_are_one_line() -> None:
    def changing() -> Iterator[dict[str, Any]]:
        for number in range(40):
            yield {"pixels": IMAGES[0], "number": None if number < 35 else str(number)}

    with pytest.raises(SourceError, match=r"do not fit its columns: .*; say what its columns are") as raised:
        open_source(datasets.IterableDataset.from_generator(changing))
    assert "\n" not in str(raised.value)


def test_an_error_of_the_callers_own_generator_is_the_callers() -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from rows()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        open_source(datasets.IterableDataset.from_generator(failing, features=FEATURES))


@pytest.mark.parametrize("iterable", [False, True])
def test_dicts_of_splits_become_a_field(iterable: bool) -> None:
    parts = {"train": stored(), "test": stored().select([0])}
    whole = datasets.DatasetDict(parts)
    if iterable:
        whole = datasets.IterableDatasetDict({name: part.to_iterable_dataset() for name, part in parts.items()})
    batch = everything(open_source(whole))
    np.testing.assert_array_equal(batch.pixels, IMAGES[[*range(7), 0]])
    assert batch.fields["split"] == ["train"] * 7 + ["test"]


def test_files_of_the_callers_own_dataset_are_read_where_they_are(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(7)]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    made = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    (tmp_path / "2.png").unlink()
    source = open_source(made)
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels, IMAGES[[0, 1, 3, 4, 5, 6]])
    assert batch.names == ("0.png", "1.png", "3.png", "4.png", "5.png", "6.png")
    assert [file.reason for file in source.skipped] == ["holds no bytes, only the path of a file that is not there"]


def test_image_folders_as_datasets_loads_them(tmp_path: Path) -> None:
    for number, image in enumerate(IMAGES):
        folder = tmp_path / "set" / ["cat", "dog"][number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    options = {"data_dir": str(tmp_path / "set"), "split": "train", "cache_dir": str(tmp_path / "cache")}
    for streaming in (False, True):
        source = open_source(datasets.load_dataset("imagefolder", streaming=streaming, **options))
        batch = everything(source)
        np.testing.assert_array_equal(batch.pixels, IMAGES[[0, 2, 4, 6, 1, 3, 5]])
        assert (source.class_names, batch.labels.tolist()) == (("cat", "dog"), [0, 0, 0, 0, 1, 1, 1])


def test_what_is_no_dataset_is_told(tmp_path: Path) -> None:
    assert not is_dataset_object([1]) and not is_dataset_object(CLASSES)
    with pytest.raises(UsageError, match="a dataset has its own in a column"):
        open_source(stored(), labels=np.arange(7))
    with pytest.raises(SourceError, match="has no rows"):
        open_source(stored().select([]))
    with pytest.raises(SourceError, match="has no rows"):
        open_source(datasets.IterableDataset.from_generator(lambda: iter([]), features=FEATURES))
