"""The requests that a reader of archives makes, and the bytes that it gets by them."""

import pickle

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from smalti.archive.format.layout import FRAME_BYTES
from smalti.archive.read.reader import open_archive, open_positioned
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import DamagedArchiveError, SourceError
from smalti.storage.positioned import PositionedWindow
from smalti.storage.ranges.connection import GAP_BYTES, REQUEST_BYTES
from smalti.storage.ranges.remote_file import TAIL_BYTES, RemoteFile


def requests_needed(byte_ranges):
    """The number of requests that coalescing predicts for these byte ranges."""
    count, reached, begun = 0, -(10**18), 0
    for start, stop in sorted(byte_ranges):
        if start - reached > GAP_BYTES:
            count, begun = count + 1, start
        while stop - begun > REQUEST_BYTES:
            count, begun = count + 1, begun + REQUEST_BYTES
        reached = max(reached, stop)
    return count


def test_opening_is_one_get(large, web):
    with open_archive(web.url + "large.smalti") as archive:
        assert web.asked == [("GET", f"bytes=-{TAIL_BYTES}", TAIL_BYTES)]
        assert archive.shape == (4000, 64, 64) and archive.damage == ()
        assert archive.info().archive_bytes == len(large.data)
        assert archive.labels.tolist() == (np.arange(4000) % 10).tolist()
        assert len(web.asked) == 1  # the columns lie near the end


def test_a_small_archive_is_one_get_altogether(small, web):
    with open_archive(web.url + "small.smalti") as archive:
        assert (archive[:] == small.pixels).all() and archive.names == small.names
        assert archive.verify("pixels").ok
    assert len(web.asked) == 1


def test_model_prior_and_the_first_block_are_one_request(large, web):
    with open_archive(web.url + "large.smalti") as archive:
        web.asked.clear()
        assert (archive[7] == large.pixels([7])[0]).all()
        (method, byte_range, _), *others = web.asked
        (model, _), (prior, _), (block, end) = large.frames(2) + large.frames(3)[:1] + large.frames(4)[:1]
        assert (method, byte_range, others) == ("GET", f"bytes={model}-{end - 1}", []) and model < prior < block
        assert (archive[8] == large.pixels([8])[0]).all() and len(web.asked) == 1  # the block is cached


@pytest.mark.parametrize("count", [1, 5, 100, 1000])
def test_random_images_take_as_many_requests_as_coalescing_predicts(large, web, count):
    numbers = np.random.default_rng(count).integers(0, 4000, count)
    with open_archive(web.url + "large.smalti") as archive:
        web.asked.clear()
        assert (archive[numbers] == large.pixels(numbers)).all()
    blocks = [large.frames(4)[number] for number in sorted(set((numbers // 50).tolist()))]
    blocks = [block for block in blocks if block[0] + FRAME_BYTES < len(large.data) - TAIL_BYTES]
    predicted = requests_needed(blocks + large.frames(2) + large.frames(3)[:1])
    assert len(web.gets) == predicted and not web.heads
    assert count == 1 or len(web.gets) < count / 1.2


def test_far_images_are_not_joined(large, web):
    with open_archive(web.url + "large.smalti") as archive:
        web.asked.clear()
        assert (archive[[0, 1250, 2500]] == large.pixels([0, 1250, 2500])).all()
    assert len(web.gets) == 3 and web.bytes_sent < 150_000


def test_a_slice_is_one_request_per_eight_mebibytes(large, web, monkeypatch):
    with open_archive(web.url + "large.smalti", threads=2) as archive:
        web.asked.clear()
        assert (archive[500:3500] == large.pixels(slice(500, 3500))).all()
        assert len(web.gets) <= 2  # model and prior, and the blocks; one request if they are near enough
        assert (archive.tokens(100, 450) == large.tokens[100:450]).all() and len(web.gets) <= 3


def test_bytes_fetched_at_once_are_bounded(large, web, monkeypatch):
    monkeypatch.setattr("smalti.archive.read.sections._FETCHED_BYTES", 300_000)
    with open_archive(web.url + "large.smalti") as archive:
        held = []
        read = archive._file.source.read_many
        monkeypatch.setattr(archive._file.source, "read_many", lambda places: held.append(read(places)) or held[-1])
        assert (archive[:] == large.pixels(slice(None))).all()
        assert max(sum(map(len, parts)) for parts in held[1:]) <= 300_000 and len(held) > 5
        assert archive._file._held == {}


def test_batches_and_verify_read_the_file_once(large, web):
    with open_archive(web.url + "large.smalti") as archive:
        for batch in archive.batches(1000, on_error="skip"):
            assert (batch.pixels[..., 0] == large.pixels(batch.numbers)).all()
        assert len(web.gets) <= 10 and web.bytes_sent < 1.3 * len(large.data)
        web.asked.clear()
        report = archive.verify()
        assert report.ok and len(web.gets) <= 6 and web.bytes_sent < 1.1 * len(large.data)
        web.asked.clear()
        assert archive.verify("quick").ok and len(web.gets) <= 3


def test_one_long_range_is_cut(web):
    web.files["long"] = data = np.random.default_rng(0).bytes(2 * REQUEST_BYTES + 12_345)
    file = RemoteFile(web.url + "long")
    assert file.size_bytes == len(data)
    assert file.read(5, len(data) - 10) == data[5:-5] and len(web.gets) == 4
    parts = [(9, 0), (len(data) - 3, 3), (REQUEST_BYTES - 7, 20), (0, 4), (2, 5), (REQUEST_BYTES + 10**6, 9)]
    assert file.read_many(parts) == [data[offset : offset + length] for offset, length in parts]
    with pytest.raises(DamagedArchiveError, match="ends at byte"):
        file.read(len(data) - 1, 2)


def test_an_index_longer_than_the_tail_is_one_more_get(tmp_path, web):
    tokens = random_tokens(2600, (1, 2), 3)
    path = write(tmp_path / "many.smalti", tokens, one_layer_network(), batch=2600, block_images=1)
    web.files["many"] = path.read_bytes()
    with open_archive(web.url + "many") as archive:
        assert len(web.gets) == 3  # the end, the index, the header before it
        assert (archive[2599] == IntegerDecoder(one_layer_network()).decode(tokens[-1:])[0, ..., 0]).all()


def test_an_archive_within_a_remote_file(large, web):
    web.files["chest"] = b"x" * 300_000 + large.data + b"y" * 300_000
    with open_positioned(PositionedWindow(RemoteFile(web.url + "chest"), 300_000, len(large.data))) as archive:
        assert len(web.asked) == 1
        assert (archive[[5, 3500]] == large.pixels([5, 3500])).all() and len(web.asked) == 3
        with pickle.loads(pickle.dumps(archive)) as again:
            assert (again[2000] == large.pixels([2000])[0]).all()
    with pytest.raises(SourceError, match="cut short or changed"):
        PositionedWindow(RemoteFile(web.url + "chest"), 300_000, len(large.data) + 400_000)
