"""Archives of images of any sizes: written, read whole and by region, checked, damaged, repaired."""

import hashlib
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.cell_kind import CELLS, CellsModel, CellsPrior
from helpers.damaged_files import flip, rebuild, sections, unchanged
from helpers.sized_archives import SIZES, lost_by, random_images, same, write_sized
from helpers.web_server import Served, serve
from smalti.archive.format.layout import PRELUDE_BYTES, SIZED, Section
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import Sizes
from smalti.archive.open import open_images
from smalti.archive.read import store
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.archive.recovery.repair import repair_archive
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.decoders.kind import CELL_KINDS
from smalti.errors import (
    DamagedArchiveError,
    ImageIndexError,
    LimitExceededError,
    OutputExistsError,
    SmaltiError,
    UnsupportedArchiveError,
    UsageError,
)


@pytest.fixture(scope="module", autouse=True)
def known_kind():
    CELL_KINDS["cells"] = CELLS
    yield
    del CELL_KINDS["cells"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    labels, names = np.arange(len(SIZES)) % 3, [f"{number}.png" for number in range(len(SIZES))]
    fields = {"weight": [number / 2 for number in range(len(SIZES))]}
    path = tmp_path_factory.mktemp("sized") / "a.smalti"
    return write_sized(path, random_images(), labels, names, fields, class_names=("a", "b", "c"))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=12),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    threads=st.integers(1, 3),
    block_cells=st.integers(4, 60),
    reach=st.integers(0, 1),
)
def test_images_of_any_sizes_come_back(sizes, channels, dtype, threads, block_cells, reach, tmp_path_factory):
    images = random_images(sizes, channels, dtype)
    path = tmp_path_factory.mktemp("round") / "a.smalti"
    made = write_sized(path, images, reach=reach, block_cells=block_cells, region=2)
    with open_archive(path, threads=threads) as archive:
        assert all(map(same, archive.images(slice(None)), made.pixels))
        assert all(same(archive[number], image) for number, image in enumerate(made.pixels))
        assert all(map(same, archive, made.pixels))
        batches = list(archive.batches(5))
        assert [number for batch in batches for number in batch.numbers.tolist()] == list(range(len(sizes)))
        assert all((batch.pixels == [made.pixels[number] for number in batch.numbers]).all() for batch in batches)
        report = archive.verify("pixels")
        plain = b"".join(image.astype(image.dtype.newbyteorder("<")).tobytes() for image in made.pixels)
        assert report.ok and report.pixels_sha256 == hashlib.sha256(plain).hexdigest() == report.stored_sha256


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_region_is_that_of_the_whole_image(made, data):
    number = data.draw(st.integers(0, len(SIZES) - 1))
    spans = []
    for side in SIZES[number]:
        start = data.draw(st.integers(0, side))
        spans.append((start, data.draw(st.integers(start, side))))
    with open_archive(made.path) as archive:
        (top, bottom), (left, right) = spans
        expected = made.pixels[number][top:bottom, left:right]
        assert same(archive.region(number, *spans), expected)
        assert same(archive.region(number, slice(top, bottom), slice(left, right)), expected)


def test_facts_and_shapes(made):
    with open_archive(made.path) as archive:
        info = archive.info()
        assert archive.image_shapes == tuple(dict.fromkeys((height, width, 1) for height, width in SIZES))
        assert (info.shape, info.shapes, info.images, info.block_images) == (None, 9, 10, None)
        assert info.raw_bytes == info.pixels == sum(height * width for height, width in SIZES)
        parts = info.bytes
        assert sum(vars(parts).values()) == info.archive_bytes == made.path.stat().st_size
        assert info.bits_per_pixel == pytest.approx(8 * info.archive_bytes / info.pixels)
        assert archive.any_size and archive.shape_of(-1) == (16, 24, 1) and "9 shapes" in repr(archive)
        assert archive.dtype == np.uint8 and archive.levels == 1 and info.levels is None
        for ask in (
            lambda: archive.shape,
            lambda: archive.image_shape,
            lambda: archive[:],
            lambda: np.asarray(archive),
        ):
            with pytest.raises(UsageError, match="several shapes"):
                ask()
        assert (archive[[6, 5, 6]] == np.stack([made.pixels[number][..., 0] for number in (6, 5, 6)])).all()
        with pytest.raises(UsageError, match="any sizes"):
            _ = archive.model


