"""Shards of training that are damaged or hostile: an error in one line or a skipped entry, and never anything else."""

import json
import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import lmdb
import numpy as np
import pytest

from inputs.making import noise, png
from smalti.errors import SmaltiError
from smalti.sources.open import open_entries, open_groups, open_source
from smalti.sources.records.record import Records
from smalti.sources.shards.lmdb_file import LmdbFile
from smalti.sources.shards.sample_columns import ColumnKind, columns_of_kinds

DATA = Path(__file__).parents[1] / "data" / "shards"


def copied(root: Path, name: str) -> Path:
    copy = root / Path(name).name
    (shutil.copytree if (DATA / name).is_dir() else shutil.copy)(DATA / name, copy)
    return copy


def index_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "index.json").read_text())
    return found


def write_index(folder: Path, index: object) -> None:
    (folder / "index.json").write_text(json.dumps(index))


def read_all(source: Path) -> int:
    """Read all images; return their number. Errors must be smalti's, in one line."""
    try:
        return sum(len(batch.pixels) for part in open_groups(source) for batch in part.batches(2))
    except SmaltiError as error:
        assert "\n" not in str(error)
        return 0


def damaged(path: Path) -> Iterator[None]:
    """Damage a file in many ways, one after the other."""
    data = path.read_bytes()
    choose = random.Random(1)
    for at in [*range(0, min(len(data), 64)), *choose.sample(range(len(data)), min(len(data), 60))]:
        for value in (data[at] ^ 1 << choose.randrange(8), 255):
            path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            yield
    for end in choose.sample(range(len(data)), min(len(data), 30)):
        path.write_bytes(data[:end])
        yield
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mds/scalars", "shard.00000.mds"),
        ("mds/modes", "shard.00000.mds"),
        ("mds/arrays", "shard.00000.mds"),
        ("mds/packed_zs", "shard.00001.mds.zstd"),
        ("mds/scalars", "index.json"),
        ("litdata/pil", "chunk-0-0.bin"),
        ("litdata/tensors", "chunk-0-0.bin"),
        ("litdata/nested_frames", "chunk-0-0.bin"),
        ("litdata/packed_samples", "chunk-0-0.bin"),
        ("litdata/packed_chunks", "chunk-0-0.zstd.bin"),
        ("litdata/nested_frames", "index.json"),
        ("tfrecord/encoded.tfrecord", ""),
        ("tfrecord/raw.tfrecords", ""),
        ("tensorflow/tensors.tfrecord", ""),
        ("tensorflow/a-0.tfrecord.gz", ""),
        ("recordio/several.rec", ""),
        ("recordio/split.rec", ""),
    ],
)
def test_damaged_shards(name: str, file: str, tmp_path: Path) -> None:
    source = copied(tmp_path, name)
    images = read_all(source)
    assert images
    for _ in damaged(source / file if file else source):
        assert read_all(source) <= images


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "", 7, None, "a\\b"])
def test_an_index_leads_nowhere_else(name: object, tmp_path: Path) -> None:
    mds, litdata = copied(tmp_path, "mds/pil"), copied(tmp_path, "litdata/bare")
    index = index_of(mds)
    index["shards"][0]["raw_data"]["basename"] = name
    write_index(mds, index)
    index = index_of(litdata)
    index["chunks"][0]["filename"] = name
    write_index(litdata, index)
    for folder in (mds, litdata):
        with pytest.raises(SmaltiError, match="none in its folder"):
            open_source(folder)


def test_a_size_that_no_shard_has_takes_no_memory(tmp_path: Path) -> None:
    folder = copied(tmp_path, "mds/packed_zs")
    index = index_of(folder)
    for shard in index["shards"]:
        shard["raw_data"]["bytes"] = 1 << 50
    write_index(folder, index)
    with pytest.raises(SmaltiError, match="more than a shard has"):
        open_source(folder)


def test_a_number_of_samples_that_no_shard_has_takes_no_memory(tmp_path: Path) -> None:
    folder = copied(tmp_path, "mds/pil")
    index = index_of(folder)
    index["shards"][0]["samples"] = 1 << 40
    write_index(folder, index)
    with pytest.raises(SmaltiError, match="more samples than bytes"):
        open_source(folder)
    folder = copied(tmp_path, "litdata/bare")
    index = index_of(folder)
    index["chunks"][0]["chunk_size"] = (1 << 32) - 1
    write_index(folder, index)
    with pytest.raises(SmaltiError, match="another number of samples"):
        open_source(folder)


