"""Parquet as a source: files of `datasets`, and others; odd files are refused, or rows skipped with a reason."""

import datetime
import decimal
import io
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.image_files import everything, noise, reasons
from smalti.errors import SourceError
from smalti.sources.open import open_groups, open_source
from smalti.sources.tables.table_files import PARQUET_FILES, ParquetPart, split_of

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
from datasets.table import embed_table_storage


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def hugging_face(images: NDArray[np.uint8], **columns: object) -> "datasets.Dataset":
    """Make a dataset as users do."""
    labels = [number % 3 for number in range(len(images))]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "eel"])}
    known = {
        "lens": datasets.Value("string"),
        "iso": datasets.Value("int32"),
        "boxes": datasets.List(datasets.Value("int32")),
    }
    return datasets.Dataset.from_dict(
        {"image": [Image.fromarray(image) for image in images], "label": labels, **columns},
        features=datasets.Features(features | {name: known[name] for name in columns}),
    )


def plain(path: Path, rows: int = 3, **columns: object) -> Path:
    """Write a table of images without the notes of `datasets`."""
    images = {"image": [png(image) for image in noise(rows, 4, 5)]}
    pq.write_table(pa.table(images | columns), path)
    return path


def test_what_datasets_writes_keeps_labels_classes_and_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = noise(7, 6, 5)
    made = hugging_face(images, lens=["a", None, "b"] + ["c"] * 4, iso=range(7), boxes=[[1, 2]] * 7)
    made.to_parquet(tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING):
        source = open_source(tmp_path / "a.parquet")
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels[..., 0], images)
    np.testing.assert_array_equal(batch.labels, np.arange(7) % 3)
    assert source.class_names == ("cat", "dog", "eel")
    assert batch.fields == {"lens": ["a", None, "b", "c", "c", "c", "c"], "iso": list(range(7))}
    assert batch.names is None  # they came from memory
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'a.parquet'}: left out, because they hold no single number, text or time: boxes"
    ]


def test_images_from_files_bring_their_names(tmp_path: Path) -> None:
    paths = []
    for number, image in enumerate(noise(3, 6, 5)):
        paths.append(str(tmp_path / f"{number} é.png"))
        Image.fromarray(image).save(paths[-1])
    made = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    made.with_format("arrow").map(embed_table_storage, batched=True).to_parquet(tmp_path / "a.parquet")
    for path in paths:
        Path(path).unlink()  # they were copied into the table, as for the Hub
    batch = everything(open_source(tmp_path / "a.parquet"))
    assert batch.names == ("0 é.png", "1 é.png", "2 é.png")
    np.testing.assert_array_equal(batch.pixels[..., 0], noise(3, 6, 5))


