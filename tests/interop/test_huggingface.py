"""Archives as datasets of Hugging Face, stored and streamed, in one process and in many; datasets as sources."""

import copy
import os
import pickle
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import smalti
from helpers.made_up_archives import random_network, random_tokens
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import MissingDependencyError, SmaltiError, UsageError
from smalti.interop import huggingface
from smalti.interop.huggingface import from_dataset, to_dataset

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets

CLASSES = ("cat", "dog", "eel")
FIELDS = {
    "split": lambda number: "test" if number % 3 == 0 else "train",
    "iso": lambda number: 100 * number,
    "gain": lambda number: number / 2,
    "flash": lambda number: number % 2 == 0,
    "lens": lambda number: None if number == 4 else f"l{number}",
}


def write(path: Path, images: int, grid: tuple[int, int] = (2, 3), channels: int = 1, **spec: Any) -> Path:
    network = random_network(channels=channels)
    shape = (*network.output_size(grid), channels)
    known = {"image_shape": shape, "token_grid": grid, "codebook_size": 8, "profile": "test", "class_names": CLASSES}
    with ArchiveWriter(path, ArchiveSpec(**(known | spec)), network) as writer:
        fields = {name: [value(number) for number in range(images)] for name, value in FIELDS.items()}
        names = [f"{number}.png" for number in range(images)]
        writer.append(random_tokens(images, grid), np.arange(images) % 3, names, None, fields)
        writer.commit()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An archive of 130 images in 17 blocks, with its content."""
    path = write(tmp_path_factory.mktemp("archives") / "made.smalti", 130, block_images=8)
    with smalti.open(path) as archive:
        return SimpleNamespace(path=path, pixels=archive[:], labels=archive.labels.tolist())


def assert_rows(rows: Any, made: SimpleNamespace, numbers: list[int]) -> None:
    found = list(rows)
    assert [row["iso"] // 100 for row in found] == numbers
    for row, number in zip(found, numbers, strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]), made.pixels[number])
        assert row["label"] == made.labels[number]
        assert all(row[name] == value(number) for name, value in FIELDS.items() if name in row)


FEATURES = {
    "image": datasets.Image(),
    "label": datasets.ClassLabel(names=list(CLASSES)),
    "split": datasets.Value("string"),
    "iso": datasets.Value("int64"),
    "gain": datasets.Value("float64"),
    "flash": datasets.Value("bool"),
    "lens": datasets.Value("string"),
}


@pytest.mark.parametrize("streaming", [False, True])
def test_images_labels_names_and_fields_come_out_with_their_types(
    tmp_path: Path, made: SimpleNamespace, streaming: bool
) -> None:
    found = to_dataset(made.path, streaming=streaming, cache_dir=tmp_path)
    assert isinstance(found, datasets.IterableDataset if streaming else datasets.Dataset)
    assert dict(found.features) == FEATURES
    assert_rows(found, made, list(range(130)))
    files = found.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["path"] for row in files] == [f"{number}.png" for number in range(130)]


@pytest.mark.parametrize("streaming", [False, True])
def test_splits_are_parted(tmp_path: Path, made: SimpleNamespace, streaming: bool) -> None:
    found = to_dataset(made.path, streaming=streaming, splits=True, cache_dir=tmp_path)
    assert list(found) == ["test", "train"]
    assert_rows(found["test"], made, list(range(0, 130, 3)))
    assert_rows(found["train"], made, [number for number in range(130) if number % 3])
    assert all("split" not in part.features and str(part.split) == name for name, part in found.items())


def test_a_stored_dataset_is_written_once_for_each_content(
    tmp_path: Path, made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = to_dataset(made.path, cache_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(huggingface._Part, "tables", None)  # nothing is decoded again
        assert to_dataset(made.path, cache_dir=tmp_path).cache_files == first.cache_files
    other = write(tmp_path / "made.smalti", 12)  # the same name, other images
    assert len(to_dataset(other, cache_dir=tmp_path)) == 12
    assert len(list((tmp_path / "smalti").iterdir())) == 2


def test_files_with_the_names_of_images_are_not_read(
    tmp_path: Path, made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 12), np.uint8)).save("0.png")
    for streaming in (False, True):
        row = next(iter(to_dataset(made.path, streaming=streaming, cache_dir=tmp_path)))
        np.testing.assert_array_equal(np.asarray(row["image"]), made.pixels[0])


def test_a_stream_is_parted_at_blocks(made: SimpleNamespace, tmp_path: Path) -> None:
    assert to_dataset(made.path, streaming=True).num_shards == 17
    few = write(tmp_path / "few.smalti", 600)  # one block, for several workers all the same
    assert to_dataset(few, streaming=True).num_shards == 3


def test_very_many_blocks_share_shards(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "_SHARDS_MIN", 1)
    monkeypatch.setattr(huggingface, "_SHARDS_MAX", 5)
    stream = to_dataset(made.path, streaming=True)
    assert stream.num_shards == 5
    assert_rows(stream, made, list(range(130)))


def test_a_stream_is_shuffled_pickled_and_resumed(made: SimpleNamespace) -> None:
    stream = to_dataset(made.path, streaming=True)
    order = [row["iso"] // 100 for row in stream.shuffle(seed=3, buffer_size=20)]
    assert order != list(range(130)) and sorted(order) == list(range(130))
    assert_rows(pickle.loads(pickle.dumps(stream)).shuffle(seed=3, buffer_size=20), made, order)
    for number, _ in enumerate(stream):
        if number == 42:
            state = copy.deepcopy(stream.state_dict())
            break
    resumed = pickle.loads(pickle.dumps(stream))
    resumed.load_state_dict(state)
    assert_rows(resumed, made, list(range(43, 130)))


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])  # each spawned one imports torch anew
def test_workers_of_a_data_loader_share_the_images(made: SimpleNamespace, method: str, workers: int) -> None:
    import torch  # noqa: PLC0415 (slow, and not for the other tests)

    stream = to_dataset(made.path, streaming=True)
    next(iter(stream))  # so that the parent has the archive open when it forks
    loader = torch.utils.data.DataLoader(
        stream.select_columns(["image", "label", "iso"]).with_format("torch"),
        batch_size=16,
        num_workers=workers,
        multiprocessing_context=method,
    )
    seen: dict[int, Any] = {}
    for batch in loader:
        assert batch["image"].dtype == torch.uint8 and batch["image"].shape[1:] == (1, 8, 12)
        seen |= zip((batch["iso"] // 100).tolist(), batch["image"].numpy(), strict=True)
    assert sorted(seen) == list(range(130))
    for number, pixels in seen.items():
        np.testing.assert_array_equal(pixels[0], made.pixels[number])


def test_a_stream_outlives_the_archive_it_was_made_of(made: SimpleNamespace) -> None:
    with smalti.open(made.path) as archive:
        stream = to_dataset(archive, streaming=True)
    assert_rows(stream, made, list(range(130)))


def test_an_archive_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.smalti", 12)
    stream = to_dataset(path, streaming=True)
    path.unlink()
    write(path, 13)
    with pytest.raises(SmaltiError, match="has been replaced"):
        list(stream)


def test_collections_of_several_shapes(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.smalti", 9, grid) for number, grid in enumerate([(2, 3), (1, 2)])]
    write_collection(tmp_path / "all.smalti", [partial(open_archive, path) for path in paths])
    shapes = [(8, 12)] * 9 + [(4, 8)] * 9
    for streaming in (False, True):
        found = list(to_dataset(tmp_path / "all.smalti", streaming=streaming, cache_dir=tmp_path))
        assert [np.asarray(row["image"]).shape for row in found] == shapes
        assert found[4]["lens"] is None and found[5]["lens"] == "l5"


def test_archives_without_labels_or_names(tmp_path: Path) -> None:
    network = random_network(channels=3)
    spec = ArchiveSpec(image_shape=(8, 12, 3), token_grid=(2, 3), codebook_size=8, profile="test")
    with ArchiveWriter(tmp_path / "a.smalti", spec, network) as writer:
        writer.append(random_tokens(5))
        writer.commit()
    found = to_dataset(tmp_path / "a.smalti", cache_dir=tmp_path)
    assert dict(found.features) == {"image": datasets.Image()}
    with smalti.open(tmp_path / "a.smalti") as archive:
        np.testing.assert_array_equal(np.stack([np.asarray(row["image"]) for row in found]), archive[:])
    with pytest.raises(UsageError, match="no field 'split'"):
        to_dataset(tmp_path / "a.smalti", splits=True)


def test_splits_with_names_that_datasets_refuses_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("a b", None, ""):
        monkeypatch.setitem(FIELDS, "split", lambda number, value=value: value if number == 1 else "train")
        path = write(tmp_path / f"{value}.smalti", 3)
        with pytest.raises(UsageError, match="is no name of a split"):
            to_dataset(path, splits=True)


def test_compress_takes_a_dataset_and_gives_it_back(tmp_path: Path, digits: SimpleNamespace) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcdefghij"))})
    images = [Image.fromarray(image) for image in digits.images]
    given = datasets.Dataset.from_dict({"image": images, "label": digits.labels.tolist()}, features=features)
    whole = datasets.DatasetDict({"train": given.select(range(40)), "test": given.select(range(40, 64))})
    smalti.compress(whole, tmp_path / "a.smalti", epochs=1, codebook_size=16, max_mse=0)
    found = to_dataset(tmp_path / "a.smalti", splits=True, cache_dir=tmp_path)
    for split, rows in whole.items():
        assert found[split].features == rows.features
        assert found[split][:]["label"] == rows[:]["label"]
        for row, original in zip(found[split], rows, strict=True):
            np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(original["image"]))


def test_from_dataset_is_a_source(digits: SimpleNamespace) -> None:
    source = from_dataset(
        datasets.Dataset.from_dict(
            {"image": list(digits.images)}, features=datasets.Features({"image": datasets.Image()})
        )
    )
    np.testing.assert_array_equal(next(iter(source.batches(64))).pixels[..., 0], digits.images)
    with pytest.raises(UsageError, match="list is no dataset of Hugging Face"):
        from_dataset([1])


def test_without_datasets_the_extra_is_named(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "smalti\[hf\]"'):
        to_dataset(made.path)


@pytest.mark.parametrize("streaming", [False, True])
def test_images_without_labels_among_others_have_none(tmp_path: Path, streaming: bool) -> None:
    """A collection used to have no labels if one of its archives had none."""
    named = write(tmp_path / "named.smalti", 4)
    bare = tmp_path / "bare.smalti"
    with ArchiveWriter(bare, ArchiveSpec((8, 12, 1), (2, 3), 8, "test"), random_network()) as writer:
        writer.append(random_tokens(3))
        writer.commit()
    smalti.merge([bare, named], tmp_path / "both.smalti")
    rows = to_dataset(tmp_path / "both.smalti", streaming=streaming, cache_dir=tmp_path)
    assert rows.features["label"].names == list(CLASSES)
    found = list(rows)
    assert [row["label"] for row in found] == [None, None, None, 0, 1, 2, 0]
    assert [row["iso"] for row in found] == [None, None, None, 0, 100, 200, 300]