def test_what_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    for name in ("zs", "gz", "bz", "br", "sn"):
        folder = copied(tmp_path, f"mds/packed_{name}")
        index = index_of(folder)
        for shard in index["shards"]:
            shard["raw_data"]["bytes"] -= 1
        write_index(folder, index)
        with pytest.raises(SmaltiError, match=r"another size|cannot be unpacked"):
            open_source(folder)


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    folder = copied(tmp_path, "litdata/bare")
    for key, value, words in [
        ("encryption", {"algorithm": "fernet"}, "encrypted"),
        ("item_loader", "TokensLoader", "written for TokensLoader"),
    ]:
        index = index_of(DATA / "litdata/bare")
        index["config"][key] = value
        write_index(folder, index)
        with pytest.raises(SmaltiError, match=words):
            open_source(folder)
    folder = copied(tmp_path, "mds/pil")
    index = index_of(folder)
    write_index(folder, {**index, "version": 3})
    with pytest.raises(SmaltiError, match="version 3"):
        open_source(folder)
    index["shards"][0]["format"] = "csv"
    write_index(folder, index)
    with pytest.raises(SmaltiError, match="'csv'"):
        open_source(folder)


def test_an_index_of_another_program_beside_images(tmp_path: Path) -> None:
    shutil.copy(DATA / "mds/photo.jpg", tmp_path / "a.jpg")
    (tmp_path / "index.json").write_text('{"images": []}')
    source = open_source(tmp_path)
    assert len(source) == 1
    assert [file.name for file in source.skipped] == ["index.json"]


@pytest.mark.parametrize("name", ["mds/png", "litdata/pil", "mds/packed_gz"])
def test_entries_are_counted_from_the_index_alone(name: str, tmp_path: Path) -> None:
    folder = copied(tmp_path, name)
    for path in folder.iterdir():
        if path.name != "index.json":
            path.unlink()
    records = open_entries(folder)
    assert not isinstance(records, list)
    assert len(records) == 3


@pytest.mark.parametrize("name", ["mds/png", "mds/packed_zs", "litdata/pil", "litdata/nested_frames"])
def test_some_entries(name: str) -> None:
    records: Records = open_entries(DATA / name)  # type: ignore[assignment]
    whole = [record for _, record in records.read(range(3))]
    for chosen in ([2], [0, 2], [1]):
        found = list(records.read(np.array(chosen)))
        assert [entry for entry, _ in found] == chosen
        for entry, record in found:
            assert (record.name, record.label, record.fields) == (
                whole[entry].name,
                whole[entry].label,
                whole[entry].fields,
            )


def test_a_lost_palette_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smalti"):
        open_source(DATA / "mds/palette")
    assert sum("without their palette" in line for line in caplog.messages) == 1


def framed(*records: bytes) -> bytes:
    """Return a TFRecord file of these records, with right checksums: damage within them reaches the next layer."""

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    heads = [len(record).to_bytes(8, "little") for record in records]
    return b"".join(head + masked(head) + record + masked(record) for head, record in zip(heads, records, strict=True))


@pytest.mark.parametrize("name", ["tfrecord/encoded.tfrecord", "tfrecord/raw.tfrecords", "tensorflow/tensors.tfrecord"])
def test_examples_that_are_damaged_behind_right_checksums(name: str, tmp_path: Path) -> None:
    data = (DATA / name).read_bytes()
    length = int.from_bytes(data[:8], "little")
    example, rest = data[12 : 12 + length], data[16 + length :]
    path = tmp_path / "a.tfrecord"
    choose = random.Random(2)
    for _ in range(300):
        at = choose.randrange(length)
        changed = example[:at] + bytes([choose.randrange(256)]) + example[at + 1 :]
        path.write_bytes(framed(changed if choose.random() < 0.8 else changed[:at]) + rest)
        assert read_all(path) <= 4


