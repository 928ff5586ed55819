"""A source never drops data silently: it refuses, skips with a reason, or warns in one line."""

import io
import json
import logging
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.array_containers import WRITERS
from helpers.image_files import everything, noise, reasons, save
from smalti.errors import SourceError
from smalti.sinks.sink import open_image_writer
from smalti.sources.entry_range import member_files
from smalti.sources.folder.metadata import read_metadata
from smalti.sources.named.named import SETS, validation_of
from smalti.sources.open import open_source

torch = pytest.importorskip("torch", reason="tensors as labels need torch")

every_kind = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(5, 6, seed=seed)).save(file, "png")
    return file.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


@pytest.mark.parametrize(
    ("train", "test"),
    [("mnist/train", "mnist/test"), ("fashion-mnist/train", "fashion-mnist/test"), ("cifar-10/train", "cifar-10/test")],
)
def test_a_named_set_says_which_part_validates_another(train: str, test: str) -> None:
    assert validation_of(train) == test
    assert [validation_of(name) for name in (test, train.partition("/")[0], "photos/train")] == [None] * 3


def test_every_set_of_two_parts_has_a_part_that_validates() -> None:
    for one in SETS:
        names = {part.name for part in one.parts}
        assert (validation_of(f"{one.name}/train") is not None) == (names == {"train", "test"})


@every_kind
def test_labels_of_another_length_are_refused(tmp_path: Path, write) -> None:
    path = write(tmp_path, {"images": noise(4, 8, 8), "labels": np.array([0, 1, 0])})
    with pytest.raises(SourceError, match=r"labels: has shape \[3\] beside 4 images; give one label for each"):
        open_source(path)


@every_kind
def test_other_columns_of_another_length_are_told(tmp_path: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {"images": noise(4, 8, 8), "age": np.arange(3), "labels": np.array([0, 1, 0, 1])}
    assert everything(open_source(write(tmp_path, arrays))).fields == {}
    assert "left out, because there is not one value for each of the 4 images: age [3]" in said(caplog)


@every_kind
def test_labels_that_are_no_integers_are_told(tmp_path: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, {"images": noise(3, 8, 8), "label": np.array([0.0, 1.0, np.nan])})
    assert list(everything(open_source(path)).fields) == ["label"]
    assert "holds float64; labels are integers or texts, so it is kept as a field" in said(caplog)


@every_kind
def test_the_shapes_that_were_found_are_said(tmp_path: Path, write) -> None:
    arrays = {"train_images": noise(2, 8, 8, 8), "other": noise(2, 8, 8, 9)}
    with pytest.raises(SourceError, match=r"none of them of images.*uint8 \[2, 8, 8, 8\]"):
        open_source(write(tmp_path, arrays))


@pytest.mark.parametrize("values", [{"cat": 0, "dog": 1, "eel": 2}, {"cat": 5, "dog": 9, "eel": 7}])
def test_the_names_of_an_enumeration_in_hdf5_are_class_names(tmp_path: Path, values: dict[str, int]) -> None:
    words = ["dog", "cat", "eel", "dog"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = noise(4, 8, 8)
        kind = h5py.enum_dtype(values, basetype="i1")
        file.create_dataset("labels", data=np.array([values[word] for word in words], "i1"), dtype=kind)
    source = open_source(tmp_path / "a.h5")
    labels = everything(source).labels
    assert labels is not None and source.class_names is not None
    assert [source.class_names[label] for label in labels] == words
    assert source.class_names == ("cat", "dog", "eel")


def test_labels_of_an_npy_file_may_have_an_axis_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(4, 8, 8))
    np.save(tmp_path / "a.labels.npy", np.array([[0], [1], [0], [1]]))
    labels = everything(open_source(tmp_path / "a.npy")).labels
    assert labels is not None and labels.tolist() == [0, 1, 0, 1]


def test_one_colour_image_saved_as_an_array_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", noise(40, 50, 3))
    assert len(open_source(tmp_path / "a.npy")) == 40
    assert "is read as 40 grey images of 50x3; if it is one colour image" in said(caplog)
    caplog.clear()
    for shape in ((40, 50, 60), (1, 40, 50, 3), (3, 4, 3)):
        open_source(noise(*shape))
    assert said(caplog) == ""


def test_a_second_array_behind_the_first_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, noise(4, 8, 8))
        np.save(file, noise(4, 8, 8, seed=1))
    with pytest.raises(SourceError, match="384 bytes follow the array that its header announces"):
        open_source(tmp_path / "a.npy")


def test_an_array_in_fortran_order_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(noise(9, 80, 80)))
    batches = open_source(tmp_path / "a.npy").batches(2)
    next(batches)
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(SourceError, match=r"a\.npy: changed while it was read; start again"):
        list(batches)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], torch.arange(4), np.arange(4)])
def test_labels_of_an_array_are_whatever_numpy_takes_for_an_array(labels: object) -> None:
    found = everything(open_source(noise(4, 8, 8), labels=labels)).labels  # type: ignore[arg-type]
    assert found is not None and found.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("labels", [[0, 1, [2], 3], [0, 1, None, 3], ["a", "b", "c", "d"], torch.zeros(4)])