def test_scalars_of_every_kind_become_fields(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8, 9, 500000)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    columns = {
        "truth": pa.array([True, None, False]),
        "small": pa.array([-1, 2, None], pa.int8()),
        "half": pa.array(np.array([0.5, 1, 2], np.float16)),
        "real": pa.array([0.1, float("inf"), None], pa.float32()),
        "text": pa.array(["a", "é", None], pa.large_string()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "time": pa.array([day, None, day], pa.timestamp("us")),
        "zoned": pa.array([day.replace(tzinfo=zone)] * 3, pa.timestamp("ms", "Europe/Paris")),
        "day": pa.array([day.date()] * 3),
        "hour": pa.array([day.time()] * 3),
        "price": pa.array([decimal.Decimal("1.20")] * 3),
    }
    batch = everything(open_source(plain(tmp_path / "a.parquet", **columns)))
    assert batch.fields == {
        "truth": [True, None, False],
        "small": [-1, 2, None],
        "half": [0.5, 1.0, 2.0],
        "real": [float(np.float32(0.1)), float("inf"), None],
        "text": ["a", "é", None],
        "kind": ["x", "y", "x"],
        "time": ["2024-05-06T07:08:09.500000", None, "2024-05-06T07:08:09.500000"],
        "zoned": ["2024-05-06T07:08:09.500+0200"] * 3,
        "day": ["2024-05-06"] * 3,
        "hour": ["07:08:09.500000"] * 3,
        "price": ["1.20"] * 3,
    }


def test_labels_that_are_texts_become_classes_in_order_of_their_names(tmp_path: Path) -> None:
    source = open_source(plain(tmp_path / "a.parquet", label=["dog", "ant", "dog"], file_name=["c", "a", "b"]))
    batch = everything(source)
    assert source.class_names == ("ant", "dog")
    np.testing.assert_array_equal(batch.labels, [1, 0, 1])
    assert batch.names == ("c", "a", "b")


def test_labels_beyond_64_bits_are_one_line(tmp_path: Path) -> None:
    labels = pa.array([0, 1, 2**63 - 1], pa.uint64())
    assert everything(open_source(plain(tmp_path / "a.parquet", label=labels))).labels.tolist() == labels.to_pylist()
    path = plain(tmp_path / "b.parquet", label=pa.array([0, 1, 2**63], pa.uint64()))
    with pytest.raises(SourceError, match=r"b\.parquet: cannot be read: Integer value"):
        open_source(path)


def test_further_columns_of_classes_become_their_names(tmp_path: Path) -> None:
    classes = {
        "fine_label": datasets.ClassLabel(names=["a", "b"]),
        "coarse_label": datasets.ClassLabel(names=["u", "v"]),
    }
    made = datasets.Dataset.from_dict(
        {"img": [png(image) for image in noise(3, 4, 4)], "coarse_label": [1, 0, -1], "fine_label": [0, 1, -1]},
        features=datasets.Features({"img": datasets.Value("binary"), **classes}),
    )
    made.to_parquet(tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    batch = everything(source)
    assert source.class_names == ("a", "b")
    np.testing.assert_array_equal(batch.labels, [0, 1, -1])  # -1 is how `datasets` says that there is no label
    assert batch.fields == {"coarse_label": ["v", "u", None]}


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.uint8())),
        pa.list_(pa.list_(pa.uint8(), 5), 4),
        pa.large_list(pa.large_list(pa.uint16())),
        pa.list_(pa.list_(pa.list_(pa.uint8(), 3))),
    ],
)
def test_lists_of_lists_are_pixels(tmp_path: Path, kind: pa.DataType) -> None:
    deep = "uint16" in str(kind)
    pixels = noise(3, 4, 5, 3) if str(kind).count("list") == 3 else noise(3, 4, 5)
    given = pixels.astype(np.uint16) * 257 if deep else pixels
    pq.write_table(pa.table({"image": pa.array(given.tolist(), kind)}), tmp_path / "a.parquet")
    batch = everything(open_source(tmp_path / "a.parquet"))
    assert batch.pixels.dtype == given.dtype
    np.testing.assert_array_equal(batch.pixels, given.reshape(batch.pixels.shape))


def test_arrays_of_datasets_are_pixels(tmp_path: Path) -> None:
    images = noise(3, 4, 5)
    features = datasets.Features({"image": datasets.Array2D((4, 5), "uint8")})
    datasets.Dataset.from_dict({"image": list(images)}, features=features).to_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(everything(open_source(tmp_path / "a.parquet")).pixels[..., 0], images)


def test_rows_without_a_readable_image_are_passed_over(tmp_path: Path) -> None:
    good = png(noise(4, 5))
    rows = [good, None, b"", good[:-30], b"no image", good]
    pq.write_table(pa.table({"image": rows, "number": range(6)}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert everything(source).fields == {"number": [0, 5]}
    assert [reason.split(":")[0] for reason in reasons(source).values()] == [
        *("no image in this row", "empty file", "damaged or unreadable"),
        "not an image, or of a kind that is not read, whatever its suffix says",
    ]
    ragged = pa.array(
        [[[1, 2], [3, 4]], [[1, 2], [3]], [[], []], None, [[1, None], [3, 4]]], pa.list_(pa.list_(pa.uint8()))
    )
    pq.write_table(pa.table({"image": ragged}), tmp_path / "b.parquet")
    source = open_source(tmp_path / "b.parquet")
    assert everything(source).pixels.tolist() == [[[[1], [2]], [[3], [4]]]]
    assert len(source.skipped) == 4


def test_images_of_several_shapes_are_groups(tmp_path: Path) -> None:
    images = [png(noise(4, 5)), png(noise(6, 6, 3)), png(noise(4, 5, seed=1))]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2]}), tmp_path / "a.parquet")
    groups = open_groups(tmp_path / "a.parquet")
    assert [(group.image_shape, everything(group).labels.tolist()) for group in groups] == [
        ((4, 5, 1), [0, 2]),
        ((6, 6, 3), [1]),
    ]


