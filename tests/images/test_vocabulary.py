"""Every name of a split, of labels and of metadata means the same for every kind of source."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.image_files import noise
from smalti.images.batch import ImageBatch
from smalti.images.vocabulary import (
    LABEL_NAMES,
    PLAIN_LABEL_NAMES,
    SPLIT_FIELD,
    SPLIT_NAMES,
    SPLIT_ORDER,
    TAR_SUFFIXES,
    is_split,
    split_part,
)
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_groups, open_source


def of_folder(root: Path, word: str, other: str) -> list[object]:
    for split in (word, other):
        for name in "ab":
            path = root / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(noise(3, 3)).save(path)
    return splits(root)


def of_parquet(root: Path, word: str, other: str) -> list[object]:
    Image.fromarray(noise(3, 3)).save(root / "a.png")
    data = (root / "a.png").read_bytes()
    (root / "a.png").unlink()
    for split in (word, other):
        pq.write_table(pa.table({"image": pa.array([data, data], pa.binary())}), root / f"{split}.parquet")
    return splits(root)


def of_npz(root: Path, word: str, other: str) -> list[object]:
    np.savez(root / "a.npz", **{f"{split}_images": noise(2, 3, 3) for split in (word, other)})
    return splits(root / "a.npz")


def of_hdf5(root: Path, word: str, other: str) -> list[object]:
    with h5py.File(root / "a.h5", "w") as file:
        for split in (word, other):
            file[f"{split}/images"] = noise(2, 3, 3)
    return splits(root / "a.h5")


def splits(spec: Path) -> list[object]:
    batch = ImageBatch.joined([batch for source in open_groups(spec) for batch in source.batches(9)])
    return list(batch.fields[SPLIT_FIELD])


@pytest.mark.parametrize("read", [of_folder, of_parquet, of_npz, of_hdf5])
@pytest.mark.parametrize("word", SPLIT_NAMES)
def test_a_name_of_a_split_means_the_same_everywhere(tmp_path: Path, read, word: str) -> None:
    part = split_part(word)
    other = "test" if part == "train" else "train"
    found = {split_part(str(split)) for split in read(tmp_path, word, other)}
    assert found == {part, other}


def test_splits_are_known_in_upper_and_lower_case() -> None:
    assert is_split("Train") and is_split("VALIDATION") and not is_split("trains")
    assert set(SPLIT_NAMES.values()) == set(SPLIT_ORDER)


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_a_name_of_labels_is_one_for_arrays(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "a.npz", images=noise(3, 4, 4), **{name: [2, 0, 1]})
    (batch,) = open_source(tmp_path / "a.npz").batches(9)
    assert batch.labels is not None and batch.labels.tolist() == [2, 0, 1]


def test_the_best_of_two_names_has_the_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=noise(3, 4, 4), y=[9, 9, 9], label=[2, 0, 1])
    (batch,) = open_source(tmp_path / "a.npz").batches(9)
    assert batch.labels is not None and batch.labels.tolist() == [2, 0, 1]
    assert batch.fields == {"y": [9, 9, 9]}


def test_names_of_labels_in_any_table_are_among_those_of_labels() -> None:
    assert set(PLAIN_LABEL_NAMES) < set(LABEL_NAMES)


@pytest.mark.parametrize("suffix", TAR_SUFFIXES)
def test_each_tar_file_that_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    with open_image_writer(out, (4, 5, 1), 3) as writer:
        writer.write(ImageBatch(noise(3, 4, 5, 1)))
    (batch,) = open_source(out).batches(9)
    np.testing.assert_array_equal(batch.pixels, noise(3, 4, 5, 1))
