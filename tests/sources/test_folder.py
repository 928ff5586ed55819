import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.image_files import assert_same, everything, noise, png_bytes, reasons, save
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch
from smalti.sources.folder.listing import list_folder
from smalti.sources.open import open_groups, open_source


def test_names_labels_and_order_come_from_paths(tmp_path: Path) -> None:
    names = ["a b/2.png", "a/z/1.png", "a-b/0.png", "a/10.png", "a/9.png", "ä/ü.png", "B/x.png"]
    pixels = {name: noise(4, 5, seed=index) for index, name in enumerate(names)}
    for name in random.Random(1).sample(names, len(names)):
        save(tmp_path / name, pixels[name])
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    source = open_source(tmp_path)
    found = everything(source)
    # Part by part by code point: "a" before "a b" and "a-b", although " " and "-" come before "/".
    expected = ["B/x.png", "a/10.png", "a/9.png", "a/z/1.png", "a b/2.png", "a-b/0.png", "ä/ü.png"]
    assert found.names == tuple(expected)
    assert source.class_names == ("B", "a", "a b", "a-b", "ä")
    assert found.labels is not None and found.labels.tolist() == [0, 1, 1, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.pixels[..., 0], np.stack([pixels[name] for name in expected]))
    assert source.skipped == ()


def test_there_are_no_labels_with_one_folder_or_images_outside_folders(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", noise(3, 3))
    assert open_source(tmp_path).class_names is None
    save(tmp_path / "b" / "1.png", noise(3, 3))
    assert open_source(tmp_path).class_names == ("a", "b")
    (tmp_path / "readme.txt").write_text("not an image, so it does not matter where it is")
    assert open_source(tmp_path).class_names == ("a", "b")
    save(tmp_path / "c.png", noise(3, 3))
    source = open_source(tmp_path)
    assert source.class_names is None
    assert everything(source).labels is None


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "tiff", "gif", "webp"])
def test_lossless_kinds_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = noise(6, 7) if suffix == "gif" else noise(6, 7, 3)
    save(tmp_path / f"a.{suffix}", pixels, **({"lossless": True} if suffix == "webp" else {}))
    found = everything(open_source(tmp_path)).pixels[0]
    np.testing.assert_array_equal(found if suffix != "gif" else found[..., :1], pixels.reshape(6, 7, -1))


def test_jpeg_is_read(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", np.full((8, 8), 77, np.uint8), quality=95)
    save(tmp_path / "b.jpeg", np.full((8, 8), 77, np.uint8), quality=95)
    assert np.unique(everything(open_source(tmp_path)).pixels).tolist() == [77]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_eight_bit_modes_are_kept(tmp_path: Path, mode: str, channels: int) -> None:
    pixels = noise(6, 7, channels)
    save(tmp_path / "a.png", pixels[..., 0] if channels == 1 else pixels)
    source = open_source(tmp_path)
    assert source.image_shape == (6, 7, channels)
    np.testing.assert_array_equal(everything(source).pixels[0], pixels)


def test_black_and_white_becomes_grey(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.where(noise(6, 7) > 127, np.uint8(255), np.uint8(0)), "1")
    assert open_source(tmp_path).image_shape == (6, 7, 1)
    assert np.unique(everything(open_source(tmp_path)).pixels).tolist() == [0, 255]


def test_palettes_become_colours_with_alpha_if_there_is_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 2))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    (tmp_path / "opaque").mkdir()
    palette.save(tmp_path / "opaque" / "a.png")
    found = everything(open_source(tmp_path / "opaque")).pixels[0]
    assert found.tolist() == [[[10, 20, 30], [40, 50, 60]], [[10, 20, 30], [10, 20, 30]]]
    palette.save(tmp_path / "a.png", transparency=1)
    found = everything(open_source(tmp_path)).pixels[0]
    assert found[0].tolist() == [[10, 20, 30, 255], [40, 50, 60, 0]]


def test_a_transparent_colour_becomes_an_alpha_channel(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[5, 9]], np.uint8))
    image.save(tmp_path / "a.png", transparency=9)
    assert everything(open_source(tmp_path)).pixels[0].tolist() == [[[5, 255], [9, 0]]]


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    pixels = noise(4, 6)
    save(tmp_path / "a.png", pixels, exif=exif)
    np.testing.assert_array_equal(everything(open_source(tmp_path)).pixels[0, ..., 0], np.rot90(pixels, -1))


