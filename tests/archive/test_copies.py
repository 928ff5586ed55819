"""Images that are exact copies of others: stored once, read as all others, damaged and edited."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from decoders.cell_kind import CELLS, CellsModel, CellsPrior
from helpers.damaged_files import flip, rebuild, sections
from helpers.sized_archives import lost_by, random_images, same, write_sized
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel
from smalti.archive.format.copies import Copies
from smalti.archive.format.layout import COPIES, SIZED, Section
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read import store
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.recovery.repair import repair_archive
from smalti.archive.write import copy_finder
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.decoders.kind import CELL_KINDS
from smalti.entropy.integers import IntegerWriter
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockShuffleSampler
from smalti.sources.open import open_any_size

ORDER = [0, 3, 3, 1, 2, 4, 3, 4, 5, 6, 0, 7, 3, 8, 9, 9, 4, 4, 2, 1]
"""Which of ten images each of twenty is: copies beside their images and far from them; some are in many blocks."""


@pytest.fixture(scope="module", autouse=True)
def known_kind():
    CELL_KINDS["cells"] = CELLS
    yield
    del CELL_KINDS["cells"]


def write_copies(path, order=ORDER, images=None, **spec):
    """Write an archive of images in some order, with labels and names."""
    found = random_images() if images is None else images
    labels, names = np.arange(len(order)) % 3, [f"{number}.png" for number in range(len(order))]
    return write_sized(path, [found[number] for number in order], labels, names, **spec)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_copies(tmp_path_factory.mktemp("copies") / "a.smalti")


def assert_whole(path, images, threads=1):
    """Every way of reading gives the images."""
    numbers = list(range(len(images)))
    with open_images(path, threads=threads) as archive:
        assert len(archive) == len(images) and archive.verify("pixels").ok
        assert all(map(same, archive.images(slice(None)), images)) and all(map(same, archive, images))
        assert all(same(archive[number], images[number]) for number in numbers)
        assert all(same(image, images[-1 - place]) for place, image in enumerate(archive.images(numbers[::-1])))
        assert [archive.shape_of(number) for number in numbers] == [image.shape for image in images]
        assert archive.image_shapes == tuple(dict.fromkeys(image.shape for image in images))
        for on_error in ("raise", "skip"):
            batches = list(archive.batches(5, on_error=on_error))
            assert [number for batch in batches for number in batch.numbers.tolist()] == numbers
            assert all((batch.pixels == [images[number] for number in batch.numbers]).all() for batch in batches)
        bounds = archive.block_bounds.tolist()
        assert bounds[0] == 0 and bounds[-1] == len(images) and all(one < two for one, two in pairwise(bounds))
        assert archive.info().raw_bytes == sum(image.nbytes for image in images)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6),
    channels=st.integers(1, 2),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    threads=st.integers(1, 2),
    block_cells=st.integers(4, 20),
    batch=st.integers(1, 9),
)
def test_copies_come_back(data, sizes, channels, dtype, threads, block_cells, batch, tmp_path_factory):
    pool = random_images(sizes, channels, dtype)
    order = data.draw(st.lists(st.integers(0, len(pool) - 1), min_size=1, max_size=25))
    path = tmp_path_factory.mktemp("round") / "a.smalti"
    spec = {"block_cells": block_cells, "region": 2, "batch": batch}
    images = write_copies(path, order, pool, **spec).pixels
    assert_whole(path, images, threads)
    with open_archive(path) as archive:
        copies = len(order) - len(set(order))
        assert archive.info().copies == copies
        assert bool(archive.sections.header.required_features & COPIES) == (copies > 0)
        number = data.draw(st.integers(0, len(order) - 1))
        height, width, _ = images[number].shape
        spans = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in (height, width)]
        (top, bottom), (left, right) = spans
        assert same(archive.region(number, (top, bottom), (left, right)), images[number][top:bottom, left:right])
    if not copies:
        write_copies(path.with_name("b.smalti"), order, pool, **spec | {"batch": 25})
        assert path.read_bytes() == path.with_name("b.smalti").read_bytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), images=st.integers(2, 60))
def test_a_list_of_copies_comes_back(data, images):
    numbers = sorted(data.draw(st.sets(st.integers(1, images - 1), min_size=1)))
    stored = [data.draw(st.integers(0, number - before - 1)) for before, number in enumerate(numbers)]
    copies = Copies(images, np.array(numbers, np.int64), np.array(stored, np.int64))
    again, rest = Copies.split(copies.to_bytes() + b"rest", images, Limits())
    assert rest == b"rest" and (again.numbers_of_images == copies.numbers_of_images).all()
    assert (again.firsts == copies.firsts).all() and again.stored == images - len(numbers) == images - len(again)
    found = [again.images_of(range(number, number + 1)).tolist() for number in range(again.stored)]
    assert sorted(number for some in found for number in some) == list(range(images))
    assert all((again.numbers_of_images[some] == number).all() for number, some in enumerate(found))
    assert again.images_of(range(again.stored)).tolist() == list(range(images))


def test_lists_of_copies_are_short():
    """A set that is in an archive twice, and images that are each there twice in a row."""
    numbers = np.arange(5_000, dtype=np.int64)
    assert len(Copies(10_000, numbers + 5_000, numbers).to_bytes()) < 100
    assert len(Copies(10_000, 2 * numbers + 1, numbers).to_bytes()) < 100


def test_tokens_columns_and_facts_are_of_all_images(made):
    with open_archive(made.path) as archive:
        info = archive.info()
        assert (info.images, info.copies, info.shapes) == (20, 10, 9)
        assert archive.labels.tolist() == made.labels.tolist() and archive.names == tuple(made.names)
        for number in range(20):
            tokens, _ = made.model.tokens([made.images[number]])
            assert (archive.tokens(number, number + 1).reshape(tokens.shape) == tokens).all()
        for batch in archive.batches(4):
            assert (batch.labels == made.labels[batch.numbers]).all()
    assert made.path.read_bytes()[12:16] == (SIZED | COPIES).to_bytes(4, "little")


def test_copies_take_no_tokens(tmp_path):
    images = random_images([(64, 64)] * 4)
    once = write_sized(tmp_path / "a.smalti", images).path.stat().st_size
    twice = write_sized(tmp_path / "b.smalti", [*images, *images]).path.stat().st_size
    assert once < twice < once + 200


def test_images_of_one_size_are_an_array(tmp_path):
    images = random_images([(9, 12)] * 3, 3)
    made = write_sized(tmp_path / "a.smalti", [images[number] for number in (0, 1, 0, 2, 2)])
    with open_archive(made.path) as archive:
        assert archive.shape == (5, 9, 12, 3) and (archive[:] == np.stack(made.pixels)).all()
        assert (archive[[4, 0, 2]] == archive[:][[4, 0, 2]]).all() and archive[[]].shape == (0, 9, 12, 3)
        tokens = archive.tokens()
        assert tokens.shape[0] == 5 and (tokens[2] == tokens[0]).all() and (tokens[1] != tokens[0]).any()
        first, second = archive.images([0, 2])
        first[:] = 0
        assert same(second, made.pixels[0])


def test_tiny_images_are_stored_each(tmp_path):
    """Fewer tokens than an entry of the list is worth."""
    model = CellsModel(cell=4)
    with SizedArchiveWriter(tmp_path / "a.smalti", SizedSpec("test"), model, CellsPrior(16)) as writer:
        writer.append(np.zeros((3, 16), np.uint16), np.array([(4, 4)] * 3))
        writer.commit()
    with open_archive(tmp_path / "a.smalti") as archive:
        assert archive.info().copies == 0 and archive.sections.header.required_features == SIZED


@pytest.mark.parametrize("batch", [1, 20])
def test_images_of_one_key_are_told_apart(tmp_path, monkeypatch, batch):
    """As if the hash were the same for all."""
    monkeypatch.setattr(copy_finder._Image, "key", lambda image: 7)
    made = write_copies(tmp_path / "a.smalti", batch=batch)
    with open_archive(made.path) as archive:
        assert archive.info().copies == ORDER.count(0) - 1
    assert_whole(made.path, made.pixels)


def test_keys_go_from_the_dictionary_to_arrays(made, tmp_path, monkeypatch):
    monkeypatch.setattr(copy_finder, "_RECENT", 3)
    assert write_copies(tmp_path / "a.smalti").path.read_bytes() == made.path.read_bytes()


def test_images_beyond_the_last_number_of_a_list_are_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(copy_finder, "MOST_COPIED_IMAGES", 2)
    made = write_copies(tmp_path / "a.smalti")
    with open_archive(made.path) as archive:
        assert archive.info().copies == 1
    assert_whole(made.path, made.pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_give_copies(made, workers):
    dataset = ArchiveDataset(made.path)
    loader = DataLoader(dataset, batch_size=None, sampler=BlockShuffleSampler(dataset, seed=3), num_workers=workers)
    seen = 0
    for image, label in loader:
        fits = [n for n in range(20) if image.shape[1:] == made.pixels[n].shape[:2] and made.labels[n] == label]
        assert any((image.numpy()[0] == made.pixels[number][..., 0]).all() for number in fits)
        seen += 1
    assert seen == 20
    assert all((dataset[number][0].numpy()[0] == made.pixels[number][..., 0]).all() for number in range(20))


def test_a_pass_decodes_each_block_once(tmp_path, monkeypatch):
    """Though copies are far from their images, and one block at a time is cached."""
    images = random_images([(8, 8 * width) for width in (1, 2, 3, 1, 2, 2, 3, 1, 1, 2, 3, 3)])
    made = write_copies(
        tmp_path / "a.smalti", [*range(12), *range(11, -1, -1), *range(0, 12, 5)], images, block_cells=5, region=2
    )
    read, unpack = [], store.unpack_cells

    def counted(data, units, grids, prior):
        read.append(units)
        return unpack(data, units, grids, prior)

    monkeypatch.setattr(store, "unpack_cells", counted)
    monkeypatch.setattr(store, "_CACHE_BYTES", 1)
    for on_error in ("raise", "skip"):
        with open_archive(made.path) as archive:
            for batch in archive.batches(2, on_error=on_error):
                assert (batch.pixels == [made.pixels[number] for number in batch.numbers]).all()
            assert archive.info().blocks == len(set(read)) > 4
        if on_error == "raise":
            assert len(read) == len(set(read))
            read.clear()
    with open_archive(made.path) as archive:
        monkeypatch.setattr(store, "_KEPT_BYTES", 200)
        assert all(map(same, archive, made.pixels))


def test_an_archive_with_copies_is_a_source(made):
    (source,) = open_any_size(made.path)
    assert source.sizes.tolist() == [list(image.shape[:2]) for image in made.pixels]
    found = [image for batch in source.batches(3) for image in batch.pixels]
    assert all(map(np.array_equal, found, made.pixels))


def test_dropping_an_original_keeps_its_copies(made, tmp_path):
    for dropped in ([0, 1, 2], [1], [19, 10], list(range(10)), list(range(1, 20))):
        rest = [number for number in range(20) if number not in dropped]
        out = tmp_path / "b.smalti"
        assert drop_images(made.path, dropped, out, overwrite=True) == len(rest)
        assert_whole(out, [made.pixels[number] for number in rest])
        with open_archive(out) as archive:
            assert archive.info().copies == len(rest) - len({ORDER[number] for number in rest})
            assert archive.names == tuple(made.names[number] for number in rest)


def test_edits_keep_copies(made, tmp_path):
    path, other = tmp_path / "b.smalti", write_copies(tmp_path / "c.smalti", [5, 5, 5, 2])
    relabel(made.path, path, labels=np.arange(20), names=[f"n{number}" for number in range(20)])
    with open_archive(path) as archive:
        assert archive.labels.tolist() == list(range(20)) and archive.info().copies == 10
    assert_whole(path, made.pixels)
    append_archive(path, other.path)
    assert_whole(path, [*made.pixels, *other.pixels])
    merge_archives([made.path, path], tmp_path / "d.smalti")
    assert_whole(tmp_path / "d.smalti", [*made.pixels, *made.pixels, *other.pixels])
    with open_images(tmp_path / "d.smalti") as collection:
        assert collection.info().copies == 22
    drop_images(tmp_path / "d.smalti", [0, 21])
    images = [*made.pixels, *made.pixels, *other.pixels]
    assert_whole(tmp_path / "d.smalti", [image for number, image in enumerate(images) if number not in (0, 21)])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Ten images in blocks of few cells, one of them in several blocks, half of them copies."""
    images = [image // 64 for image in random_images([(8, 9), (9, 4), (30, 20), (5, 5), (8, 8), (8, 16)])]
    path = tmp_path_factory.mktemp("tiny") / "a.smalti"
    return write_copies(path, [0, 1, 0, 2, 3, 2, 1, 4, 0, 5], images, block_cells=5, region=2)


def needing(path, block):
    with open_archive(path) as archive:
        return {number for run in archive.sections.layout.image_runs(block) for number in run}


def test_every_flipped_byte_is_detected_and_costs_the_images_of_its_block(tiny, tmp_path):
    data = tiny.path.read_bytes()
    place_of = {entry.name: range(entry.offset, entry.end) for entry, _ in sections(tiny.path)}
    blocks = {name: needing(tiny.path, int(name.split()[-1])) for name in place_of if name.startswith("token block")}
    assert any(images >= {0, 2, 8} for images in blocks.values()) and any(
        images == {3, 5} for images in blocks.values()
    )
    for place in range(len(data)):
        noticed, lost = lost_by(tiny, tmp_path / "b.smalti", flip(data, place, 1 << place % 8))
        assert noticed, f"byte {place} went unnoticed"
        name = next((name for name, bytes_ in place_of.items() if place in bytes_), "")
        allowed = set(range(10)) if name == "model" else blocks.get(name, set())
        assert lost <= allowed, f"byte {place} of {name} cost {lost}"


def test_a_lost_block_costs_all_copies(tiny, tmp_path):
    data, path = tiny.path.read_bytes(), tmp_path / "b.smalti"
    for block in range(5):
        entry = next(entry for entry, _ in sections(tiny.path) if entry.name == f"token block {block}")
        lost = needing(tiny.path, block)
        noticed, found = lost_by(tiny, path, flip(data, entry.end - 2))
        assert noticed and found == lost
        with open_archive(path) as archive:
            report = archive.verify()
            assert {one.block for one in report.damaged_blocks} == {block} and report.damaged_images == len(lost)
            names = [name for one in report.damaged_blocks for name in one.names]
            assert names == [tiny.names[number] for number in sorted(lost)]
            for number in lost:
                with pytest.raises(DamagedArchiveError, match=f"token block {block} .images {min(lost)} to"):
                    archive.images([number])
        report = repair_archive(path, tmp_path / "c.smalti", overwrite=True, partial=True)
        assert {n for first, last in report.lost_images for n in range(first, last + 1)} == lost
        assert report.images_lost == len(lost)


def test_recovery_sections_bring_blocks_and_lists_back(tmp_path):
    made = write_copies(tmp_path / "a.smalti", recovery=RecoverySpec(1, 4))
    data = made.path.read_bytes()
    for entry, _ in sections(made.path):
        (tmp_path / "b.smalti").write_bytes(flip(data, (entry.offset + entry.end) // 2))
        report = repair_archive(tmp_path / "b.smalti", tmp_path / "c.smalti", overwrite=True)
        assert report.ok and (tmp_path / "c.smalti").read_bytes() == data, entry.name


def test_the_copy_of_the_list_is_used(made, tmp_path):
    data, path = made.path.read_bytes(), tmp_path / "b.smalti"
    first, copy = (entry for entry, _ in sections(made.path) if entry.section == Section.SIZES)
    for entry in (first, copy):
        path.write_bytes(flip(data, entry.offset + 35))
        with open_archive(path) as archive:
            assert all(map(same, archive.images(slice(None)), made.pixels)) and not archive.verify().ok


def listed(numbers, stored, images=20):
    return Copies(images, np.array(numbers, np.int64), np.array(stored, np.int64)).to_bytes()


def hostile(head=None, words=None):
    """A list with another head, or another list before the same sizes."""

    def changed(data):
        copies, tables, coded, symbols = struct.unpack_from("<IIIB", data)
        rest = data[13 + tables + coded :]
        if words is not None:
            return words + rest
        return struct.pack("<IIIB", *head(copies, tables, coded, symbols)) + data[13:]

    return changed


def wrong(numbers, distances):
    """A list with any distances."""
    writer = IntegerWriter(12)
    writer.add(np.diff(np.array(numbers), prepend=-1) - 1)
    writer.add(np.diff(np.array(distances), prepend=0), signed=True)
    tables, words = writer.finish()
    return struct.pack("<IIIB", len(numbers), len(tables), len(words), writer.symbols) + tables + words


TEN = list(range(1, 11))
HOSTILE = {
    "no copies": hostile(lambda copies, *rest: (0, *rest)),
    "fewer copies": hostile(lambda copies, *rest: (copies - 1, *rest)),
    "more copies": hostile(lambda copies, *rest: (copies + 1, *rest)),
    "all are copies": hostile(lambda copies, *rest: (20, *rest)),
    "many copies": hostile(lambda copies, *rest: (0xFFFFFFFF, *rest)),
    "tables": hostile(lambda copies, tables, *rest: (copies, 0xFFFFFFFF, *rest)),
    "words": hostile(lambda copies, tables, words, symbols: (copies, tables, 0xFFFFFFFF, symbols)),
    "shorter words": hostile(lambda copies, tables, words, symbols: (copies, tables, words - 4, symbols)),
    "no symbols": hostile(lambda *rest: (*rest[:3], 0)),
    "many symbols": hostile(lambda *rest: (*rest[:3], 255)),
    "itself": hostile(words=wrong(TEN, [1] * 9 + [0])),
    "a later image": hostile(words=wrong(TEN, [1] * 9 + [-3])),
    "before the first": hostile(words=wrong(TEN, [1] * 9 + [11])),
    "the first is a copy": hostile(words=wrong(range(10), [1] * 10)),
    "beyond the last": hostile(words=wrong(range(11, 21), [1] * 10)),
    "far beyond": hostile(words=wrong([*range(1, 10), 1 << 24], [1] * 10)),
    "other copies": hostile(words=listed(TEN, [0] * 10)),
    "an empty section": lambda data: b"",
    "no list": lambda data: data[13 + sum(struct.unpack_from("<II", data, 4)) :],
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_lists_are_refused_in_one_line(made, tmp_path, change):
    path = tmp_path / "b.smalti"
    path.write_bytes(rebuild(made.path, lambda section, _, data: change(data) if section == Section.SIZES else data))
    try:
        with open_archive(path) as archive:  # other copies of as many images are a sound list of its own
            assert not all(map(same, archive.images(slice(None)), made.pixels))
    except SmaltiError as error:
        assert isinstance(error, DamagedArchiveError | LimitExceededError)
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        assert change is not HOSTILE["other copies"]


@pytest.mark.parametrize(("old", "new"), [(24, 8), (24, 16)])
def test_a_header_without_the_features_is_refused(made, tmp_path, old, new):
    def changed(section, ordinal, payload):
        assert section != Section.HEADER or f'"required_features":{old}'.encode() in payload
        return payload.replace(b'"required_features":%d' % old, b'"required_features":%d' % new)

    path = tmp_path / "b.smalti"
    path.write_bytes(rebuild(made.path, changed))
    with pytest.raises(DamagedArchiveError):
        open_archive(path)


def test_limits_bound_the_list(made):
    with pytest.raises(LimitExceededError, match="the list of copies"):
        open_archive(made.path, Limits(column_bytes=16 * 20 - 1))
