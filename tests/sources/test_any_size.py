"""Sources of images of any sizes: one for each number of channels and dtype, in the order of the whole."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.image_files import noise, save
from smalti.errors import SourceError
from smalti.images.batch import NO_LABEL, ImageBatch
from smalti.images.sized import BATCH_BYTES, as_sized, batch_limit, chain_sized
from smalti.images.source import RandomAccessSource, SizedSource
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_any_size

SIZES = [(5, 7), (5, 7), (9, 4), (1, 1), (5, 7), (9, 4)]


def mixed(folder: Path) -> Path:
    """A folder of grey and coloured images of 8 bits, grey ones of 16, and one broken file of each kind."""
    for number, size in enumerate(SIZES):
        save(folder / "a" / f"{number}-grey.png", noise(*size, seed=number))
        save(folder / "b" / f"{number}-rgb.png", noise(*size, 3, seed=number))
    save(folder / "a" / "9-deep.png", (noise(6, 3, seed=9).astype(np.uint16) * 257))
    (folder / "a" / "4-broken.png").write_bytes(b"no image at all")
    whole = (folder / "b" / "0-rgb.png").read_bytes()
    (folder / "b" / "1-half.png").write_bytes(whole[:-30])
    return folder


def read(source: SizedSource, batch_images: int = 2, start: int = 0, stop: int | None = None) -> list[ImageBatch]:
    return list(source.batches(batch_images, start, stop))


def images_of(batches: list[ImageBatch]) -> list[NDArray[np.generic]]:
    return [image for batch in batches for image in batch.pixels]


def test_a_folder_has_one_source_for_each_kind_of_pixel(tmp_path: Path) -> None:
    grey, deep, colour = open_any_size(mixed(tmp_path / "all"))
    assert [(one.channels, str(one.dtype)) for one in (grey, deep, colour)] == [
        (1, "uint8"),
        (1, "uint16"),
        (3, "uint8"),
    ]
    assert grey.sizes.tolist() == [list(size) for size in SIZES]
    assert grey.class_names == colour.class_names == ("a", "b")
    batches = read(grey)
    assert [len(batch) for batch in batches] == [2, 1, 1, 1, 1]
    for number, image in enumerate(images_of(batches)):
        np.testing.assert_array_equal(image[..., 0], noise(*SIZES[number], seed=number))
    assert [name for batch in batches for name in batch.names or ()] == [f"a/{n}-grey.png" for n in range(6)]
    assert {int(label) for batch in batches for label in batch.labels} == {0}
    assert images_of(read(deep))[0].dtype == np.uint16


def test_broken_files_are_listed_once_and_passed_over(tmp_path: Path) -> None:
    sources = open_any_size(mixed(tmp_path / "all"))
    for _ in range(2):
        colour = images_of(read(sources[2], 3))
        assert len(colour) == len(SIZES)
        for number, image in enumerate(colour):
            np.testing.assert_array_equal(image, noise(*SIZES[number], 3, seed=number))
    assert len(sources[2].sizes) == len(sources[2]) == len(SIZES) + 1  # as far as the headers tell
    assert [file.name for source in sources for file in source.skipped] == ["a/4-broken.png", "b/1-half.png"]


@pytest.mark.parametrize(("start", "stop"), [(0, None), (1, 4), (2, 2), (5, 99), (-2, None)])
def test_a_range_is_a_slice_of_a_whole_pass(tmp_path: Path, start: int, stop: int | None) -> None:
    grey = open_any_size(mixed(tmp_path / "all"))[0]
    whole = images_of(read(grey, 1))[start:stop]
    part = images_of(read(grey, 3, start, stop))
    assert len(part) == len(whole)
    for one, other in zip(part, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_entries_are_read_alone(tmp_path: Path) -> None:
    grey = open_any_size(mixed(tmp_path / "all"))[0]
    assert isinstance(grey, RandomAccessSource)
    found = list(grey.batches_at(np.array([1, 4, 5]), 8))
    assert [batch.names for batch in found] == [("a/1-grey.png", "a/4-grey.png"), ("a/5-grey.png",)]


def test_one_shape_is_any_size() -> None:
    pixels = noise(10, 4, 3, 3, seed=5)
    source = as_sized(ArraySource(pixels, labels=range(10)))
    assert source.sizes.tolist() == [[4, 3]] * 10
    assert (source.channels, source.dtype, len(source)) == (3, np.uint8, 10)
    assert not isinstance(source, RandomAccessSource)
    batches = read(source, 4, 1)
    assert [len(batch) for batch in batches] == [4, 4, 1]
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), pixels[1:])


def test_arrays_of_different_shapes_are_chained(tmp_path: Path) -> None:
    train, test = noise(3, 4, 5, 3), noise(2, 6, 5, 3, seed=1)
    np.savez(tmp_path / "all.npz", x_train=train, x_test=test, y_train=np.arange(3), y_test=[8, 9])
    (colour,) = open_any_size(tmp_path / "all.npz")
    assert (colour.channels, colour.description) == (3, str(tmp_path / "all.npz"))
    assert colour.sizes.tolist() == [[4, 5]] * 3 + [[6, 5]] * 2
    batches = read(colour, 8)
    assert [len(batch) for batch in batches] == [3, 2]
    assert [label for batch in batches for label in batch.labels.tolist()] == [0, 1, 2, 8, 9]
    assert [list(batch.fields["split"]) for batch in batches] == [["train"] * 3, ["test"] * 2]
    assert [len(batch) for batch in read(colour, 8, 2, 4)] == [1, 1]


def test_arrays_of_different_kinds_are_sources_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x_train=noise(3, 4, 5, 3), x_test=noise(2, 6, 5, seed=2))
    assert [(source.channels, len(source)) for source in open_any_size(tmp_path / "all.npz")] == [(3, 3), (1, 2)]


def test_a_chain_fills_the_columns_that_a_part_lacks() -> None:
    first = ArraySource(noise(2, 4, 4), [5, 6], fields={"age": [1, 2]})
    second = ArraySource(noise(1, 3, 3), names=["x.png"])
    batches = read(chain_sized("both", [as_sized(first), as_sized(second)]))
    assert [batch.names for batch in batches] == [("000000.png", "000001.png"), ("x.png",)]
    assert [batch.fields["age"] for batch in batches] == [[1, 2], [None]]
    assert batches[1].labels.tolist() == [NO_LABEL]


def test_a_chain_of_different_kinds_is_refused() -> None:
    grey, colour = ArraySource(noise(2, 4, 4)), ArraySource(noise(2, 4, 4, 3))
    with pytest.raises(SourceError, match="different kinds"):
        chain_sized("both", [as_sized(grey), as_sized(colour)])


def test_batches_of_large_images_are_small() -> None:
    assert batch_limit(256, (28, 28, 1), np.dtype(np.uint8)) == 256
    assert batch_limit(256, (1024, 1024, 4), np.dtype(np.uint16)) == BATCH_BYTES >> 23
    assert batch_limit(256, (30_000, 30_000, 3), np.dtype(np.uint8)) == 1


def test_memory_is_that_of_a_batch(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / "all" / f"{number:02}.png", np.full((1000 + number, 1000), number, np.uint8))
    (source,) = open_any_size(tmp_path / "all")
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in source.batches(64)) == 40
        assert tracemalloc.get_traced_memory()[1] < 8e6  # of 40e6
    finally:
        tracemalloc.stop()