def bad_files(root: Path) -> dict[str, str]:
    """Fill a folder with files that are skipped; return words of each reason."""
    wide = Image.fromarray(np.full((4, 4), 40000, np.uint16))
    wide.save(root / "16.png")
    wide.save(root / "16.tif")
    (root / "16rgb.png").write_bytes(png_bytes(2, 16, b"\1\2" * 12, 4, 4))
    (root / "16rgba.png").write_bytes(png_bytes(6, 16, b"\1\2" * 16, 4, 4))
    (root / "16la.png").write_bytes(png_bytes(4, 16, b"\1\2" * 8, 4, 4))
    Image.fromarray(np.ones((4, 4), np.float32)).save(root / "float.tif")
    Image.fromarray(np.ones((4, 4), np.int32)).save(root / "int.tif")
    for mode in ("CMYK", "LAB", "YCbCr"):
        Image.new("RGB", (4, 4)).save(root / "x.tif") if mode == "LAB" else None
        Image.new(mode, (4, 4)).save(root / f"{mode}.tif")
    (root / "x.tif").unlink()
    (root / "zero.png").write_bytes(b"")
    (root / "text.png").write_text("this is a text, whatever it is called")
    whole = save(root / "cut.png", noise(40, 40))
    whole.write_bytes(whole.read_bytes()[:900])
    photo = save(root / "cut.jpg", noise(40, 40))
    photo.write_bytes(photo.read_bytes()[:900])
    save(root / "large.png", noise(5, 4))
    save(root / "colour.png", noise(4, 4, 3))
    (root / "notes.txt").write_text("notes")
    save(root / "bomb.png", np.zeros((60, 60), np.uint8))
    return {
        "16.png": "4x4 L of 16 bits; most are 4x4 L",
        "16.tif": "4x4 L of 16 bits; most are 4x4 L",
        "16rgb.png": "4x4 RGB of 16 bits; most are 4x4 L",
        "16rgba.png": "4x4 RGBA of 16 bits; most are 4x4 L",
        "16la.png": "4x4 LA of 16 bits; most are 4x4 L",
        "float.tif": "32-bit samples",
        "int.tif": "32-bit samples",
        "CMYK.tif": "4x4 RGB; most are 4x4 L",
        "LAB.tif": "colour mode LAB",
        "YCbCr.tif": "colour mode YCbCr",
        "zero.png": "empty file",
        "text.png": "not an image",
        "cut.png": "unreadable",
        "cut.jpg": "unreadable",
        "large.png": "5x4 L; most are 4x4 L",
        "colour.png": "4x4 RGB; most are 4x4 L",
        "notes.txt": "suffix",
        "bomb.png": "too many pixels",
    }


def test_everything_else_is_passed_over_with_a_reason_in_each_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    expected = bad_files(tmp_path)
    save(tmp_path / "0.png", noise(4, 4, seed=1))
    save(tmp_path / "zz" / "1.png", noise(4, 4, seed=2))
    for ignored in (".hidden.png", ".DS_Store", "Thumbs.db", ".dot/a.png"):
        (tmp_path / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / ignored).write_bytes(b"?")
    source = open_source(tmp_path)
    first, second = everything(source), everything(source, 1)
    assert_same(first, second)
    assert first.names == ("0.png", "zz/1.png")
    found = reasons(source)
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name], (name, found[name])
        assert "\n" not in found[name]
    assert len(source) >= len(first)


def test_a_folder_without_a_readable_image_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no files"):
        open_source(tmp_path)
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"0\.png: empty file; 1\.png: .*; 2\.png: empty file; and 2 more"):
        open_source(tmp_path)


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "x.png" / "y.png", noise(4, 4))
    assert everything(open_source(tmp_path)).names == ("x.png/y.png",)


def test_a_file_that_becomes_unreadable_between_passes_is_an_error(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", noise(4, 4))
    source = open_source(tmp_path)
    everything(source)
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"2\.png: changed while it was read"):
        everything(source)


