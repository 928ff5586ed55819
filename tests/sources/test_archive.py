from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import DamagedArchiveError, NotAnArchiveError, UsageError
from smalti.images.batch import ImageBatch
from smalti.sources.archive import ArchiveSource
from smalti.sources.open import open_source


def joined(batches) -> ImageBatch:
    return ImageBatch.joined(list(batches))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An archive of 50 images of 7x11 in blocks of 20, with labels and names, and the values that it holds."""
    network, tokens = random_network(), random_tokens(50)
    labels, names = np.arange(50) % 3 - 1, tuple(f"folder/{'äß日'[i % 3]}{i}.png" for i in range(50))
    path = tmp_path_factory.mktemp("archives") / "small.smalti"
    write(path, tokens, network, labels, names, image_shape=(7, 11, 1), block_images=20, class_names=("x", "y", "ζ"))
    pixels = IntegerDecoder(network).decode(tokens)[:, :7, :11, 0]
    return SimpleNamespace(path=path, labels=labels, names=names, pixels=pixels)


@pytest.fixture(scope="module")
def with_fields(tmp_path_factory):
    network, tokens = random_network(), random_tokens(9)
    path = tmp_path_factory.mktemp("source") / "fields.smalti"
    with ArchiveWriter(path, ArchiveSpec((8, 12, 1), (2, 3), 8, "test"), network) as writer:
        writer.append(tokens, fields={"age": [0.5, None] * 4 + [2.0], "site": list("abcdefghi")})
        writer.commit()
    return path


def test_an_archive_is_a_source_of_what_it_holds(small) -> None:
    source = open_source(small.path)
    assert (len(source), source.image_shape, source.dtype) == (50, (7, 11, 1), np.dtype(np.uint8))
    assert (source.class_names, source.skipped, source.description) == (("x", "y", "ζ"), (), str(small.path))
    for batch_images in (7, 50):
        found = joined(source.batches(batch_images))
        np.testing.assert_array_equal(found.pixels[..., 0], small.pixels)
        np.testing.assert_array_equal(found.labels, small.labels)
        assert found.names == small.names


@pytest.mark.parametrize(("start", "stop"), [(0, 50), (3, 44), (19, 21), (40, None), (49, 50)])
def test_a_range_is_a_slice_of_a_whole_pass(small, start: int, stop: int | None) -> None:
    found = joined(open_source(str(small.path)).batches(8, start, stop))
    np.testing.assert_array_equal(found.pixels[..., 0], small.pixels[start:stop])
    assert found.names == small.names[start:stop]
    assert not list(open_source(small.path).batches(8, 50))


def test_fields_come_along(with_fields: Path) -> None:
    found = joined(open_source(with_fields).batches(4, 1))
    assert found.fields == {"age": [None, 0.5, None, 0.5, None, 0.5, None, 2.0], "site": list("bcdefghi")}


def test_an_open_archive_is_one_too(small) -> None:
    with open_archive(small.path) as archive:
        source = ArchiveSource(archive, "member")
        assert source.description == "member"
        np.testing.assert_array_equal(next(source.batches(5)).pixels[..., 0], small.pixels[:5])


def test_an_archive_behind_a_url(small) -> None:
    with fsspec.open("memory://archives/small.smalti", "wb") as file:
        file.write(small.path.read_bytes())
    source = open_source("memory://archives/small.smalti")
    np.testing.assert_array_equal(joined(source.batches(8)).pixels[..., 0], small.pixels)


def test_what_is_no_archive_or_is_damaged_is_refused(small, tmp_path: Path) -> None:
    path = tmp_path / "a.smalti"
    path.write_bytes(b"something")
    with pytest.raises(NotAnArchiveError):
        open_source(path)
    with pytest.raises(UsageError, match="::x cannot be meant"):
        open_source(f"{small.path}::x")
    data = bytearray(small.path.read_bytes())
    middle = slice(len(data) // 2 - 200, len(data) // 2 + 200)
    data[middle] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(DamagedArchiveError):
        list(open_source(path).batches(8))
