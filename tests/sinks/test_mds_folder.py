"""Shards of MDS as an output: the bytes of MosaicML Streaming, and a round trip that loses nothing.

`tests/data/shards/make.py` wrote `one_shape` and `any_shape` with mosaicml-streaming 0.13.0, which is too large to be
installed here. Once, by hand, its `StreamingDataset` (Pillow 13.0.0) read back outputs of this writer: PNG files of
8 bits and 1 to 4 channels, of grey 16 bits, arrays of signed and of deep colour pixels, several shards, all
kinds of fields with gaps; every value was equal.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.image_files import assert_same, everything, noise
from smalti.errors import OutputExistsError, SmaltiError
from smalti.images.batch import ImageBatch, Pixels
from smalti.sinks import mds_folder
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_groups, open_source

WRITTEN = Path(__file__).parents[1] / "data" / "shards" / "mds"
FIELDS = {
    "count": [-(2**63), 0, 7],
    "dose": [0.1, -0.0, float("inf")],
    "site": ["", "é", "猫 x"],
    "age": [41, None, -3],
    "ok": [True, False, True],
    "mixed": [1, "ü", 0.5],
    "gone": [None] * 3,
}


def write(out: Path, batch: ImageBatch, class_names: Sequence[str] | None = None, **options: Any) -> None:
    """Write image by image."""
    with open_image_writer(
        out, batch.pixels.shape[1:], len(batch), dtype=batch.pixels.dtype, class_names=class_names, **options
    ) as writer:
        for start in range(len(batch)):
            writer.write(batch.part(start, start + 1))


def write_several(out: Path, batches: Sequence[ImageBatch]) -> None:
    """Write batches whose images differ in shape or dtype."""
    with open_image_writer(out, None, sum(map(len, batches))) as writer:
        for batch in batches:
            writer.write(batch)


def signed(*shape: int, seed: int) -> Pixels:
    found: Pixels = np.random.default_rng(seed).integers(0, 1 << 15, shape, dtype=np.int16)
    return found


def encodings(folder: Path) -> list[dict[str, str]]:
    """Return the encodings of the columns of each shard."""
    shards = json.loads((folder / "index.json").read_text())["shards"]
    return [dict(zip(shard["column_names"], shard["column_encodings"], strict=True)) for shard in shards]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bytes_are_those_of_mosaicml_streaming(tmp_path: Path) -> None:
    pixels = np.stack([signed(4, 5, 1, seed=seed) - 20_000 for seed in range(3)])
    names = ("a/1.dcm", "b.dcm#0", "ü.dcm")
    write(tmp_path / "a.mds", ImageBatch(pixels, np.array([2, 0, -1]), names, FIELDS))
    assert files_in(tmp_path / "a.mds") == files_in(WRITTEN / "one_shape")


def test_bytes_of_images_of_several_shapes_are_those_of_mosaicml_streaming(tmp_path: Path) -> None:
    deep = np.random.default_rng(2).integers(0, 1 << 16, (2, 300, 3), dtype=np.uint16)
    images: list[Pixels] = [noise(4, 5, 3, seed=1), deep, (signed(6, 5, seed=3) - 9)[..., None]]
    write_several(tmp_path / "a.mds", [ImageBatch(image[None]) for image in images])
    assert files_in(tmp_path / "a.mds") == files_in(WRITTEN / "any_shape")


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding"),
    [
        *(("uint8", channels, "png") for channels in (1, 2, 3, 4)),
        ("uint16", 1, "png"),
        ("uint16", 2, "ndarray:uint16:4,5,2"),
        ("uint16", 3, "ndarray:uint16:4,5,3"),
        ("int16", 1, "ndarray:int16:4,5"),
        ("int16", 4, "ndarray:int16:4,5,4"),
    ],
)
def test_pixels_come_back(tmp_path: Path, dtype: str, channels: int, encoding: str) -> None:
    kind = np.iinfo(dtype)
    pixels = np.random.default_rng(1).integers(kind.min, kind.max + 1, (3, 4, 5, channels)).astype(dtype)
    batch = ImageBatch(pixels, np.array([1, 0, 1]), ("c.png", "a.png", "b.png"), FIELDS)
    write(tmp_path / "a.mds", batch, ["no", "yes", "unused"])
    source = open_source(tmp_path / "a.mds")
    found = everything(source)
    assert_same(found, batch)
    assert (found.pixels.dtype, source.class_names) == (batch.pixels.dtype, ("no", "yes", "unused"))
    assert {name: list(values) for name, values in found.fields.items()} == FIELDS
    assert encodings(tmp_path / "a.mds")[0]["image"] == encoding


def test_columns_have_one_encoding_in_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mds_folder, "_SHARD_BYTES", 2_000)
    pixels = noise(40, 8, 8, 3)
    late: dict[str, list[Any]] = {
        "gap": [*range(39), None],
        "text": [*map(str, range(39)), 39],
        "real": [*[0.5] * 39, None],
        "whole": [*range(40)],
    }
    batch = ImageBatch(pixels, np.arange(40) % 3, tuple(f"ü/{n}.png" for n in range(40)), late)
    write(tmp_path / "a.mds", batch)
    found = everything(open_source(tmp_path / "a.mds"))
    assert_same(found, batch)
    for name, values in late.items():
        assert [(type(value), value) for value in found.fields[name]] == [(type(value), value) for value in values]
    kinds = encodings(tmp_path / "a.mds")
    assert len(kinds) > 5
    assert all(kind == kinds[0] for kind in kinds)
    assert (kinds[0]["gap"], kinds[0]["whole"]) == ("json", "int64")
    assert max(path.stat().st_size for path in (tmp_path / "a.mds").glob("*.mds")) <= 2_000


def test_later_images_that_png_does_not_hold_turn_all_into_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mds_folder, "_SHARD_BYTES", 1_000)
    grey16 = np.random.default_rng(5).integers(0, 1 << 16, (3, 7, 6, 1), dtype=np.uint16)
    parts = [ImageBatch(noise(9, 4, 5, 3)), ImageBatch(grey16), ImageBatch(signed(2, 5, 5, 1, seed=1))]
    write_several(tmp_path / "png.mds", parts[:2])
    write_several(tmp_path / "arrays.mds", parts)
    assert {kind["image"] for kind in encodings(tmp_path / "png.mds")} == {"png"}
    assert {kind["image"] for kind in encodings(tmp_path / "arrays.mds")} == {"ndarray"}
    assert max(path.stat().st_size for path in (tmp_path / "arrays.mds").glob("*.mds")) <= 1_000
    groups = list(open_groups(tmp_path / "arrays.mds"))
    assert len(groups) == 3
    for group, part in zip(groups, parts, strict=True):
        np.testing.assert_array_equal(everything(group).pixels, part.pixels)


def test_images_without_what_others_have(tmp_path: Path) -> None:
    full = ImageBatch(noise(1, 4, 5, 1), np.array([3]), ("a.png",), {"age": [4]})
    write_several(tmp_path / "a.mds", [ImageBatch(noise(2, 4, 5, 1, seed=1)), full, ImageBatch(noise(1, 4, 5, 1))])
    found = everything(open_source(tmp_path / "a.mds"))
    assert found.labels is not None
    assert found.labels.tolist() == [-1, -1, 3, -1]
    assert list(found.fields["name"]) == [None, None, "a.png", None]
    assert list(found.fields["age"]) == [None, None, 4, None]
    assert encodings(tmp_path / "a.mds")[0]["label"] == "int64"


@pytest.mark.parametrize("name", ["label", "Class", "target", "file_name", "path", "cls"])
def test_fields_that_readers_would_take_for_labels_or_names_stay_fields(tmp_path: Path, name: str) -> None:
    values = ["x", "y", "x"]
    write(tmp_path / "a.mds", ImageBatch(noise(3, 4, 5, 1), fields={name: values}))
    found = everything(open_source(tmp_path / "a.mds"))
    assert (found.labels, found.names) == (None, None)
    assert list(found.fields[name]) == values


@pytest.mark.parametrize("name", ["image", "label", "file_name"])
def test_fields_with_the_names_of_columns_are_refused(tmp_path: Path, name: str) -> None:
    batch = ImageBatch(noise(1, 4, 5, 1), np.array([0]), ("a.png",), {name: [1]})
    with pytest.raises(SmaltiError, match=f"field '{name}' would be taken"):
        write(tmp_path / "a.mds", batch)
    assert list(tmp_path.iterdir()) == []


def test_names_that_utf8_does_not_hold_are_refused_and_texts_are_json(tmp_path: Path) -> None:
    write(tmp_path / "a.mds", ImageBatch(noise(1, 4, 5, 1), fields={"text": ["\ud800"]}))
    assert everything(open_source(tmp_path / "a.mds")).fields["text"] == ["\ud800"]
    with pytest.raises(SmaltiError, match=r"is no text in UTF-8; write \.tar"):
        write(tmp_path / "b.mds", ImageBatch(noise(1, 4, 5, 1), names=("\ud800.png",)))


def test_an_existing_folder_is_replaced_only_with_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mds_folder, "_SHARD_BYTES", 1_000)
    write(tmp_path / "a.mds", ImageBatch(noise(9, 8, 8, 3), np.zeros(9, np.int64)), ["old"])
    (tmp_path / "a.mds" / "notes.txt").write_text("mine")
    few = ImageBatch(noise(1, 8, 8, 3, seed=4))
    with pytest.raises(OutputExistsError):
        write(tmp_path / "a.mds", few)
    write(tmp_path / "a.mds", few, overwrite=True)
    assert sorted(files_in(tmp_path / "a.mds")) == ["index.json", "notes.txt", "shard.00000.mds"]
    source = open_source(tmp_path / "a.mds")
    assert source.class_names is None
    assert_same(everything(source), few)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="stop"),
        open_image_writer(tmp_path / "a.mds", (4, 5, 1), 2) as writer,
    ):
        writer.write(ImageBatch(noise(1, 4, 5, 1)))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_overwrite_leaves_no_index_that_mixes_old_and_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mds_folder, "_SHARD_BYTES", 1_000)
    write(tmp_path / "a.mds", ImageBatch(noise(9, 8, 8, 3)))
    replaced = []
    replace = Path.replace

    def stop_at_the_second(path: Path, target: Path) -> Path:
        replaced.append(target.name)
        if len(replaced) == 2:
            raise RuntimeError("stop")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop_at_the_second)
    with pytest.raises(RuntimeError, match="stop"):
        write(tmp_path / "a.mds", ImageBatch(noise(9, 8, 8, 3, seed=1)), overwrite=True)
    assert replaced == ["shard.00000.mds", "shard.00001.mds"]
    assert "index.json" not in files_in(tmp_path / "a.mds")


def test_splits_with_other_class_names_are_refused(tmp_path: Path) -> None:
    batch = ImageBatch(noise(2, 4, 5, 1), np.array([0, 1]))
    (tmp_path / "set").mkdir()
    for split in ("train", "val"):
        write(tmp_path / f"{split}.mds", batch, ["a", "b"])
        (tmp_path / f"{split}.mds").rename(tmp_path / "set" / split)
    source = open_source(tmp_path / "set")
    assert source.class_names == ("a", "b")
    assert list(everything(source).fields["split"]) == ["train", "train", "val", "val"]
    (tmp_path / "set" / "val" / "class_names.json").write_text('["b", "a"]')
    with pytest.raises(SmaltiError, match="has other class names than the files before"):
        open_source(tmp_path / "set")


def test_an_image_beyond_a_sample_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mds_folder, "_MAX_SAMPLE_BYTES", 1_000)
    with pytest.raises(SmaltiError, match="a sample holds 1 GiB"):
        write(tmp_path / "a.mds", ImageBatch(signed(1, 40, 40, 1, seed=0)))
    assert list(tmp_path.iterdir()) == []