def test_a_file_that_becomes_readable_stays_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "0.png", noise(4, 4))
    (tmp_path / "1.png").write_bytes(b"")
    source = open_source(tmp_path)
    everything(source)
    save(tmp_path / "1.png", noise(4, 4))
    assert everything(source).names == ("0.png",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_links_cannot_hang_it(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    save(root / "a" / "0.png", noise(4, 4))
    save(elsewhere / "deep" / "1.png", noise(4, 4))
    os.mkfifo(root / "pipe.png")
    (root / "nowhere.png").symlink_to("missing")
    (root / "itself.png").symlink_to("itself.png")
    (root / "file.png").symlink_to("a/0.png")
    (root / "up").symlink_to(tmp_path)
    (root / "a" / "loop").symlink_to("..")
    (root / "out").symlink_to(elsewhere)
    (root / "out2").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    listing = list_folder(root)
    assert listing.names == ("a/0.png", "file.png", "out/deep/1.png")
    assert [file.name for file in listing.skipped] == [
        *("a/loop", "itself.png", "nowhere.png", "out/back", "out2", "pipe.png"),
        *("up/elsewhere", "up/root"),
    ]


@pytest.mark.skipif(os.name != "posix", reason="needs names of bytes")
def test_names_that_are_no_unicode_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "ok.png", noise(4, 4))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes((tmp_path / "ok.png").read_bytes())
    source = open_source(tmp_path)
    assert everything(source).names == ("ok.png",)
    assert reasons(source) == {"\\udcff.png": "name is not valid UTF-8; rename it"}


def test_one_odd_image_in_front_does_not_decide_on_the_shape(tmp_path: Path) -> None:
    save(tmp_path / "0.png", noise(4, 4, seed=1))
    for number in (1, 2, 3):
        save(tmp_path / f"{number}.png", noise(5, 6, seed=number))
    source = open_source(tmp_path)
    assert source.image_shape == (5, 6, 1)
    assert everything(source).names == ("1.png", "2.png", "3.png")
    assert reasons(source) == {"0.png": "4x4 L; most are 5x6 L"}


def test_of_equally_many_shapes_the_one_met_first_decides(tmp_path: Path) -> None:
    save(tmp_path / "0.png", noise(4, 4, seed=1))
    save(tmp_path / "1.png", noise(5, 6, seed=2))
    assert open_source(tmp_path).image_shape == (4, 4, 1)


def save_all(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        save(root / name, noise(4, 4, seed=seed))


def test_folders_called_as_splits_are_a_field_and_classes_are_shared_over_them(tmp_path: Path) -> None:
    save_all(tmp_path, "train/dog/1.png", "train/cat/1.png", "test/dog/1.png", "validation/emu/a/1.png")
    source = open_source(tmp_path)
    found = everything(source)
    assert found.names == ("test/dog/1.png", "train/cat/1.png", "train/dog/1.png", "validation/emu/a/1.png")
    assert source.class_names == ("cat", "dog", "emu")
    assert found.labels is not None and found.labels.tolist() == [1, 0, 1, 2]
    assert found.fields == {"split": ["test", "train", "train", "validation"]}


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    save_all(tmp_path, "Train/1.png", "test/1.png")
    source = open_source(tmp_path)
    found = everything(source)
    assert (source.class_names, found.labels, found.fields) == (None, None, {"split": ["Train", "test"]})


def test_one_folder_that_is_no_split_makes_all_classes(tmp_path: Path) -> None:
    save_all(tmp_path, "train/1.png", "boat/1.png")
    source = open_source(tmp_path)
    assert source.class_names == ("boat", "train")
    assert everything(source).fields == {}


def test_rows_of_metadata_are_columns_and_give_labels_and_order(tmp_path: Path) -> None:
    save_all(tmp_path, "a/0.png", "b/1.png", "2.png", "3.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,label,age,seen,note\n3.png,zebra,3,true,\na/0.png,ant,1.5,false,x\n./b/1.png,ant,,,y\n"
        "nowhere.png,ant,1,true,z\n../3.png,ant,1,true,z\n,ant,,,\n"
    )
    source = open_source(tmp_path)
    found = everything(source, 2)
    assert found.names == ("3.png", "a/0.png", "b/1.png", "2.png")
    assert source.class_names is None
    assert found.labels is None  # of 2.png nothing is said, so labels are a field
    assert found.fields == {
        "age": [3.0, 1.5, None, None],
        "seen": [True, False, None, None],
        "note": [None, "x", "y", None],
        "label": ["zebra", "ant", "ant", None],
    }
    assert reasons(source) == {
        "nowhere.png": "metadata.csv: named by a row, but there is no such image file",
        "../3.png": "metadata.csv: named by a row, but there is no such image file",
        "metadata.csv, row 6": "metadata.csv: a row without a file name",
    }
    (tmp_path / "2.png").unlink()
    source = open_source(tmp_path)
    found = everything(source, 2)
    assert source.class_names == ("ant", "zebra")
    assert found.labels is not None and found.labels.tolist() == [1, 0, 0]
    assert "label" not in found.fields


def test_files_without_a_row_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_all(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "a": 1}\n')
    assert everything(open_source(tmp_path)).names == ("1.png", "0.png", "2.png")
    assert "2 image files have no row in metadata.jsonl (0.png)" in caplog.text
    caplog.clear()
    (tmp_path / "2.png").unlink()
    open_source(tmp_path)
    assert "1 image file has no row in metadata.jsonl (0.png)" in caplog.text


def test_rows_may_stand_in_each_split_and_name_a_file_twice(tmp_path: Path) -> None:
    save_all(tmp_path, "train/0.png", "test/0.png")
    (tmp_path / "train/metadata.jsonl").write_text(
        '{"file_name": "0.png", "text": "one"}\n{"file_name": "0.png", "text": "two", "split": "mine"}\n'
    )
    (tmp_path / "test/metadata.csv").write_text("file_name,more\n0.png,5\n")
    source = open_source(tmp_path)
    found = everything(source)
    assert found.names == ("test/0.png", "train/0.png", "train/0.png")
    assert found.fields == {
        "more": [5, None, None],
        "text": [None, "one", "two"],
        "split": ["test", "train", "mine"],
    }
    assert source.skipped == ()


def test_numbers_are_labels_and_may_have_names(tmp_path: Path) -> None:
    save_all(tmp_path, "0.png", "1.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,1\n1.png,0\n")
    source = open_source(tmp_path)
    labels = everything(source).labels
    assert labels is not None and labels.tolist() == [1, 0]
    assert source.class_names is None
    (tmp_path / "class_names.json").write_text('["no", "yes"]')
    assert open_source(tmp_path).class_names == ("no", "yes")
    (tmp_path / "class_names.json").write_text('["no"]')
    assert open_source(tmp_path).class_names == ("no",)  # a label may have no name
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,0.5\n1.png,0\n")
    found = everything(open_source(tmp_path))
    assert (found.labels, found.fields) == (None, {"label": [0.5, 0.0]})


def test_rows_in_parquet_and_two_files_of_rows(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    save_all(tmp_path, "0.png", "1.png")
    pq.write_table(pa.table({"file_name": ["1.png", "0.png"], "n": [1, 2]}), tmp_path / "metadata.parquet")
    found = everything(open_source(tmp_path))
    assert (found.names, found.fields) == (("1.png", "0.png"), {"n": [1, 2]})
    (tmp_path / "metadata.csv").write_text("file_name\n")
    with pytest.raises(SourceError, match=r"both metadata\.csv and metadata\.parquet"):
        open_source(tmp_path)


def test_a_file_called_metadata_of_another_use_is_passed_over(tmp_path: Path) -> None:
    save_all(tmp_path, "0.png")
    (tmp_path / "metadata.csv").write_text("camera,lens\na,b\n")
    source = open_source(tmp_path)
    assert everything(source).fields == {}
    assert reasons(source) == {"metadata.csv": "has no column file_name, so tells nothing of image files"}


def test_hugging_face_reads_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="compares with Hugging Face datasets")
    save_all(tmp_path / "photos", "train/0.png", "train/1.png", "test/0.png")
    for split, rows in {"train": "0.png,ant,5\n1.png,bee,6\n", "test": "0.png,bee,7\n"}.items():
        (tmp_path / "photos" / split / "metadata.csv").write_text("file_name,name,n\n" + rows)
    found = everything(open_source(tmp_path / "photos"))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "photos"), cache_dir=str(tmp_path / "cache"))
    expected = [
        (split, row["name"], row["n"], np.asarray(row["image"]).tolist())
        for split in ("test", "train")
        for row in loaded[split]
    ]
    pixels = [image[..., 0].tolist() for image in found.pixels]
    assert list(zip(found.fields["split"], found.fields["name"], found.fields["n"], pixels, strict=True)) == expected


