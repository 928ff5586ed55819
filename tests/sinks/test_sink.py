import errno
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_files import assert_same, everything, noise, reasons, save
from smalti.errors import OutputExistsError, SmaltiError, UsageError
from smalti.images.batch import ImageBatch
from smalti.sinks import png_folder
from smalti.sinks.sink import check_output_name, open_image_writer
from smalti.sources.open import open_source


def write(out: Path, batch: ImageBatch, *, overwrite: bool = False, class_names: list[str] | None = None) -> None:
    """Write in batches of two."""
    shape = batch.pixels.shape[1:]
    with open_image_writer(out, shape, len(batch), overwrite=overwrite, class_names=class_names) as writer:
        for start in range(0, len(batch), 2):
            writer.write(batch.part(start, start + 2))


def left_in(folder: Path) -> list[str]:
    """List all files below a folder, also hidden ones."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_folder_to_folder_keeps_names_labels_classes_order_and_pixels(tmp_path: Path, channels: int) -> None:
    for index, name in enumerate(["b/1.png", "b/x/2.PNG", "a/3.png", "ü ñ/猫.png"]):
        pixels = noise(4, 5, channels, seed=index)
        save(tmp_path / "in" / name, pixels[..., 0] if channels == 1 else pixels)
    source = open_source(tmp_path / "in")
    write(tmp_path / "out", everything(source))
    back = open_source(tmp_path / "out")
    assert_same(everything(back), everything(source))
    assert (back.class_names, back.image_shape) == (source.class_names, source.image_shape)
    assert left_in(tmp_path / "out") == left_in(tmp_path / "in")


@pytest.mark.parametrize("labels", [None, np.array([3, 0, 255, 1, 1])])
@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *(("a.npy", 1), ("a.npy", 3), ("a-idx3-ubyte", 1), ("a.idx3-ubyte", 1), ("a-images-idx3-ubyte", 1)),
        *(("a-idx3-ubyte.gz", 1), ("train-images.idx3-ubyte.gz", 1)),
    ],
)
def test_one_file_keeps_pixels_and_labels(tmp_path: Path, name: str, channels: int, labels: np.ndarray | None) -> None:
    batch = ImageBatch(noise(5, 4, 6, channels), labels)
    write(tmp_path / name, batch)
    assert_same(everything(open_source(tmp_path / name)), batch)
    assert len(left_in(tmp_path)) == (1 if labels is None else 2)


def test_the_same_images_make_the_same_bytes(tmp_path: Path) -> None:
    batch = ImageBatch(noise(5, 4, 6, 1), np.arange(5))
    write(tmp_path / "a-idx3-ubyte.gz", batch)
    first = (tmp_path / "a-idx3-ubyte.gz").read_bytes()
    write(tmp_path / "a-idx3-ubyte.gz", batch, overwrite=True)
    assert (tmp_path / "a-idx3-ubyte.gz").read_bytes() == first
    assert gzip.decompress(first)[16:] == batch.pixels.tobytes()


def test_images_without_names_are_numbered_by_class(tmp_path: Path) -> None:
    pixels = noise(3, 4, 4, 1)
    write(tmp_path / "plain", ImageBatch(pixels))
    assert left_in(tmp_path / "plain") == ["000000.png", "000001.png", "000002.png"]
    labelled = ImageBatch(pixels, np.array([1, 0, 7]))
    write(tmp_path / "labels", labelled)
    files = ["0", "0/000001.png", "1", "1/000000.png", "7", "7/000002.png"]
    assert left_in(tmp_path / "labels") == [*files, "metadata.jsonl"]  # 7 is no class folder's number
    write(tmp_path / "classes", labelled, class_names=["cat", "dog"])
    files = ["7", "7/000002.png", "cat", "cat/000001.png", "class_names.json", "dog", "dog/000000.png"]
    assert left_in(tmp_path / "classes") == [*files, "metadata.jsonl"]
    write(tmp_path / "told", ImageBatch(pixels, np.array([0, 0, 1])), class_names=["cat", "dog"])
    assert left_in(tmp_path / "told") == ["cat", "cat/000000.png", "cat/000001.png", "dog", "dog/000002.png"]


def test_suffixes_become_png_and_no_image_hides_another(tmp_path: Path) -> None:
    names = ("b.bmp", "b.jpg", "b.png", "c.tar.tif", "d", "b.jpg", "e.PNG")
    pixels = noise(len(names), 4, 4, 1)
    write(tmp_path / "out", ImageBatch(pixels, names=names))
    written = ["b.png", "b.jpg.png", "b.png.png", "c.tar.png", "d.png", "b.jpg.2.png", "e.PNG"]
    assert left_in(tmp_path / "out") == sorted([*written, "metadata.jsonl"])
    (tmp_path / "out" / "metadata.jsonl").unlink()
    found = everything(open_source(tmp_path / "out"))
    assert found.names is not None
    for name, image in zip(found.names, found.pixels, strict=True):
        np.testing.assert_array_equal(image, pixels[written.index(name)])


def test_very_many_images_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SmaltiError, match="more than 100 images of this name"):
        write(tmp_path / "out", ImageBatch(noise(120, 1, 1, 1), names=("a.png",) * 120))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        *("../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", "C:a.png", "c:", "..\\a.png", "\\\\host\\a", "a\\b"),
        *("", ".", "..", "a//b.png", "a/", "./a.png", ".ssh/a.png", ".a.png", "a\0b.png", "a\nb.png", "a:b.png"),
        *("con", "NUL.png", "a/Aux.x.png", "com1", "LPT9.jpg", "com¹.png", "nul .png", "a./b.png", "a /b.png"),
        *("a?.png", "a*.png", 'a".png', "a|b", "<a>", "\ud800.png", "a\x7f.png"),
    ],
)
def test_unsafe_names_are_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "base").mkdir()
    names = ("fine.png", name)
    with pytest.raises(SmaltiError, match="no file is made of it") as raised:
        write(tmp_path / "base" / "out", ImageBatch(noise(2, 4, 4, 1), names=names))
    assert "\n" not in str(raised.value)
    assert left_in(tmp_path) == ["base"]


@pytest.mark.parametrize("name", ["..", "a/b", "/x", "con"])
def test_unsafe_class_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SmaltiError, match="is made of it"):
        write(tmp_path / "out", ImageBatch(noise(1, 4, 4, 1), np.array([0])), class_names=[name])
    assert left_in(tmp_path) == []


@given(name=st.text(max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_name_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    base = tmp_path_factory.mktemp("base")
    try:
        write(base / "out", ImageBatch(noise(1, 2, 2, 1), names=(name,)))
    except SmaltiError:
        assert left_in(base) == []
    else:
        assert [path.name for path in base.iterdir()] == ["out"]
        assert everything(open_source(base / "out")).pixels.shape == (1, 2, 2, 1)


def test_an_existing_output_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    batch = ImageBatch(noise(3, 4, 4, 1), np.arange(3))
    for name, file in {"a.npy": "a.npy", "b.npy": "b.labels.npy", "c-idx3-ubyte": "c-idx3-ubyte", "d": "d"}.items():
        (tmp_path / file).write_text("mine")
        with pytest.raises(OutputExistsError):
            write(tmp_path / name, batch)
        assert (tmp_path / file).read_text() == "mine"
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine").touch()
    with pytest.raises(OutputExistsError, match="not empty"):
        write(tmp_path / "e", batch)
    (tmp_path / "f.npy").mkdir()
    with pytest.raises(OutputExistsError, match="is a folder"):
        write(tmp_path / "f.npy", batch, overwrite=True)
    assert left_in(tmp_path) == ["a.npy", "b.labels.npy", "c-idx3-ubyte", "d", "e", "e/mine", "f.npy"]


def test_overwriting_replaces_files_and_leaves_foreign_ones(tmp_path: Path) -> None:
    save(tmp_path / "out" / "a" / "0.png", noise(9, 9))
    (tmp_path / "out" / "a" / "notes.txt").write_text("mine")
    batch = ImageBatch(noise(2, 4, 4, 1), np.arange(2), names=("a/0.png", "b/1.png"))
    write(tmp_path / "out", batch, overwrite=True)
    assert_same(everything(open_source(tmp_path / "out")), batch)
    assert left_in(tmp_path / "out") == ["a", "a/0.png", "a/notes.txt", "b", "b/1.png"]


def test_overwriting_refuses_folders_in_the_place_of_files_before_it_replaces_any(tmp_path: Path) -> None:
    save(tmp_path / "out" / "a.png", noise(9, 9))
    (tmp_path / "out" / "b.png").mkdir()
    with pytest.raises(OutputExistsError, match=r"b\.png"):
        write(tmp_path / "out", ImageBatch(noise(2, 4, 4, 1), names=("a.png", "b.png")), overwrite=True)
    assert open_source(tmp_path / "out").image_shape == (9, 9, 1)
    assert left_in(tmp_path / "out") == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte"])
def test_overwriting_without_labels_removes_those_of_the_old_images(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ImageBatch(noise(3, 4, 4, 1), np.arange(3)))
    batch = ImageBatch(noise(3, 4, 4, 1, seed=1))
    write(tmp_path / name, batch, overwrite=True)
    assert_same(everything(open_source(tmp_path / name)), batch)


def test_an_existing_empty_folder_is_filled_in_place(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    write(tmp_path / "out", ImageBatch(noise(2, 4, 4, 1)))
    assert (tmp_path / "out").stat().st_ino == inode  # a shell may stand in it
    assert left_in(tmp_path / "out") == ["000000.png", "000001.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SmaltiError, RuntimeError])
@pytest.mark.parametrize("name", ["out", "empty", "full", "a.npy", "a-idx3-ubyte.gz"])
def test_an_interruption_leaves_what_was_there(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "full" / "000000.png", noise(9, 9))
    before = left_in(tmp_path)
    batch = ImageBatch(noise(3, 4, 4, 1), np.arange(3))
    with pytest.raises(error), open_image_writer(tmp_path / name, (4, 4, 1), 9, overwrite=True) as writer:
        writer.write(batch)
        raise error
    assert left_in(tmp_path) == before


def test_an_interruption_while_an_empty_folder_is_filled_empties_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    real, calls = Path.replace, iter(range(9))

    def replace(self: Path, target: Path) -> Path:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", ImageBatch(noise(4, 4, 4, 1), np.arange(4)))
    assert left_in(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["out", "a.npy", "a-idx3-ubyte", "a-idx3-ubyte.gz"])
@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "make room"), (errno.EROFS, "can be written")])
def test_a_refusal_of_the_system_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, words: str
) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(png_folder, "image_file", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SmaltiError, match=words) as raised:
        write(tmp_path / name, ImageBatch(noise(3, 4, 4, 1)))
    assert str(tmp_path / name) in str(raised.value)
    assert left_in(tmp_path) == []


def full_device() -> BinaryIO:
    return Path("/dev/full").open("r+b", buffering=8192)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_does_not_hide_behind_a_second_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smalti.storage.atomic._open_nameless", lambda folder: full_device())
    for name in ("a.npy", "a-idx3-ubyte.gz"):
        with pytest.raises(SmaltiError, match="No space left on device; make room"):
            write(tmp_path / name, ImageBatch(noise(9, 90, 90, 1)))


def test_missing_folders_and_long_names_are_one_line(tmp_path: Path) -> None:
    for name in ("missing/out", "missing/a.npy"):
        with pytest.raises(SmaltiError, match="make the folder first"):
            write(tmp_path / name, ImageBatch(noise(1, 4, 4, 1)))
    with pytest.raises(SmaltiError, match="shorter name"):
        write(tmp_path / "out", ImageBatch(noise(1, 4, 4, 1), names=("x" * 400,)))
    with pytest.raises(SmaltiError, match="collide"):
        write(tmp_path / "out", ImageBatch(noise(2, 4, 4, 1), names=("a.png", "a.png/b.png")))
    assert left_in(tmp_path) == []


def test_fewer_images_than_announced_are_written_as_they_are(tmp_path: Path) -> None:
    batch = ImageBatch(noise(3, 4, 4, 1), np.arange(3))
    for name in ("a.npy", "a-idx3-ubyte", "out"):
        with open_image_writer(tmp_path / name, (4, 4, 1), 1000) as writer:
            writer.write(batch)
        np.testing.assert_array_equal(everything(open_source(tmp_path / name)).pixels, batch.pixels)
    with (
        pytest.raises(SmaltiError, match=r"without \.gz"),
        open_image_writer(tmp_path / "b-idx3-ubyte.gz", (4, 4, 1), 4) as writer,
    ):
        writer.write(batch)


def test_outputs_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one channel"):
        check_output_name(Path("a-idx3-ubyte"), (4, 4, 3))
    for name in ("a.png", "a.npz", "a.zip", "a.gz", "a.smalti"):
        with pytest.raises(UsageError, match="cannot be written"):
            check_output_name(Path(name), (4, 4, 1))
    with pytest.raises(SmaltiError, match=r"0\.\.255"):
        write(tmp_path / "a-idx3-ubyte", ImageBatch(noise(1, 4, 4, 1), np.array([256])))
    assert left_in(tmp_path) == []


def test_wrong_batches_are_programming_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images of"), open_image_writer(tmp_path / "a.npy", (4, 4, 1), 2) as writer:
        writer.write(ImageBatch(noise(1, 4, 5, 1)))


def test_images_without_labels_among_others_have_minus_one(tmp_path: Path) -> None:
    with open_image_writer(tmp_path / "a.npy", (4, 4, 1), 3) as writer:
        writer.write(ImageBatch(noise(1, 4, 4, 1)))
        writer.write(ImageBatch(noise(1, 4, 4, 1), np.array([1]), ("x.png",)))
        writer.write(ImageBatch(noise(1, 4, 4, 1)))
    assert np.load(tmp_path / "a.labels.npy").tolist() == [-1, 1, -1]
    assert (tmp_path / "a.metadata.jsonl").read_text().splitlines() == ["{}", '{"file_name": "x.png"}', "{}"]


def test_skipped_reasons_of_a_written_folder_are_none(tmp_path: Path) -> None:
    write(tmp_path / "out", ImageBatch(noise(2, 4, 4, 4)))
    assert reasons(open_source(tmp_path / "out")) == {}