def test_paths_without_bytes_are_followed_within_the_folder_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    inside = tmp_path / "set" / "images"
    inside.mkdir(parents=True)
    for file in (secret, inside / "a.png"):
        Image.fromarray(noise(4, 5)).save(file)
    (inside / "link.png").symlink_to(secret)
    paths = [
        "images/a.png",
        str(secret),
        "../secret.png",
        "images/link.png",
        "https://host/a.png",
        "images/b.png",
        "a\0b",
    ]
    struct = pa.array(
        [{"bytes": None, "path": path} for path in [*paths, None]],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"image": struct}), tmp_path / "set" / "a.parquet")
    source = open_source(tmp_path / "set" / "a.parquet")
    batch = everything(source)
    assert batch.names == ("images/a.png",)
    np.testing.assert_array_equal(batch.pixels[0, ..., 0], noise(4, 5))
    told = [file.reason for file in source.skipped]
    out = "holds no bytes, only a path that leads out of the folder of its table"
    assert sorted(told) == sorted(
        [
            *(out, out, out),
            "holds no bytes, only the address of a file, which is not followed",
            "holds no bytes, only the path of a file that is not there",
            "holds no bytes, only a path that cannot be one",
            "neither bytes nor a path",
        ]
    )


def test_a_folder_of_shards_is_one_source_with_its_splits(tmp_path: Path) -> None:
    images = noise(9, 4, 5)
    (tmp_path / "data").mkdir()
    hugging_face(images[:4]).to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    hugging_face(images[4:7]).to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    hugging_face(images[7:]).to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("of a repository")
    source = open_source(tmp_path)
    batch = everything(source)
    np.testing.assert_array_equal(batch.pixels[..., 0], images[[7, 8, 0, 1, 2, 3, 4, 5, 6]])
    assert batch.fields == {"split": ["test"] * 2 + ["train"] * 7}
    assert source.class_names == ("cat", "dog", "eel")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00004.parquet", "train"),
        ("data/night-00000-of-00004.parquet", "night"),
        ("test.parquet", "test"),
        ("validation_3.parquet", "validation"),
        ("default/train/0000.parquet", "train"),
        ("default/partial-train/0000.parquet", "train"),
        ("part-0.parquet", None),
        ("trainer.parquet", None),
    ],
)
def test_file_names_tell_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_a_folder_with_images_is_no_folder_of_tables(tmp_path: Path) -> None:
    plain(tmp_path / "metadata.parquet", label=[1, 2, 3])
    assert not PARQUET_FILES.is_folder(tmp_path)
    plain(tmp_path / "a.parquet")
    assert PARQUET_FILES.is_folder(tmp_path)
    Image.fromarray(noise(4, 5)).save(tmp_path / "a.png")
    assert not PARQUET_FILES.is_folder(tmp_path)


def test_ranges_read_only_the_row_groups_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(20, 4, 5)
    table = pa.table({"image": [png(image) for image in images], "number": range(20)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    source = open_source(tmp_path / "a.parquet")
    seen: list[int] = []
    whole = pq.ParquetFile.iter_batches

    def watched(self: pq.ParquetFile, *args: object, row_groups: list[int], **options: object) -> object:
        seen.extend(row_groups)
        return whole(self, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    for start, stop, groups in [(0, 20, [0, 1, 2, 3, 4, 5, 6]), (7, 10, [2, 3]), (19, None, [6]), (5, 5, [])]:
        seen.clear()
        numbers = [number for batch in source.batches(2, start, stop) for number in batch.fields["number"]]
        assert (numbers, seen) == (list(range(20)[start:stop]), groups)


def test_batches_of_a_large_row_group_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smalti.sources.tables.table_files.BATCH_BYTES", 20_000)
    rows = [bytes(10_000)] * 9
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    part = ParquetPart(tmp_path / "a.parquet", "a")
    found = [(start, len(batch)) for start, batch in part.batches(["image"], np.array([1, 6]))]
    assert found == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1]}, "no column holds images; needed are .* there are a .int64."),
        ({"image": [[1, 2]]}, "no column holds images"),
        ({"image": pa.array([[[1.0]]])}, "no column holds images"),
        ({"a": [b"1"], "b": [b"2"]}, "columns a, b could all be the images; call one of them image"),
        ({}, "no column holds images"),
    ],
)
def test_tables_without_one_column_of_images_are_refused(
    tmp_path: Path, columns: dict[str, object], words: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=words) as raised:
        open_source(tmp_path / "a.parquet")
    assert "\n" not in str(raised.value)