def test_what_was_converted_is_said_in_columns_for_all_images_or_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "0.png", noise(6, 4, 3))
    assert everything(open_source(tmp_path)).fields == {}
    save(tmp_path / "1.png", noise(4, 6, 3), exif=exif)
    save(tmp_path / "2.png", noise(6, 4, 3), "P")
    Image.fromarray(noise(6, 4, 4), "CMYK").save(tmp_path / "3.tif")
    assert everything(open_source(tmp_path)).fields == {
        "source_mode": [None, None, "P", "CMYK"],
        "source_orientation": [None, 6, None, None],
    }


def test_images_of_mixed_shapes_and_depths_are_groups(tmp_path: Path) -> None:
    shapes = [(4, 4), (4, 4, 3), (4, 4), (5, 4), (4, 4, 3), (4, 4)]
    for number, shape in enumerate(shapes):
        save(tmp_path / ("ab"[number % 2]) / f"{number}.png", noise(*shape, seed=number))
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a" / "9.png")
    (tmp_path / "a" / "bad.png").write_bytes(b"")
    (tmp_path / "a" / "bad.txt").write_bytes(b"")
    save(tmp_path / "b" / "cut.png", noise(40, 40))
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "cut.png").read_bytes()[:900])
    groups = open_groups(tmp_path)
    assert [(group.image_shape, str(group.dtype)) for group in groups] == [
        ((4, 4, 1), "uint8"),
        ((4, 4, 3), "uint8"),
        ((4, 4, 1), "uint16"),
        ((5, 4, 1), "uint8"),
    ]
    found = [everything(group) for group in groups]
    assert [one.names for one in found] == [
        ("a/0.png", "a/2.png", "b/5.png"),
        ("a/4.png", "b/1.png"),
        ("a/9.png",),
        ("b/3.png",),
    ]
    assert [one.labels.tolist() for one in found if one.labels is not None] == [[0, 0, 1], [0, 1], [0], [1]]
    assert [group.class_names for group in groups] == [("a", "b")] * 4
    assert found[2].pixels.tolist() == [[[[40000]] * 4] * 4]
    told = [file.name for group in groups for file in group.skipped]
    assert sorted(told) == ["a/bad.png", "a/bad.txt", "b/cut.png"]
    usual = open_source(tmp_path)
    assert everything(usual).names == ("a/0.png", "a/2.png", "b/5.png")
    assert reasons(usual)["a/9.png"] == "4x4 L of 16 bits; most are 4x4 L"
    assert len(usual.skipped) == 3 + 4


