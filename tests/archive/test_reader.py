"""Reading an open archive: selections, tokens, columns, limits, threads."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.format.limits import Limits
from smalti.archive.read import block_decoder
from smalti.archive.read.reader import open_archive
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import (
    DamagedArchiveError,
    ImageIndexError,
    LimitExceededError,
    NotAnArchiveError,
    SmaltiError,
    UsageError,
)


@pytest.fixture
def archive(small):
    with open_archive(small.path) as opened:
        yield opened


def test_everything_comes_back(small, archive):
    assert (len(archive), archive.shape, archive.dtype) == (50, (50, 7, 11), np.uint8)
    assert (archive[:] == small.pixels).all()
    assert (archive.tokens() == small.tokens).all()
    assert archive.labels.dtype == np.int64 and (archive.labels == small.labels).all()
    assert archive.names == small.names
    assert archive.class_names == ("x", "y", "ζ")


SELECTIONS = [
    0, -1, 49, np.int64(21), slice(None), slice(10, 45), slice(45, 2, -3), slice(60, 70), [5, 49, 7, 5], [-1, 0],
    np.array([], int), np.array([19, 20, 39, 40], np.uint8), np.arange(50) % 7 == 3, np.zeros(50, bool),
]  # fmt: skip


@pytest.mark.parametrize("selection", SELECTIONS)
def test_any_selection_equals_numpy(small, archive, selection):
    expected, got = small.pixels[selection], archive[selection]
    assert got.shape == expected.shape and got.dtype == np.uint8 and (got == expected).all()


def test_block_bounds_are_where_blocks_begin_and_end(archive):
    assert archive.block_bounds.dtype == np.int64
    assert archive.block_bounds.tolist() == [0, 20, 40, 50]


def test_a_few_images_of_many_blocks_are_decoded_together(small, archive, monkeypatch):
    calls, decode = [], IntegerDecoder.decode
    monkeypatch.setattr(
        IntegerDecoder, "decode", lambda self, tokens, *rest: calls.append(len(tokens)) or decode(self, tokens, *rest)
    )
    numbers = [45, 3, 21, 3, 5]
    assert (archive[numbers] == small.pixels[numbers]).all()
    assert calls == [5]
    monkeypatch.setattr("smalti.archive.read.pixels._GATHERED_IMAGES", 4)
    calls.clear()
    assert (archive[numbers] == small.pixels[numbers]).all()
    assert calls == [4, 1]  # no fewer than four, but for what is left


def test_an_empty_list_and_a_range(small, archive):
    assert archive[[]].shape == (0, 7, 11)
    assert (archive[range(3, 30, 9)] == small.pixels[3:30:9]).all()


@pytest.mark.parametrize("index", [50, -51, 10**30, [0, 50], np.array([-51])])
def test_an_index_outside_is_named(archive, index):
    with pytest.raises(ImageIndexError, match="0 to 49") as caught:
        archive[index]
    assert isinstance(caught.value, IndexError) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "index",
    [1.5, "1", None, True, [True, False], [0.5], [[1, 2]], [[1], [2, 3]], (1, 2), slice("a", None), slice(0, 9, 0)],
)
def test_what_is_no_index(archive, index):
    with pytest.raises(UsageError):
        archive[index]


def test_an_archive_is_an_array(archive):
    assert (np.asarray(archive) == archive[:]).all() and np.asarray(archive).dtype == np.uint8
    assert np.asarray(archive, np.float32).dtype == np.float32 and np.stack([archive, archive]).shape == (2, 50, 7, 11)
    with pytest.raises(ValueError, match="always a new one"):
        np.array(archive, copy=False)
    assert all(map(np.array_equal, archive.images([3, 1]), archive[[3, 1]]))


def test_iteration_ends(small, archive):
    assert (np.stack(list(archive)) == small.pixels).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 50), (10, 20), (19, 21), (20, 20), (-5, None), (48, 99), (30, 3)])
def test_tokens_of_a_range(small, archive, start, stop):
    tokens = archive.tokens(start, stop)
    assert tokens.dtype == np.uint16 and tokens.tolist() == small.tokens[start:stop].tolist()


@pytest.mark.parametrize("batch_images", [1, 16, 20, 33, 50, 99])
def test_batches_hold_everything_in_order(small, archive, batch_images):
    batches = list(archive.batches(batch_images))
    assert [len(batch) for batch in batches[:-1]] == [batch_images] * (len(batches) - 1)
    assert (np.concatenate([batch.pixels for batch in batches])[..., 0] == small.pixels).all()
    assert np.concatenate([batch.labels for batch in batches]).tolist() == small.labels.tolist()
    assert sum((batch.names for batch in batches), ()) == small.names


def test_threads_do_not_change_a_bit(small):
    with open_archive(small.path, threads=3) as archive:
        assert (archive[:] == small.pixels).all()
        with ThreadPoolExecutor(4) as pool:
            for index, image in enumerate(pool.map(archive.__getitem__, range(50))):
                assert (image == small.pixels[index]).all()


def test_a_pickled_archive_reads_on(small, archive):
    with pickle.loads(pickle.dumps(archive)) as again:
        assert (again[7] == small.pixels[7]).all()


def test_a_closed_archive_says_so(small):
    with open_archive(small.path) as archive:
        pass
    with pytest.raises(SmaltiError, match="closed"):
        archive[0]


def test_info_adds_up(small, archive):
    info = archive.info()
    assert sum(asdict(info.bytes).values()) == info.archive_bytes == small.path.stat().st_size
    assert info.raw_bytes == 50 * 7 * 11
    assert info.bits_per_pixel * info.raw_bytes == pytest.approx(8 * info.archive_bytes)
    assert (info.codebook_size, info.codes_used, info.blocks) == (8, 6, 3)
    counts = np.bincount(small.tokens.ravel())
    shares = counts[counts > 0] / counts.sum()
    assert info.perplexity == pytest.approx(2 ** -(shares * np.log2(shares)).sum(), abs=1e-6)
    assert info.columns == ("labels", "class_names", "names")


def test_break_even_is_where_the_file_gets_smaller_than_the_pixels(tmp_path):
    network, sizes = random_network(hidden=16), {}
    for images in (600, 1200):
        tokens = random_tokens(images)
        with open_archive(write(tmp_path / f"{images}.smalti", tokens, network)) as archive:
            info = archive.info()
            sizes[images] = info.break_even_images
    fewer = write(tmp_path / "fewer.smalti", random_tokens(sizes[1200] - 5), network).stat().st_size
    more = write(tmp_path / "more.smalti", random_tokens(sizes[1200] + 5), network).stat().st_size
    assert fewer > (sizes[1200] - 5) * 96 and more < (sizes[1200] + 5) * 96


def test_it_may_never_break_even(tmp_path):
    names = [f"{name:064x}" for name in np.random.default_rng(0).permutation(500).tolist()]
    path = write(
        tmp_path / "a.smalti", random_tokens(500, (1, 1)), random_network(), names=names, image_shape=(1, 1, 1)
    )
    with open_archive(path) as archive:
        assert archive.info().break_even_images is None  # an image of one byte is smaller than its name


@pytest.mark.parametrize("level", ["quick", "tokens", "pixels"])
def test_verify_finds_nothing_wrong(small, archive, level):
    done = []
    report = archive.verify(level, lambda *progress: done.append(progress))
    assert report.ok and not report.damaged_blocks and not report.damaged_sections and report.level == level
    sha256 = hashlib.sha256(small.pixels.tobytes()).hexdigest()
    assert report.pixels_sha256 == (sha256 if level == "pixels" else None)
    assert report.stored_sha256 == (None if level == "quick" else sha256)
    if level == "quick":
        assert report.codes_used is report.perplexity is None and done == []
    else:
        assert (report.codes_used, report.perplexity) == (6, archive.info().perplexity)
        assert done == [(20, 50), (40, 50), (50, 50)]


def test_a_level_that_is_none(archive):
    with pytest.raises(UsageError, match="quick, tokens, pixels"):
        archive.verify("everything")


def test_only_the_blocks_asked_for_are_read(small, archive, monkeypatch):
    read = []
    whole = archive._file.read
    monkeypatch.setattr(archive._file, "read", lambda entry: read.append(entry.name) or whole(entry))
    _ = archive[25], archive[39], archive.labels
    assert sorted(read) == ["column 0", "model", "prior", "token block 1"]


grids = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=25)
@given(
    grid=grids, channels=st.integers(1, 4), codes=st.sampled_from([2, 3, 30, 65_536]), images=st.integers(1, 40),
    block_images=st.integers(1, 50), with_labels=st.booleans(), with_names=st.booleans(), data=st.data(),
)  # fmt: skip
def test_round_trip(tmp_path_factory, grid, channels, codes, images, block_images, with_labels, with_names, data):
    network, tokens = random_network(codes, channels), random_tokens(images, grid, codes)
    labels = np.array(data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=images, max_size=images)))
    names = data.draw(st.lists(st.text(max_size=8), min_size=images, max_size=images))
    shape = (data.draw(st.integers(1, 4 * grid[0])), data.draw(st.integers(1, 4 * grid[1])), channels)
    path = tmp_path_factory.mktemp("round") / "trip.smalti"
    write(
        path, tokens, network, labels if with_labels else None, names if with_names else None,
        image_shape=shape, block_images=block_images,
    )  # fmt: skip
    with open_archive(path, Limits(expansion=10**9)) as archive:
        assert (archive.tokens() == tokens).all()
        assert (archive.labels is not None) == with_labels and (archive.names is not None) == with_names
        assert not with_labels or (archive.labels == labels).all()
        assert not with_names or archive.names == tuple(names)
        assert archive.class_names is None
        whole = archive[:].reshape(images, *shape)
        assert (whole == IntegerDecoder(network).decode(tokens)[:, : shape[0], : shape[1]]).all()
        index = data.draw(st.integers(0, images - 1))
        assert (archive[index].reshape(shape) == whole[index]).all()
        assert archive.verify().ok


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_images_may_be_any_multiple_of_the_grid(tmp_path, scale):
    network, tokens = random_network(channels=3, scale=scale), random_tokens(30)
    with open_archive(write(tmp_path / "a.smalti", tokens, network, block_images=7)) as archive:
        assert archive.shape == (30, *network.output_size((2, 3)), 3)
        assert (archive[:] == IntegerDecoder(network).decode(tokens)).all()


def test_the_size_of_pieces_changes_no_pixel(small, archive, monkeypatch):
    monkeypatch.setattr(block_decoder, "_PART_BYTES", 300)
    assert (archive[:] == small.pixels).all() and archive.verify("pixels").ok


def test_one_image_of_one_code(tmp_path):
    tokens = np.full((1, 2, 2), 3)
    with open_archive(write(tmp_path / "one.smalti", tokens, random_network())) as archive:
        assert (archive.tokens() == 3).all()
        assert (archive.info().codes_used, archive.info().perplexity) == (1, 1.0)
        assert archive[0].shape == (8, 8)


def test_real_tokens_cost_their_entropy(tmp_path):
    """Quadrant brightness of real digits as tokens is coded within 2% + 100 bytes of the entropy per position."""
    with np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz") as slices:
        images, labels = slices["images"], slices["labels"]
    tokens = images.reshape(500, 7, 4, 7, 4).mean(axis=(2, 4)).astype(np.int64) // 16
    path = write(tmp_path / "digits.smalti", tokens, random_network(codes=16), labels, batch=64, block_images=250)
    counts = np.stack([np.bincount(column, minlength=16) for column in tokens.reshape(500, 49).T])
    entropy_bits = -(counts * np.log2(np.where(counts, counts / 500, 1))).sum()
    with open_archive(path) as archive:
        assert (archive.tokens() == tokens).all() and (archive.labels == labels).all()
        assert archive.info().bytes.tokens < 1.02 * entropy_bits / 8 + 100
        assert archive.info().bytes.columns < 500 * 4 / 8 + 110  # ten labels in four bits each


def test_foreign_files(tmp_path):
    for name, content in {"empty": b"", "text": b"hello", "png": b"\x89PNG\r\n\x1a\n" + bytes(100)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NotAnArchiveError, match=name):
            open_archive(tmp_path / name)
    with pytest.raises(NotAnArchiveError, match="folder"):
        open_archive(tmp_path)
    with pytest.raises(SmaltiError, match="no such file"):
        open_archive(tmp_path / "absent")


@pytest.mark.parametrize(
    "limit", ["header_bytes", "index_bytes", "model_bytes", "prior_bytes", "column_bytes", "block_bytes", "image_bytes"]
)
def test_each_limit_says_how_to_raise_it(small, limit):
    with pytest.raises(LimitExceededError, match=rf"small.smalti.*Limits\({limit}="):
        open_archive(small.path, Limits(**{limit: 20}))


def test_limits_of_requests_and_expansion(small, tmp_path):
    with open_archive(small.path, Limits(request_bytes=77 * 10)) as archive:
        assert archive[:10].shape == (10, 7, 11)
        for request in (lambda: archive[:11], lambda: archive[np.zeros(11, int)]):
            with pytest.raises(LimitExceededError, match="request_bytes"):
                request()
    with open_archive(small.path, Limits(network_operations=100)) as archive:
        with pytest.raises(LimitExceededError, match=r"small\.smalti.*model.*network_operations"):
            archive[0]
        assert archive.names == small.names
    path = write(tmp_path / "blank.smalti", np.ones((3000, 2, 3), int), random_network(), batch=1000)
    with pytest.raises(LimitExceededError, match="expansion"):
        open_archive(path, Limits(expansion=30))


def test_skipping_damaged_blocks(small, tmp_path):
    data = bytearray(small.path.read_bytes())
    with open_archive(small.path) as archive:
        entry = archive._file.entry(4, 1)
    data[entry.offset + 40] ^= 1
    path = tmp_path / "damaged.smalti"
    path.write_bytes(data)
    with open_archive(path) as archive:
        assert (archive[[0, 19, 40]] == small.pixels[[0, 19, 40]]).all()
        with pytest.raises(DamagedArchiveError, match=r"token block 1 \(images 20 to 39\)"):
            archive[20]
        with pytest.raises(DamagedArchiveError):
            list(archive.batches(8))
        readable = [*range(20), *range(40, 50)]
        batches = list(archive.batches(8, on_error="skip"))
        assert (np.concatenate([batch.pixels for batch in batches])[..., 0] == small.pixels[readable]).all()
        assert sum((batch.names for batch in batches), ()) == tuple(small.names[k] for k in readable)
        assert np.concatenate([batch.numbers for batch in batches]).tolist() == readable
        assert [block.names for block in archive.missing()] == [small.names[20:40]] and archive.lost_columns == ()
        report = archive.verify()
    assert (report.ok, report.damaged_images, len(report.damaged_blocks)) == (False, 20, 1)
    block = report.damaged_blocks[0]
    assert (block.block, block.first_image, block.images) == (1, 20, 20) and "checksum" in block.reason
