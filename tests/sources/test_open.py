import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import assert_same, everything, noise, save
from smalti.errors import SourceError, UsageError
from smalti.images.batch import ImageBatch
from smalti.images.source import ChainedSource, ImageSource, read_images
from smalti.sinks.sink import open_image_writer
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mnst", "did you mean mnist?"),
        ("MNIST", "did you mean mnist?"),
        ("fashion_mnist/tset", "did you mean fashion-mnist/test?"),
        ("photos/holiday", "no such file or folder; give a folder"),
        ("", "no such file"),
        ("x" * 5000, "name too long"),
        ("a\0b", "'a\\x00b': no such file"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as raised:
        open_source(spec)
    assert words.lower() in str(raised.value).lower()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "no readable image: a.png: not an image"),
        ("a.npz", "no .npz file"),
        ("a.tar", "no TAR file"),
        ("a.txt", "of no kind that is read"),
        ("a", "of no kind that is read"),
    ],
)
def test_files_of_other_kinds_are_refused_by_kind(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_text("" if name == "a" else "something")
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / name)


def test_a_path_can_name_a_folder_that_is_called_as_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("mnist") / "a.png", noise(4, 4))
    for spec in ("./mnist", Path("mnist")):
        assert open_source(spec).image_shape == (4, 4, 1)


def test_labels_are_for_arrays_only(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(2, 4, 4))
    with pytest.raises(UsageError, match="arrays only"):
        open_source(tmp_path / "a.npy", labels=np.arange(2))


def parts(*lengths: int) -> list[ImageSource]:
    return [open_source(noise(length, 3, 3, seed=length), labels=np.full(length, length)) for length in lengths]


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 100])
def test_a_chain_is_cut_in_even_batches(batch: int) -> None:
    chain = ChainedSource("both", parts(5, 1, 8, 3))
    found = list(chain.batches(batch))
    assert all(len(one) == batch for one in found[:-1])
    assert 0 < len(found[-1]) <= batch
    expected = ImageBatch.joined([everything(one) for one in parts(5, 1, 8, 3)])
    assert_same(ImageBatch.joined(found), expected)
    assert len(chain) == 17


@pytest.mark.parametrize(("start", "stop"), [(0, 17), (4, 7), (5, 6), (6, None), (13, 14), (17, None), (3, 3)])
def test_a_range_of_a_chain_is_a_slice_of_a_whole_pass(start: int, stop: int | None) -> None:
    chain = ChainedSource("both", parts(5, 1, 8, 3))
    found = list(chain.batches(3, start, stop))
    assert sum(len(one) for one in found) == len(range(17)[start:stop])
    if found:
        assert_same(ImageBatch.joined(found), everything(chain).part(start, 17 if stop is None else stop))


def test_a_chain_has_what_every_part_has() -> None:
    first = ArraySource(noise(4, 3, 3), np.arange(4), names=list("abcd"), fields={"x": [1] * 4, "y": [2] * 4})
    second = ArraySource(noise(3, 3, 3), np.arange(3), fields={"y": [3] * 3})
    for batch in ChainedSource("both", [first, second]).batches(2):
        assert (batch.labels is None, batch.names, set(batch.fields)) == (False, None, {"y"})


def test_a_chain_of_different_shapes_is_refused() -> None:
    with pytest.raises(SourceError, match="different shapes"):
        ChainedSource("both", [open_source(noise(1, 3, 3)), open_source(noise(1, 3, 4))])
    with pytest.raises(SourceError, match="different shapes or dtypes"):
        ChainedSource("both", [open_source(noise(1, 3, 3)), open_source(noise(1, 3, 3).astype(np.uint16))])


@pytest.mark.parametrize("limit", [None, 1, 3, 17, 99])
def test_images_are_read_up_to_a_limit(limit: int | None) -> None:
    found = read_images(ChainedSource("both", parts(5, 8)), limit)
    assert_same(found, everything(ChainedSource("both", parts(5, 8))).part(0, 13 if limit is None else limit))


def test_batches_check_themselves() -> None:
    for broken in (
        lambda: ImageBatch(noise(1, 2, 2)),
        lambda: ImageBatch(noise(1, 2, 2, 5)),
        lambda: ImageBatch(noise(2, 2, 2, 1), np.arange(3)),
        lambda: ImageBatch(noise(2, 2, 2, 1), names=("a",)),
    ):
        with pytest.raises(ValueError, match="not"):
            broken()


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, name: str) -> None:
    batch = ImageBatch(np.zeros((100, 64, 64, 1), np.uint8))
    tracemalloc.start()
    try:
        with open_image_writer(tmp_path / name, (64, 64, 1), 5000) as writer:
            for _ in range(50):
                writer.write(batch)
        assert sum(len(one) for one in open_source(tmp_path / name).batches(100)) == 5000
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 * batch.pixels.nbytes  # the whole is 50 batches