def test_images_of_one_size_are_an_array(tmp_path):
    made = write_sized(tmp_path / "a.smalti", random_images([(9, 12)] * 5, 3))
    with open_archive(made.path) as archive:
        assert archive.shape == (5, 9, 12, 3) == archive.info().shape and archive.image_shape == (9, 12, 3)
        assert (archive[:] == np.stack(made.pixels)).all() and (np.asarray(archive) == archive[:]).all()
        assert archive[[]].shape == (0, 9, 12, 3) and len(list(archive.batches(5))) == 1
        assert (archive[[3, 0, 3]] == archive[:][[3, 0, 3]]).all()
        assert (archive.preview(slice(0, 2), 1) == archive[:2]).all()


def test_lists_repeat_images_that_do_not_share_memory(made):
    with open_archive(made.path) as archive:
        first, second = archive.images([3, 3])
        first[:] = 0
        assert same(second, made.pixels[3])
        with pytest.raises(ImageIndexError):
            archive.images([10])
        with pytest.raises(ImageIndexError):
            archive.region(10, (0, 1), (0, 1))
        for rows in ((0, 65), (-1, 3), (3, 2), slice(0, 9, 2)):
            with pytest.raises(UsageError):
                archive.region(3, rows, (0, 1))


def test_tokens_are_those_of_cells(made):
    with open_archive(made.path) as archive:
        for number in range(len(SIZES)):
            tokens, _ = made.model.tokens([made.images[number]])
            found = archive.tokens(number, number + 1)
            assert (found.reshape(tokens.shape) == tokens).all() and found.shape[:1] == (1,)
        assert archive.tokens(5, 7).shape == (2, 1, 1, 64) and archive.tokens(5, 5).shape[0] == 0
        with pytest.raises(UsageError, match="several grids"):
            archive.tokens()


def test_columns_go_with_the_images(made):
    with open_archive(made.path) as archive:
        assert archive.labels.tolist() == made.labels.tolist() and archive.names == tuple(made.names)
        assert archive.class_names == ("a", "b", "c") and archive.fields["weight"][3] == 1.5
        for batch in archive.batches(4):
            assert (batch.labels == made.labels[batch.numbers]).all()
            assert batch.names == tuple(made.names[number] for number in batch.numbers)


def test_the_same_images_make_the_same_bytes(made, tmp_path):
    fields = {"weight": [number / 2 for number in range(len(SIZES))]}
    again = write_sized(
        tmp_path / "b.smalti", made.images, made.labels, made.names, fields, batch=3, class_names=("a", "b", "c")
    )
    assert again.path.read_bytes() == made.path.read_bytes()
    assert made.path.read_bytes()[12:16] == SIZED.to_bytes(4, "little")


def test_a_writer_refuses_what_does_not_fit(tmp_path):
    model, path = CellsModel(), tmp_path / "a.smalti"
    tokens, sizes = model.tokens(random_images([(9, 9), (8, 8)]))
    for wrong in (
        (tokens[:-1], sizes), (tokens[:, :-1], sizes), (tokens.astype(np.int64), sizes), (tokens, sizes[:, :1]),
        (tokens, sizes * 0), (tokens, sizes + (1 << 24)), (tokens, sizes, np.arange(3)), (tokens, sizes, None, ["a"]),
    ):  # fmt: skip
        with SizedArchiveWriter(path, SizedSpec("test"), model, CellsPrior(64)) as writer:
            with pytest.raises(UsageError):
                writer.append(*wrong)
            with pytest.raises(UsageError, match="closed"):
                writer.append(tokens, sizes)
    with SizedArchiveWriter(path, SizedSpec("test"), model, CellsPrior(64)) as writer:
        writer.append(tokens[:0], sizes[:0])
        with pytest.raises(UsageError, match="no images"):
            writer.commit()
    assert not path.exists() and not list(tmp_path.iterdir())
    path.write_bytes(b"")
    with pytest.raises(OutputExistsError):
        SizedArchiveWriter(path, SizedSpec("test"), model, CellsPrior(64))
    for changes in ({"region": 0}, {"region": 200}, {"block_cells": 0}):
        with pytest.raises(UsageError):
            SizedSpec("test", **changes)


