"""Folders made by `save_to_disk`, read without `datasets`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import everything, noise
from smalti.errors import SourceError
from smalti.sources.open import open_source
from smalti.sources.tables.table_files import ArrowPart, is_saved_dataset

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets

FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})


def made(rows: int, seed: int = 0) -> "datasets.Dataset":
    images = [Image.fromarray(image) for image in noise(rows, 4, 5, 3, seed=seed)]
    return datasets.Dataset.from_dict({"image": images, "label": [row % 2 for row in range(rows)]}, features=FEATURES)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_saved_dataset_is_a_source(tmp_path: Path, shards: int) -> None:
    made(7).save_to_disk(tmp_path / "set", num_shards=shards)
    source = open_source(tmp_path / "set")
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels, noise(7, 4, 5, 3))
    np.testing.assert_array_equal(batch.labels, np.arange(7) % 2)
    assert (source.class_names, batch.fields) == (("cat", "dog"), {})


def test_splits_become_a_field_in_their_own_order(tmp_path: Path) -> None:
    splits = {"train": made(5), "test": made(2, seed=1)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    batch = everything(open_source(tmp_path / "set"))
    np.testing.assert_array_equal(batch.pixels, np.concatenate([noise(5, 4, 5, 3), noise(2, 4, 5, 3, seed=1)]))
    assert batch.fields == {"split": ["train"] * 5 + ["test"] * 2}


def test_a_selection_is_saved_as_what_it_selects(tmp_path: Path) -> None:
    made(7).select([5, 2]).save_to_disk(tmp_path / "set")
    np.testing.assert_array_equal(everything(open_source(tmp_path / "set")).pixels, noise(7, 4, 5, 3)[[5, 2]])


def test_ranges_and_arrays(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Array3D((4, 5, 3), "uint8")})
    images = noise(7, 4, 5, 3)
    datasets.Dataset.from_dict({"image": list(images)}, features=features).save_to_disk(tmp_path / "set", num_shards=2)
    source = open_source(tmp_path / "set")
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in source.batches(2, 2, 6)]), images[2:6])


def test_it_is_read_without_datasets(tmp_path: Path) -> None:
    made(3).save_to_disk(tmp_path / "set")
    code = (
        "import sys; sys.modules['datasets'] = None; from smalti.sources.open import open_source;"
        f"print(sum(len(batch) for batch in open_source({str(tmp_path / 'set')!r}).batches(2)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "3\n"


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert not is_saved_dataset(tmp_path)
    for text in ("[]", "{", '{"steps": 3}'):
        (tmp_path / "state.json").write_text(text)
        assert not is_saved_dataset(tmp_path)
    assert not is_saved_dataset("memory://set")


@pytest.mark.parametrize(
    "name", ["../a.arrow", "/etc/passwd", "a/b.arrow", "a\\b.arrow", "c:a.arrow", "", "a.bin", None]
)
def test_file_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(SourceError, match="names no files of Arrow in its folder"):
        open_source(tmp_path)


@pytest.mark.parametrize("splits", [["../a"], ["a/b"], [".."], [""], [1], [], "train", None])
def test_splits_that_lead_elsewhere_are_refused(tmp_path: Path, splits: object) -> None:
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(SourceError, match=r"names no splits|is no name of a split"):
        open_source(tmp_path)


def test_selections_of_old_releases_are_refused(tmp_path: Path) -> None:
    state = {"_data_files": [{"filename": "a.arrow"}], "_indices_data_files": [{"filename": "indices.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(SourceError, match="flatten_indices"):
        open_source(tmp_path)


def test_missing_and_damaged_files_are_one_line(tmp_path: Path) -> None:
    made(20).save_to_disk(tmp_path)
    (path,) = tmp_path.glob("*.arrow")
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 80):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            everything(open_source(tmp_path))
        except SourceError as error:
            assert "\n" not in str(error)
    for size in (0, 3, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match="cannot be read") as raised:
            open_source(tmp_path)
        assert "\n" not in str(raised.value)
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(tmp_path)


def test_only_what_is_asked_for_is_taken_from_a_file(tmp_path: Path) -> None:
    made(500).save_to_disk(tmp_path)
    (path,) = tmp_path.glob("*.arrow")
    found = [
        range(start, start + len(batch)) for start, batch in ArrowPart(path).batches(["label"], np.array([250, 270]))
    ]
    assert found and all(250 in rows or 270 in rows for rows in found)
    assert sum(map(len, found)) < 500