def test_parts_of_a_source_are_those_of_the_whole(tmp_path: Path) -> None:
    save_all(tmp_path, *(f"{number:02}.png" for number in range(11)))
    for bad in (3, 7):
        whole = (tmp_path / f"{bad:02}.png").read_bytes()
        (tmp_path / f"{bad:02}.png").write_bytes(whole[:-30])  # the header is fine
    names = everything(open_source(tmp_path)).names
    assert names is not None and len(names) == 9
    source = open_source(tmp_path)
    assert len(source) == 11
    shards = [ImageBatch.joined(list(source.batches(2, start, start + 4))).names for start in (8, 0, 4)]
    assert [name for shard in (shards[1], shards[2], shards[0]) for name in shard or ()] == list(names)
    assert list(source.batches(5, 11)) == [] == list(source.batches(5, 4, 4))
    assert [len(batch) for batch in source.batches(4)] == [4, 4, 1]


def test_folders_behind_urls_are_read_as_local_ones(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="reads URLs")
    save_all(tmp_path, "train/b/1.png", "train/a/1.png", "test/a/0.png")
    (tmp_path / "test/metadata.csv").write_text("file_name,n\na/0.png,5\n")
    (tmp_path / "notes.txt").write_text("?")
    (tmp_path / ".hidden.png").write_text("?")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/photos-of-test-folder", recursive=True)
    near, far = open_source(tmp_path), open_source("memory://photos-of-test-folder")
    assert_same(everything(far), everything(near))
    assert (
        everything(far).fields == everything(near).fields == {"n": [5, None, None], "split": ["test", "train", "train"]}
    )
    assert far.class_names == near.class_names == ("a", "b")
    assert reasons(far) == reasons(near)


PARTS = st.text("aB_ -.0é9", min_size=1, max_size=3).filter(lambda part: part[0] != "." and part.strip(" ."))


@given(st.sets(st.lists(PARTS, min_size=1, max_size=3).map("/".join), min_size=1, max_size=12), st.randoms())
@settings(max_examples=30)
def test_the_order_is_part_by_part_by_code_point(paths: set[str], shuffled: random.Random) -> None:
    names = [f"{path}!.png" for path in paths]  # so that no file is called as a folder is
    shuffled.shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            save(Path(folder) / name, noise(2, 2))
        source = open_source(Path(folder))
        found = [name for batch in source.batches(5) for name in batch.names or ()]
    assert found == sorted(names, key=lambda name: [[ord(letter) for letter in part] for part in name.split("/")])
    assert source.skipped == ()