def test_a_record_of_an_impossible_length_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    whole = framed(b"")
    for length in (1 << 62, (1 << 64) - 1, 1 << 40):
        head = length.to_bytes(8, "little")
        crc = google_crc32c.value(head)
        path.write_bytes(head + (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little") + whole)
        with pytest.raises(SmaltiError, match="cut off"):
            open_source(path)


@pytest.mark.parametrize("name", ["tfrecord/encoded.tfrecord", "recordio/labels.rec", "recordio/split.rec"])
def test_records_are_found_by_number(name: str) -> None:
    records: Records = open_entries(DATA / name)  # type: ignore[assignment]
    whole = [record.data for _, record in records.read(range(len(records)))]
    assert [record.data for _, record in records.read(np.array([len(records) - 1]))] == whole[-1:]


def test_labels_of_different_numbers_are_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [(DATA / f"recordio/{name}.rec").read_bytes() for name in ("labels", "several")]
    (tmp_path / "a.rec").write_bytes(b"".join(parts))
    with caplog.at_level(logging.WARNING, "smalti"):
        source = open_source(tmp_path / "a.rec")
    assert len(source) == 6
    assert source.class_names is None
    assert any("different numbers" in line for line in caplog.messages)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, dict[bytes, bytes]]:
    """An LMDB file whose tree has branches, leaves and values of several pages, some of them deleted again."""
    choose = random.Random(3)
    rows = {choose.randbytes(choose.randrange(1, 200)): choose.randbytes(choose.randrange(3000)) for _ in range(200)}
    rows |= {f"{n}.png".encode(): png(noise(40, 50, seed=n)) for n in range(20)}
    with lmdb.open(str(tmp_path / "tree"), map_size=1 << 24) as environment:
        for part in range(2):
            with environment.begin(write=True) as transaction:
                for key in list(rows)[part::2]:
                    transaction.put(key, rows[key])
        with environment.begin(write=True) as transaction:
            for key in list(rows)[:60:3]:
                transaction.delete(key)
                del rows[key]
    return tmp_path / "tree", rows


def test_a_tree_has_what_its_library_wrote(tree: tuple[Path, dict[bytes, bytes]]) -> None:
    path, rows = tree
    file = LmdbFile(path / "data.mdb")
    in_order = sorted(rows.items())
    assert list(file.items(range(len(file)))) == in_order
    assert list(file.items([3, 50, 51, len(file) - 1])) == [in_order[at] for at in (3, 50, 51, -1)]
    assert all(file.get(key) == value for key, value in rows.items())
    assert file.get(b"no such key") is None
    assert file.get(b"") is None


def test_damaged_trees(tree: tuple[Path, dict[bytes, bytes]]) -> None:
    folder, _ = tree
    path = folder / "data.mdb"
    data = path.read_bytes()
    images = read_all(folder)
    assert images == 20
    choose = random.Random(4)
    pages = len(data) // 4096
    for _ in range(400):
        at = 4096 * choose.randrange(pages) + choose.choice([choose.randrange(60), choose.randrange(4096)])
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([choose.randrange(256)]))
        assert read_all(folder) <= images
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data[at : at + 1])
    for end in choose.sample(range(len(data)), 30):
        path.write_bytes(data[:end])
        assert read_all(folder) == 0


def test_a_tree_that_leads_back_to_itself_ends(tree: tuple[Path, dict[bytes, bytes]]) -> None:
    folder, _ = tree
    path = folder / "data.mdb"
    data = bytearray(path.read_bytes())
    meta = max((0, 4096), key=lambda at: int.from_bytes(data[at + 144 : at + 152], "little"))
    root = int.from_bytes(data[meta + 128 : meta + 136], "little") * 4096
    assert data[root + 10] == 1  # a branch
    for place in range(root + 16, root + int.from_bytes(data[root + 12 : root + 14], "little"), 2):
        node = root + int.from_bytes(data[place : place + 2], "little")
        data[node : node + 4] = (root // 4096).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SmaltiError, match="damaged: a tree"):
        open_source(folder)


@pytest.mark.parametrize(
    "name",
    [
        "mds/png",
        "mds/splits",
        "mds/packed_zs",
        "litdata/nested_frames",
        "tfrecord/encoded.tfrecord",
        "tfrecord/mnist-tfds",
        "tensorflow/a-*.tfrecord.gz",
        "recordio/labels.rec",
        "ome/colour.zarr.zip",
    ],
)
def test_shards_behind_urls(name: str) -> None:
    files = fsspec.filesystem("memory")
    for path in DATA.rglob("*"):
        if path.is_file() and path.relative_to(DATA).as_posix().startswith(name.partition("*")[0]):
            files.pipe(f"/shards/{path.relative_to(DATA).as_posix()}", path.read_bytes())
    source = open_source(f"memory://shards/{name}")
    assert sum(len(batch.pixels) for batch in source.batches(2)) == len(source) == 3


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({"x": "image", "y": "whole number"}, ("x", "y", None, ())),
        ({"image": "image", "x": "whole number", "y": "whole number"}, ("image", None, None, ("x", "y"))),
        ({"a": "bytes", "img": "bytes", "class": "text", "path": "text"}, ("img", "class", "path", ())),
        ({"a": "array", "b": "image", "Target": "whole number", "y": "whole number"}, ("b", "Target", None, ("y",))),
        ({"image": "image", "label": "scalar", "cls": "whole number"}, ("image", "cls", None, ("label",))),
        ({"image": "image", "label": "other", "text": "text"}, ("image", None, None, ("text",))),
    ],
)
def test_roles_of_columns(kinds: dict[str, ColumnKind], expected: tuple[object, ...]) -> None:
    found = columns_of_kinds(kinds, "shards")
    assert (found.image, found.label, found.name, found.fields) == expected
