"""Extracting images with their columns, also images of several shapes, and comparing them with originals."""

from functools import partial

import numpy as np
import pytest

from helpers.damaged_files import flip, sections
from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.format.layout import FRAME_BYTES, Section
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.errors import DamagedArchiveError, ImageIndexError, UsageError
from smalti.exchange import extract
from smalti.images.batch import ImageBatch
from smalti.sources.open import open_groups, open_source

WAYS = ("out", "a.npy", "a.tar", "a-idx3-ubyte", "a.parquet")


def read(place):
    return ImageBatch.joined(list(open_source(place).batches(7)))


@pytest.fixture(scope="module")
def fielded(tmp_path_factory):
    """20 images in blocks of 6, with labels, names, class names and fields."""
    path = tmp_path_factory.mktemp("archives") / "fielded.smalti"
    fields = {"n": list(range(20)), "who": [None, *"abcdefghijklmnopqrs"], "x": [i / 7 for i in range(20)]}
    names = [f"{'ab'[i % 2]}/{i}.jpg" for i in range(20)]
    spec = ArchiveSpec((8, 12, 1), (2, 3), 8, "test", block_images=6, class_names=("b", "a"))
    with ArchiveWriter(path, spec, random_network()) as writer:
        writer.append(random_tokens(20), np.arange(20) % 2, names, fields=fields)
        writer.commit()
    return path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("indices", [None, [5, 0, -1]])
def test_labels_names_classes_and_fields_go_along(fielded, tmp_path, way, indices):
    with open_archive(fielded) as archive:
        assert extract(archive, tmp_path / way, indices).whole
        chosen = range(20) if indices is None else [5, 0, 19]
        found = read(tmp_path / way)
        np.testing.assert_array_equal(found.pixels[..., 0], archive[list(chosen)])
        np.testing.assert_array_equal(found.labels, archive.labels[list(chosen)])
        assert found.names == tuple(archive.names[i] for i in chosen)
        assert open_source(tmp_path / way).class_names == ("b", "a")
        assert found.fields.keys() == {"n", "who", "x"}
        for name, values in found.fields.items():
            assert list(values) == [archive.fields[name][i] for i in chosen]


def test_images_without_names_get_none_in_an_array_and_their_own_numbers_in_a_folder(tmp_path):
    path = write(tmp_path / "a.smalti", random_tokens(30), random_network(), np.arange(30) % 3)
    with open_archive(path) as archive:
        extract(archive, tmp_path / "a.npy", [20, 4])
        extract(archive, tmp_path / "out", [20, 4])
    assert read(tmp_path / "a.npy").names is None
    assert read(tmp_path / "out").names == ("2/000020.png", "1/000004.png")
    assert read(tmp_path / "out").labels.tolist() == [2, 1]


def test_an_index_outside_is_told_before_anything_is_written(fielded, tmp_path):
    with open_archive(fielded) as archive, pytest.raises(ImageIndexError):
        extract(archive, tmp_path / "a.tar", [20])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_damage_leaves_nothing_and_is_left_out_on_demand(fielded, tmp_path, way):
    path = tmp_path / "bad.smalti"
    entry = next(entry for entry, _ in sections(fielded) if (entry.section, entry.ordinal) == (Section.TOKENS, 1))
    path.write_bytes(flip(fielded.read_bytes(), entry.offset + FRAME_BYTES))
    with open_archive(path) as archive:
        with pytest.raises(DamagedArchiveError):
            extract(archive, tmp_path / way)
        assert [found.name for found in tmp_path.iterdir()] == ["bad.smalti"]
        result = extract(archive, tmp_path / way, skip_damaged=True)
    readable = [*range(6), *range(12, 20)]
    assert result.images == 14 and result.missing_images == tuple(range(6, 12))
    assert list(read(tmp_path / way).fields["n"]) == readable


@pytest.fixture(name="mixed")
def _mixed(tmp_path):
    """A collection of three archives: grey images of 8x12, then of 4x8, then of 8x12 again."""
    parts = []
    for number, grid in enumerate([(2, 3), (1, 2), (2, 3)]):
        names = [f"{number}/{image}.png" for image in range(5)]
        tokens = random_tokens(5, grid, seed=number)
        parts.append(write(tmp_path / f"{number}.smalti", tokens, random_network(), np.arange(5) % 3, names))
    write_collection(tmp_path / "all.smalti", [partial(open_archive, part) for part in parts])
    return tmp_path / "all.smalti"


@pytest.mark.parametrize("way", ["out", "a.tar"])
@pytest.mark.parametrize("indices", [None, [14, 0, 6, 7, 1]])
def test_images_of_several_shapes_go_to_a_folder_or_tar(mixed, tmp_path, way, indices):
    with open_images(mixed) as images:
        assert extract(images, tmp_path / way, indices).images == (15 if indices is None else 5)
        chosen = images.images(slice(None) if indices is None else indices)
        names = [images.names[number] for number in (range(15) if indices is None else indices)]
        found = {}
        for source in open_groups(tmp_path / way):
            for batch in source.batches(4):
                found |= dict(zip(batch.names, zip(batch.pixels[..., 0], batch.labels, strict=True), strict=True))
        assert found.keys() == set(names)
        for name, pixels in zip(names, chosen, strict=True):
            np.testing.assert_array_equal(found[name][0], pixels)
            assert found[name][1] == int(name[2]) % 3


@pytest.mark.parametrize("way", ["a.npy", "a-idx3-ubyte"])
def test_images_of_several_shapes_are_no_array(mixed, tmp_path, way):
    with open_images(mixed) as images, pytest.raises(UsageError, match=r"one shape.*write a folder"):
        extract(images, tmp_path / way)
    assert not (tmp_path / way).exists()