def test_the_column_called_image_is_chosen(tmp_path: Path) -> None:
    mask = [png(noise(4, 5, seed=9))] * 3
    batch = everything(open_source(plain(tmp_path / "a.parquet", mask=mask)))
    np.testing.assert_array_equal(batch.pixels[..., 0], noise(3, 4, 5))


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -20])
def test_files_that_are_no_parquet_are_one_line(tmp_path: Path, cut: int) -> None:
    path = plain(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read") as raised:
        open_source(path)
    assert "\n" not in str(raised.value)


def test_damage_within_a_file_is_one_line_or_a_reason(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.parquet", rows=20)
    whole = path.read_bytes()
    for place in range(4, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            everything(open_source(path))
        except SourceError as error:
            assert "\n" not in str(error)


def test_no_pickle_of_a_column_is_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    # how pyarrow before 14 let a file bring types of its own (CVE-2023-47248)
    told = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Trap())}
    schema = pa.schema([pa.field("image", pa.binary(), metadata=told), pa.field("number", pa.int64(), metadata=told)])
    pq.write_table(pa.table({"image": [png(noise(4, 5))], "number": [1]}, schema=schema), tmp_path / "a.parquet")
    assert everything(open_source(tmp_path / "a.parquet")).fields == {"number": [1]}
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("note", [b"{", b"[]", b'{"info": 1}', b'{"info": {"features": []}}', b"[" * 100_000])
def test_what_a_file_says_of_its_columns_may_be_nonsense(tmp_path: Path, note: bytes) -> None:
    table = pa.table({"image": [png(noise(4, 5))], "label": [1]}).replace_schema_metadata({"huggingface": note})
    pq.write_table(table, tmp_path / "a.parquet")
    assert everything(open_source(tmp_path / "a.parquet")).labels.tolist() == [1]


def test_shards_of_other_tables_are_refused(tmp_path: Path) -> None:
    plain(tmp_path / "a.parquet", label=[1, 2, 3])
    plain(tmp_path / "b.parquet", label=["x", "y", "z"])
    with pytest.raises(SourceError, match=r"b\.parquet: its column label is not that of .*a\.parquet"):
        open_source(tmp_path)
    hugging_face(noise(3, 4, 5)).to_parquet(tmp_path / "a.parquet")
    other = hugging_face(noise(3, 4, 5)).cast_column("label", datasets.ClassLabel(names=["eel", "dog", "cat"]))
    other.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet: its classes are not those of"):
        open_source(tmp_path)


def test_parquet_behind_a_url_is_read(tmp_path: Path) -> None:
    import fsspec  # noqa: PLC0415

    path = plain(tmp_path / "a.parquet", label=[1, 2, 3])
    fsspec.filesystem("memory").pipe("/tables/train.parquet", path.read_bytes())
    for url in ("memory://tables/train.parquet", "memory://tables/"):
        batch = everything(open_source(url))
        np.testing.assert_array_equal(batch.pixels[..., 0], noise(3, 4, 5))
        assert batch.fields == ({} if url.endswith("parquet") else {"split": ["train"] * 3})


@pytest.mark.parametrize(
    "way", ["open_source({!r})", "open_image_writer(Path({!r}), (4, 5, 1), 1, overwrite=True).__enter__()"]
)
def test_without_pyarrow_the_extra_is_named(tmp_path: Path, way: str) -> None:
    path = plain(tmp_path / "a.parquet")
    code = f"""
import sys
from pathlib import Path
sys.modules["pyarrow"] = None
from smalti.errors import MissingDependencyError
from smalti.sinks.sink import open_image_writer; from smalti.sources.open import open_source
try:
    {way.format(str(path))}
except MissingDependencyError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith('needs pyarrow, which is not installed; pip install "smalti[parquet]"\n')