def test_other_labels_of_an_array_are_refused_in_words(labels: object) -> None:
    with pytest.raises(SourceError, match=r"labels of array: .*integers"):
        open_source(noise(4, 8, 8), labels=labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"words", b"\x1f\x8b damaged", b"RIFF1234AVI "])
def test_a_file_of_no_kind_says_what_may_be_given(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xyz").write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.xyz: is of no kind that is read.*give a folder of image files"):
        open_source(tmp_path / "a.xyz")


def test_a_key_with_a_dot_is_told_with_the_key(tmp_path: Path) -> None:
    source = open_source(tar(tmp_path / "a.tar", {"22.05.png": png(), "22.05.cls": b"3"}))
    assert reasons(source) == {"22.05.cls": "its key ends at its first dot (22), so that it is no .cls; name it 22.cls"}


def test_a_folder_of_img2dataset_is_its_tar_files(tmp_path: Path) -> None:
    for shard in range(2):
        name = f"{shard:05}"
        tar(tmp_path / f"{name}.tar", {f"{name}0.png": png(shard), f"{name}0.json": b'{"width": 6}'})
        pq.write_table(pa.table({"url": ["http://a"], "status": ["success"]}), tmp_path / f"{name}.parquet")
        (tmp_path / f"{name}_stats.json").write_text("{}")
    assert everything(open_source(tmp_path)).names == ("000000.png", "000010.png")
    assert member_files(str(tmp_path)) == ("00000.tar", "00001.tar")


def test_labels_of_some_images_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(tar(tmp_path / "a.tar", {"a.png": png(), "a.cls": b"3", "b.png": png(1)}))
    assert everything(source).fields == {"label": [3, None]}
    assert "1 of 2 images have no label; the labels are kept as the field 'label'" in said(caplog)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False], [0, "a"]])
def test_a_label_of_metadata_that_is_none_is_told(
    tmp_path: Path, labels: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"file_name": f"{name}.png", "label": label} for name, label in zip("ab", labels, strict=True)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for name in "ab":
        save(tmp_path / f"{name}.png", noise(4, 4))
    assert everything(open_source(tmp_path)).fields == {"label": labels}
    assert "'label' holds no labels" in said(caplog)


@pytest.mark.parametrize("name", ["label", "labels"])
def test_a_column_of_labels_that_are_none_is_told(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    pq.write_table(table([None, None]).append_column(name, [[0.0, None]]), tmp_path / "a.parquet")
    assert everything(open_source(tmp_path / "a.parquet")).fields[name] == [0.0, None]
    assert f"'{name}' holds no labels" in said(caplog)


def test_a_column_of_several_kinds_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"file_name": "a.png", "n": 1, "x": 1}, {"file_name": "b.png", "n": 2.5, "x": "one"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    read_metadata(tmp_path / "metadata.jsonl")
    assert said(caplog).endswith("values of several kinds, which become texts, in x")


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity", "-infinity", "nan"])
def test_infinities_of_csv_are_numbers(tmp_path: Path, cell: str) -> None:
    (tmp_path / "metadata.csv").write_text(f"file_name,x\na.png,{cell}\nb.png,1\n")
    table = read_metadata(tmp_path / "metadata.csv")
    assert table is not None
    np.testing.assert_array_equal(table.columns["x"], [float(cell), 1.0])


def table(paths: list[str | None]) -> pa.Table:
    images = [{"bytes": png(seed), "path": path} for seed, path in enumerate(paths)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    names = [f"{number}.png" for number in range(len(paths))]
    return pa.table({"image": pa.array(images, kind), "file_name": names, "x": list(range(len(paths)))})


def test_a_column_of_names_serves_images_without_paths(tmp_path: Path) -> None:
    pq.write_table(table([None, None, None]), tmp_path / "a.parquet")
    batch = everything(open_source(tmp_path / "a.parquet"))
    assert batch.names == ("0.png", "1.png", "2.png")
    assert batch.fields == {"x": [0, 1, 2]}
    with open_image_writer(tmp_path / "out", (5, 6, 1), 3) as writer:
        writer.write(batch)
    assert (tmp_path / "out" / "1.png").is_file()


def test_paths_of_images_win_over_a_column_of_names(tmp_path: Path) -> None:
    pq.write_table(table(["a.png", "b.png"]), tmp_path / "a.parquet")
    batch = everything(open_source(tmp_path / "a.parquet"))
    assert batch.names == ("a.png", "b.png")
    assert batch.fields == {"file_name": ["0.png", "1.png"], "x": [0, 1]}


def test_a_column_of_names_serves_a_dataset_without_paths() -> None:
    datasets = pytest.importorskip("datasets", reason="an object of Hugging Face datasets")
    made = datasets.Dataset(table([None, None])).cast_column("image", datasets.Image())
    assert everything(open_source(made)).names == ("0.png", "1.png")