def test_threads_give_the_same_pixels(made):
    results = []

    def read(archive):
        results.append([image.tobytes() for image in archive.images(slice(None))])

    with open_archive(made.path, threads=3) as archive:
        workers = [threading.Thread(target=read, args=(archive,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert results == [[image.tobytes() for image in made.pixels]] * 4


def test_a_pickled_archive_opens_the_same_file(made):
    with open_archive(made.path) as archive, pickle.loads(pickle.dumps(archive)) as again:
        assert same(again[4], made.pixels[4])


def test_a_region_reads_the_blocks_around_it_alone(tmp_path, monkeypatch):
    made = write_sized(tmp_path / "a.smalti", random_images([(400, 400)]), block_cells=16, region=4)
    read, unpack = [], store.unpack_cells

    def counted(data, units, grids, prior):
        read.extend(units)
        return unpack(data, units, grids, prior)

    monkeypatch.setattr(store, "unpack_cells", counted)
    with open_archive(made.path) as archive:
        assert same(archive.region(0, (40, 50), (40, 50)), made.pixels[0][40:50, 40:50])
        assert read == [14]
        archive.region(0, (64, 65), (64, 65))
        assert sorted(read) == [14, 15, 27, 28]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Six images in blocks of few cells, one of them in several blocks."""
    path = tmp_path_factory.mktemp("tiny") / "a.smalti"
    images = [image // 64 for image in random_images([(2, 3), (9, 4), (30, 20), (5, 5), (8, 8), (8, 16)])]
    return write_sized(path, images, np.arange(6), [f"{number}.png" for number in range(6)], block_cells=5, region=2)


def images_of(path, block):
    with open_archive(path) as archive:
        return set(archive.sections.layout.image_range(block))


def test_every_flipped_byte_is_detected_and_costs_the_images_of_its_block(tiny, tmp_path):
    data = tiny.path.read_bytes()
    place_of = {entry.name: range(entry.offset, entry.end) for entry, _ in sections(tiny.path)}
    blocks = {name: images_of(tiny.path, int(name.split()[-1])) for name in place_of if name.startswith("token block")}
    assert sum(len(images) for images in blocks.values()) > 6
    for place in range(len(data)):
        noticed, lost = lost_by(tiny, tmp_path / "b.smalti", flip(data, place, 1 << place % 8))
        assert noticed, f"byte {place} went unnoticed"
        name = next((name for name, bytes_ in place_of.items() if place in bytes_), "")
        allowed = set(range(6)) if name == "model" else blocks.get(name, set())
        assert lost <= allowed, f"byte {place} of {name} cost {lost}"


def test_every_truncation_keeps_the_blocks_before_it(tiny, tmp_path):
    data = tiny.path.read_bytes()
    for length in range(0, len(data), 3):
        noticed, _ = lost_by(tiny, tmp_path / "b.smalti", data[:length])
        assert noticed


def test_a_lost_block_leaves_the_regions_away_from_it(tmp_path):
    made = write_sized(tmp_path / "a.smalti", random_images([(8, 8), (200, 200)]), block_cells=16, region=4)
    entry = next(entry for entry, _ in sections(made.path) if entry.name == "token block 3")
    path = tmp_path / "b.smalti"
    path.write_bytes(flip(made.path.read_bytes(), entry.end - 5))
    with open_archive(path) as archive:
        assert same(archive[0], made.pixels[0])
        with pytest.raises(DamagedArchiveError, match="block 3"):
            archive.images([1])
        with pytest.raises(DamagedArchiveError, match="block 3"):
            archive.region(1, (0, 8), (64, 65))
        assert same(archive.region(1, (100, 200), (0, 200)), made.pixels[1][100:])
        report = archive.verify("pixels")
        assert [block.block for block in report.damaged_blocks] == [3] and report.damaged_images == 1
        assert report.pixels_sha256 is None


def test_wrong_pixels_are_found(made, tmp_path):
    """The checksums of pixels tell a decoder that works otherwise."""

    class Other(CellsModel):
        def decode(self, tokens, grids, threads):
            return [pixels ^ 1 for pixels in super().decode(tokens, grids, threads)]

    class OtherKind:
        name, prior_copies = "cells", 2

        def unpack_cells(self, data, facts, limits):
            return Other(facts.channels)

    CELL_KINDS["cells"] = OtherKind()
    try:
        with open_archive(made.path) as archive:
            assert archive.verify("tokens").ok and not archive.verify("pixels").ok
    finally:
        CELL_KINDS["cells"] = CELLS


def test_the_copy_of_the_sizes_is_used(made, tmp_path):
    data, path = made.path.read_bytes(), tmp_path / "b.smalti"
    first, copy = (entry for entry, _ in sections(made.path) if entry.section == Section.SIZES)
    for entry, words in ((first, "sizes: wrong checksum"), (copy, "copy of the sizes: wrong checksum")):
        path.write_bytes(flip(data, entry.offset + 30))
        with open_archive(path) as archive:
            assert all(map(same, archive.images(slice(None)), made.pixels))
            assert words in archive.verify().damaged_sections
        report = repair_archive(path, tmp_path / "c.smalti", overwrite=True)
        assert report.ok and (tmp_path / "c.smalti").read_bytes() == data
    path.write_bytes(flip(flip(data, first.offset + 30), copy.offset + 30))
    with pytest.raises(DamagedArchiveError, match="without the sizes"):
        open_archive(path)
    with pytest.raises(DamagedArchiveError, match="sizes"):
        repair_archive(path, tmp_path / "d.smalti")


def test_recovery_sections_bring_blocks_back(tmp_path):
    made = write_sized(tmp_path / "a.smalti", random_images(), recovery=RecoverySpec(1, 4))
    data = made.path.read_bytes()
    for entry, _ in sections(made.path):
        (tmp_path / "b.smalti").write_bytes(flip(data, (entry.offset + entry.end) // 2))
        report = repair_archive(tmp_path / "b.smalti", tmp_path / "c.smalti", overwrite=True)
        assert report.ok and (tmp_path / "c.smalti").read_bytes() == data, entry.name
    blocks = [entry for entry, _ in sections(made.path) if entry.section == Section.TOKENS]
    content = flip(flip(data, blocks[1].end - 3), blocks[2].end - 3)
    (tmp_path / "b.smalti").write_bytes(content)
    report = repair_archive(tmp_path / "b.smalti", tmp_path / "d.smalti", partial=True)
    with open_archive(made.path) as archive:
        layout = archive.sections.layout
        lost = sorted({*layout.image_range(1), *layout.image_range(2)})
    assert not report.ok and [*range(report.lost_images[0][0], report.lost_images[-1][1] + 1)] == lost
    cut = data[:-300]
    (tmp_path / "b.smalti").write_bytes(cut)
    assert repair_archive(tmp_path / "b.smalti", tmp_path / "e.smalti").ok


def with_sizes(made, change):
    """The archive with other sizes in both sections, all checksums right."""

    def changed(section, ordinal, payload):
        return change(payload) if section == Section.SIZES else payload

    return rebuild(made.path, changed)


HOSTILE = {
    "coding": lambda data: b"\x04" + data[1:],
    "cell": lambda data: data[:1] + b"\x07" + data[2:],
    "no cell": lambda data: data[:1] + b"\x00" + data[2:],
    "region": lambda data: data[:2] + b"\x00\x00" + data[4:],
    "large region": lambda data: data[:2] + b"\xff\xff" + data[4:],
    "blocks": lambda data: data[:4] + b"\x1f\x00\x00\x00" + data[8:],
    "no block": lambda data: data[:4] + bytes(4) + data[8:],
    "huge blocks": lambda data: data[:4] + b"\xff" * 4 + data[8:],
    "distinct": lambda data: data[:8] + b"\xff" * 4 + data[12:],
    "tables": lambda data: data[:12] + b"\xff" * 4 + data[16:],
    "symbols": lambda data: data[:16] + b"\x00" + data[17:],
    "longer": lambda data: data + bytes(4),
    "shorter": lambda data: data[:-4],
    "empty": lambda data: b"",
    "another size": lambda data: Sizes(
        np.full(len(SIZES), 120, np.int32), np.full(len(SIZES), 100, np.int32), 8, 4, 30
    ).to_bytes(),
    "a huge size": lambda data: Sizes(
        np.full(len(SIZES), 1 << 24, np.int32), np.full(len(SIZES), 1 << 24, np.int32), 8, 4, 30
    ).to_bytes(),
    "fewer cells": lambda data: Sizes(
        np.array([120, *[1] * 8, 100], np.int32), np.array([1, *[1] * 8, 100], np.int32), 8, 4, 30
    ).to_bytes(),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_sizes_are_refused_in_one_line(made, tmp_path, change):
    path = tmp_path / "b.smalti"
    path.write_bytes(with_sizes(made, change))
    try:
        with open_archive(path) as archive:
            assert not archive.verify("pixels").ok
            with pytest.raises(SmaltiError):
                archive.images(slice(None))
    except SmaltiError as error:
        assert isinstance(error, DamagedArchiveError | LimitExceededError)
        assert str(error).startswith(str(path)) and "\n" not in str(error)


HEADERS = [
    (b'"block_images":1', b'"block_images":2'),
    (b'"images":10', b'"images":11'),
    (b'"images":10', b'"images":99999999999999'),
    (b'"image_shape":[120,100,1]', b'"image_shape":[120,101,1]'),
    (b'"padded_shape":[120,100]', b'"padded_shape":[120,104]'),
    (b'"token_grid":[1,64]', b'"token_grid":[1,63]'),
    (b'"token_grid":[1,64]', b'"token_grid":[2,32]'),
    (b'"codebook_size":65536', b'"codebook_size":256'),
    (b'"codes_used":256', b'"codes_used":0'),
    (b'"promise":null', b'"promise":{"corrected":0,"max_mse":0.1,"stored":0}'),
    (b'"required_features":8', b'"required_features":0'),
    (b'"dtype":"uint8"', b'"dtype":"uint16"'),
]


@pytest.mark.parametrize(("old", "new"), HEADERS)
def test_a_header_that_cannot_be_is_refused(made, tmp_path, old, new):
    def changed(section, ordinal, payload):
        if section == Section.HEADER:
            assert old in payload
            return payload.replace(old, new)
        return payload

    path = tmp_path / "b.smalti"
    path.write_bytes(rebuild(made.path, changed))
    with pytest.raises((DamagedArchiveError, LimitExceededError)), open_archive(path) as archive:
        assert not archive.verify("pixels").ok
        archive.images(slice(None))


def test_an_older_release_names_the_feature(made):
    data = made.path.read_bytes()
    assert data[:PRELUDE_BYTES][12] == 8
    CELL_KINDS.pop("cells")
    try:
        with pytest.raises(UnsupportedArchiveError, match="'cells'"):
            open_archive(made.path)
    finally:
        CELL_KINDS["cells"] = CELLS


def test_limits_bound_what_is_asked(made):
    for limit in ("column_bytes", "block_bytes", "index_bytes", "header_bytes", "image_bytes"):
        with pytest.raises(LimitExceededError, match=limit), open_archive(made.path, Limits(**{limit: 1})) as archive:
            archive.images(slice(None))
    with open_archive(made.path, Limits(request_bytes=1000)) as archive:
        assert same(archive[0], made.pixels[0]) and archive.region(3, (0, 10), (0, 10)).shape == (10, 10)
        for ask in (lambda: archive[3], lambda: archive.images([3]), lambda: archive.region(3, (0, 60), (0, 60))):
            with pytest.raises(LimitExceededError, match="request_bytes"):
                ask()
        with pytest.raises(LimitExceededError, match="request_bytes"):
            archive.tokens(3, 4)
    with open_archive(made.path, Limits(image_bytes=8000)) as archive:
        with pytest.raises(LimitExceededError, match="image_bytes"):
            _ = archive[4]
        assert archive.region(4, (0, 90), (0, 75)).shape == (90, 75)
    few = Limits(network_operations=64)
    with open_archive(made.path, few) as archive, pytest.raises(LimitExceededError, match="network_operations"):
        _ = archive[0]


def test_a_frame_of_another_type_between_is_refused(made, tmp_path):
    path = tmp_path / "b.smalti"
    path.write_bytes(rebuild(made.path, unchanged, extra=[(14, 0, b"x")]))
    with pytest.raises(UnsupportedArchiveError, match="type 14"):
        open_archive(path)


def test_archives_of_one_shape_crop_regions(small):
    with open_images(small.path) as archive:
        assert (archive.region(3, (1, 5), slice(2, None)) == small.pixels[3][1:5, 2:]).all()
        assert not archive.any_size and archive.shape_of(0) == archive.image_shape
        with pytest.raises(UsageError, match="one shape"):
            _ = archive.cells


def test_a_file_behind_a_url_is_opened_in_one_request(tmp_path):
    made = write_sized(tmp_path / "a.smalti", random_images([(400, 400), *SIZES]), block_cells=16, region=4)
    served = Served({"a.smalti": made.path.read_bytes()})
    stop = serve(served)
    try:
        with open_images(f"{served.url}a.smalti") as archive:
            assert archive.shape_of(0) == (400, 400, 1) and len(archive.image_shapes) == 10
            assert len(served.gets) == 1
            assert same(archive[6], made.pixels[6])  # whole in a block: model, prior and block are fetched together
            assert len(served.gets) == 2
            before = len(served.gets)
            assert same(archive.region(0, (40, 50), (40, 90)), made.pixels[0][40:50, 40:90])
            assert len(served.gets) <= before + 1
            assert all(map(same, archive.images(slice(None)), made.pixels))
            assert archive.verify("pixels").ok
    finally:
        stop()
