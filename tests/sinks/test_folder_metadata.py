import json
from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import assert_same, everything, noise, save
from smalti.errors import SmaltiError
from smalti.images.batch import ImageBatch
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_source


def write(out: Path, batch: ImageBatch, class_names: tuple[str, ...] | None = None, *, overwrite: bool = False) -> None:
    with open_image_writer(out, None, len(batch), class_names=class_names, overwrite=overwrite) as writer:
        for start in range(0, len(batch), 2):
            writer.write(batch.part(start, start + 2))


def rows_in(folder: Path) -> list[dict[str, object]] | None:
    path = folder / "metadata.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else None


@pytest.mark.parametrize(
    "files",
    [
        ["0.png", "1.png"],
        ["one/0.png", "one/deep/1.png"],
        ["a/0.png", "b/0.png", "b/c/1.png"],
        ["a/0.png", "b/0.png", "stray.png"],
        ["test/a/0.png", "test/b/0.png", "train/a/0.png", "train/b/1.png"],
        ["train/0.png", "train/1.png", "val/0.png"],
    ],
)
def test_a_folder_of_png_files_is_written_as_it_was(tmp_path: Path, files: list[str]) -> None:
    for number, file in enumerate(files):
        save(tmp_path / "in" / file, noise(4, 4, seed=number))
    source = open_source(tmp_path / "in")
    write(tmp_path / "out", everything(source), source.class_names)
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == sorted(files)
    back = open_source(tmp_path / "out")
    assert_same(everything(back), everything(source))
    assert everything(back).fields == everything(source).fields and back.class_names == source.class_names


@pytest.mark.parametrize(
    ("labels", "names", "class_names", "fields"),
    [
        ([0, 1], ("b/0.png", "a/0.png"), None, {}),  # the order
        ([1, 0], ("a/0.png", "b/0.png"), None, {}),  # the numbers of labels
        ([0, 1], ("a/0.png", "a/1.png"), None, {}),  # two labels in a folder
        ([0, 0], ("a/0.png", "b/1.png"), None, {}),  # one label for two folders
        ([0, 0], ("a/0.png", "a/1.png"), None, {}),  # one folder is no class
        ([0, 1], ("a/0.png", "b/0.png"), ("a", "x"), {}),  # the names of classes
        ([0, 1], ("a/0.png", "b/0.png"), ("a", "b", "unused"), {}),
        (None, ("a/0.png", "b/0.png"), None, {}),  # no labels
        (None, ("a.jpg", "b.png"), None, {}),  # a name
        (None, None, None, {"n": [1, None]}),
        (None, ("train/a/0.png", "train/b/0.png"), None, {"split": ["train", "other"]}),
        ([0, 1], ("train/0.png", "val/0.png"), None, {"split": ["train", "val"]}),  # splits, not classes
    ],
)
def test_what_files_do_not_tell_is_in_rows(
    tmp_path: Path,
    labels: list[int] | None,
    names: tuple[str, ...] | None,
    class_names: tuple[str, ...] | None,
    fields: dict[str, list[int | str | None]],
) -> None:
    batch = ImageBatch(noise(2, 3, 3, 1), None if labels is None else np.array(labels), names, fields)
    write(tmp_path / "out", batch, class_names)
    assert rows_in(tmp_path / "out") is not None
    found = open_source(tmp_path / "out")
    assert_same(everything(found), batch if names else ImageBatch(batch.pixels, None, ("000000.png", "000001.png")))
    assert everything(found).fields == batch.fields and found.class_names == class_names


def test_rows_are_those_of_image_folders(tmp_path: Path) -> None:
    batch = ImageBatch(noise(2, 3, 3, 1), np.array([1, 0]), ("b.jpg", "é/a.png"), {"n": [3, None], "t": ["x", "\n"]})
    write(tmp_path / "out", batch, ("no", "yes"))
    assert rows_in(tmp_path / "out") == [
        {"file_name": "b.png", "label": 1, "__name__": "b.jpg", "n": 3, "t": "x"},
        {"file_name": "é/a.png", "label": 0, "n": None, "t": "\n"},
    ]
    assert json.loads((tmp_path / "out" / "class_names.json").read_text()) == ["no", "yes"]


def test_hugging_face_datasets_reads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    batch = ImageBatch(noise(3, 4, 5, 3), np.array([1, 0, 1]), ("c.png", "a.png", "b.png"), {"age": [41, None, 7]})
    write(tmp_path / "out", batch)
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = {row["age"]: row for row in found}
    assert {age: row["label"] for age, row in rows.items()} == {41: 1, None: 0, 7: 1}
    for age, pixels in zip((41, None, 7), batch.pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(rows[age]["image"]), pixels)


@pytest.mark.parametrize(("name", "instead"), [("file_name", "tar"), ("label", "tar"), ("__name__", "npy")])
def test_fields_that_cannot_be_told_from_ours_are_refused(tmp_path: Path, name: str, instead: str) -> None:
    batch = ImageBatch(noise(1, 3, 3, 1), np.array([1]), fields={name: [0.5]})
    with pytest.raises(SmaltiError, match=rf"field '{name}' .* write \.{instead}"):
        write(tmp_path / "out", batch)
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_is_no_class_stays_a_field(tmp_path: Path) -> None:
    batch = ImageBatch(noise(2, 3, 3, 1), None, ("0.png", "1.png"), {"label": [0.5, None]})
    write(tmp_path / "out", batch)
    found = everything(open_source(tmp_path / "out"))
    assert found.labels is None and found.fields == batch.fields


def test_overwriting_removes_rows_of_other_images(tmp_path: Path) -> None:
    write(tmp_path / "out", ImageBatch(noise(2, 3, 3, 1), np.array([5, 6]), fields={"n": [1, 2]}), ("x",))
    assert {"metadata.jsonl", "class_names.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    write(tmp_path / "out", ImageBatch(noise(2, 3, 3, 1)), overwrite=True)
    assert not {"metadata.jsonl", "class_names.json"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_a_folder_of_images_called_as_the_rows_are_is_refused(tmp_path: Path) -> None:
    batch = ImageBatch(noise(1, 3, 3, 1), names=("metadata.jsonl/a.png",), fields={"n": [1]})
    with pytest.raises(SmaltiError, match=r"metadata\.jsonl: is a folder of images"):
        write(tmp_path / "out", batch)
    assert list(tmp_path.iterdir()) == []
