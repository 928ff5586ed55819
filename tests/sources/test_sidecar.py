from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import everything, noise
from smalti.errors import SmaltiError, SourceError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_source

NAMES = ("b.png", "a.png", "b.png")
FIELDS = {"n": [1, None, 2**60], "x": [0.5, 1.0, float("inf")], "ok": [True, False, None], "t": ["", "é\n", None]}


def write(out: Path, batch: ImageBatch, class_names: list[str] | None = None, *, overwrite: bool = False) -> None:
    shape = batch.pixels.shape[1:]
    with open_image_writer(
        out, shape, len(batch), dtype=batch.pixels.dtype, class_names=class_names, overwrite=overwrite
    ) as writer:
        for start in range(0, len(batch), 2):
            writer.write(batch.part(start, start + 2))


def rows_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize(("name", "stem"), [("a.npy", "a"), ("a-idx3-ubyte.gz", "a-idx3-ubyte")])
def test_names_fields_and_classes_are_lines_that_anybody_reads(tmp_path: Path, name: str, stem: str) -> None:
    write(tmp_path / name, ImageBatch(noise(2, 3, 3, 1), names=NAMES[:2], fields={"n": [1, None]}), ["x", "ζ"])
    rows = rows_of(tmp_path / f"{stem}.metadata.jsonl")
    assert rows == ['{"file_name": "b.png", "n": 1}', '{"file_name": "a.png", "n": null}']
    assert (tmp_path / f"{stem}.class_names.json").read_text() == '[\n"x",\n"ζ"\n]\n'


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte"])
def test_only_what_is_known_is_written(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ImageBatch(noise(3, 3, 3, 1)))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write(tmp_path / name, ImageBatch(noise(3, 3, 3, 1), fields=FIELDS), overwrite=True)
    source = open_source(tmp_path / name)
    assert everything(source).names is None and everything(source).fields == FIELDS


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte"])
def test_overwriting_removes_what_told_of_other_images(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ImageBatch(noise(3, 3, 3, 1), np.arange(3), NAMES, FIELDS), ["x", "y", "z"])
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(SmaltiError, match="exists already"):
        write(tmp_path / name, ImageBatch(noise(2, 3, 3, 1)))
    write(tmp_path / name, ImageBatch(noise(2, 3, 3, 1)), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("beside", ["a.metadata.jsonl", "a.class_names.json", "a.labels.npy"])
def test_a_foreign_file_beside_is_refused_first(tmp_path: Path, beside: str) -> None:
    (tmp_path / beside).write_text("mine")
    with pytest.raises(SmaltiError, match="exists already"):
        write(tmp_path / "a.npy", ImageBatch(noise(1, 3, 3, 1)))
    assert [path.name for path in tmp_path.iterdir()] == [beside] and (tmp_path / beside).read_text() == "mine"


def test_nothing_is_left_beside_if_the_pixels_find_no_place(tmp_path: Path) -> None:
    with (
        pytest.raises(SmaltiError, match="came into being"),
        open_image_writer(tmp_path / "a.npy", (3, 3, 1), 1, class_names=["x"]) as writer,
    ):
        writer.write(ImageBatch(noise(1, 3, 3, 1), np.zeros(1, np.int64), ("a",)))
        (tmp_path / "a.npy").write_text("another's")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert (tmp_path / "a.npy").read_text() == "another's"


def test_a_field_called_as_the_names_are_is_refused_beside_names_only(tmp_path: Path) -> None:
    fields = {"file_name": ["x", "y", "z"]}
    with pytest.raises(SmaltiError, match=r"'file_name'.*write \.tar"):
        write(tmp_path / "a.npy", ImageBatch(noise(3, 3, 3, 1), names=NAMES, fields=fields))
    assert list(tmp_path.iterdir()) == []


def opened(tmp_path: Path, metadata: bytes | None = None, classes: bytes | None = None) -> ImageSource:
    np.save(tmp_path / "a.npy", noise(2, 3, 3))
    if metadata is not None:
        (tmp_path / "a.metadata.jsonl").write_bytes(metadata)
    if classes is not None:
        (tmp_path / "a.class_names.json").write_bytes(classes)
    return open_source(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (b'{"n": 1}\n', "1 rows beside 2 images"),
        (b"", "0 rows beside 2 images"),
        (b'{"n": 1}\n[1]\n', "line 2: is no JSON object"),
        (b'{"n": 1}\n{"n": \n', "line 2: is no JSON"),
        (b'{"n": 1}\n{"n": "\xff"}\n', "line 2: is no JSON"),
        (b'{"n": 1}\n' + b"[" * 100_000 + b"\n", "line 2: is no JSON"),
        (b'{"file_name": "a"}\n{"file_name": null}\n', "not every row has a file_name"),
    ],
)
def test_rows_that_do_not_fit_are_told_in_one_line(tmp_path: Path, metadata: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        opened(tmp_path, metadata)
    assert "a.metadata.jsonl" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("classes", [b'{"a": 1}', b"[1]", b"", b"\xff", b"[" * 100_000])
def test_class_names_that_are_none_are_told_in_one_line(tmp_path: Path, classes: bytes) -> None:
    with pytest.raises(SourceError, match=r"a\.class_names\.json: is no") as raised:
        opened(tmp_path, classes=classes)
    assert "\n" not in str(raised.value)


def test_rows_may_lack_fields(tmp_path: Path) -> None:
    source = opened(
        tmp_path, b'{"b": 2}\n\n{"a": 1, "file_name": "x"}\n'.replace(b'{"b": 2', b'{"file_name": "y", "b": 2')
    )
    batch = everything(source)
    assert batch.names == ("y", "x") and batch.fields == {"b": [2, None], "a": [None, 1]}
