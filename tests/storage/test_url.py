"""Files behind web servers, read as sources read them: the number of requests, and the checks of answers."""

import pickle

import numpy as np
import pytest

from helpers.image_files import everything, noise
from helpers.web_server import Handler, Served, serve
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_source
from smalti.storage.location import open_binary
from smalti.storage.ranges import http
from smalti.storage.ranges.remote_file import BLOCK_BYTES, MAX_CACHED_BLOCKS, TAIL_BYTES, RemoteFile, SeekableFile

DATA = np.random.default_rng(0).bytes(5 * BLOCK_BYTES + 2 * TAIL_BYTES)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(http, "_WAIT_SECONDS", 0.01)
    served = Served({"large": DATA, "small": DATA[:1000], "empty": b""})
    stop = serve(served)
    yield served
    stop()


def test_a_stream_is_one_request_for_each_block_and_one_for_the_end(web):
    with open_binary(web.url + "large") as file:
        parts = iter(lambda: file.read(10_000), b"")
        assert b"".join(parts) == DATA
    assert len(web.gets) == 1 + 6 and not web.heads
    assert web.bytes_sent == len(DATA)


def test_a_pass_over_a_tar_file_reads_it_once(web, tmp_path):
    pixels = noise(64, 300, 256, 1)
    with open_image_writer(tmp_path / "a.tar", (300, 256, 1), len(pixels)) as writer:
        writer.write(ImageBatch(pixels))
    web.files["a.tar"] = data = (tmp_path / "a.tar").read_bytes()
    source = open_source(web.url + "a.tar")
    web.asked.clear()
    assert (everything(source, 16).pixels == pixels).all()
    assert len(web.gets) == 1 + -(-len(data) // BLOCK_BYTES) and not web.heads and web.bytes_sent == len(data)


def test_small_files_are_one_request(web):
    for name, data in [("small", DATA[:1000]), ("empty", b"")]:
        web.asked.clear()
        with open_binary(web.url + name) as file:
            assert file.read() == data and file.read(5) == b"" and file.seek(0) == 0 and file.read(7) == data[:7]
        assert len(web.asked) == 1 or name == "empty"


def test_blocks_are_cached_up_to_a_number(web):
    with open_binary(web.url + "large") as file:
        for _ in range(3):
            for block in range(MAX_CACHED_BLOCKS):
                file.seek(block * BLOCK_BYTES + 7)
                assert file.read(9) == DATA[block * BLOCK_BYTES + 7 :][:9]
        assert len(web.gets) == 1 + MAX_CACHED_BLOCKS
        file.seek(MAX_CACHED_BLOCKS * BLOCK_BYTES)
        file.read(1)
        file.seek(BLOCK_BYTES)
        file.read(1)
        assert len(web.gets) == 2 + MAX_CACHED_BLOCKS
        file.seek(0)  # the block that was read longest ago was dropped
        file.read(1)
        assert len(web.gets) == 3 + MAX_CACHED_BLOCKS


def test_positions_are_those_of_a_file(web):
    with open_binary(web.url + "large") as file:
        assert file.seek(-5, 2) == len(DATA) - 5 and file.read() == DATA[-5:] and file.tell() == len(DATA)
        assert file.seek(BLOCK_BYTES - 3) and file.read(6) == DATA[BLOCK_BYTES - 3 :][:6]
        assert file.seek(-6, 1) == BLOCK_BYTES - 3
        assert file.seek(len(DATA) + 9) == len(DATA) + 9 and file.read(1) == b""
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
    for ask in (file.read, file.tell, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            ask()


def test_small_files_are_read_from_a_server_without_ranges(web):
    web.ranges = "none"
    web.files["small"] = small = DATA[: http.STRICT_WHOLE_BYTES]
    with open_binary(web.url + "small") as file:
        assert file.read() == small and file.seek(99) == 99 and file.read(9) == small[99:108]
    assert len(web.asked) == 1
    with pytest.raises(SourceError, match="no ranges of bytes; download the file first, or put simplecache::"):
        open_binary(web.url + "large")


@pytest.mark.parametrize("failures", [[503], [500, 429], ["cut"]])
def test_failures_that_pass_are_repeated(web, failures):
    with open_binary(web.url + "large") as file:
        web.failures = list(failures)
        assert file.read(100) == DATA[:100] and not web.failures


def test_a_file_that_changes_is_not_mixed(web):
    with open_binary(web.url + "large") as file:
        assert file.read(100) == DATA[:100]
        web.etag = '"2"'
        with pytest.raises(SourceError, match="it was changed while it was being read"):
            file.seek(BLOCK_BYTES) and file.read(100)
    with open_binary(web.url + "large") as file:
        assert file.read(100) == DATA[:100]
        web.files["large"] = DATA + b"more"
        with pytest.raises(SourceError, match="it was changed"):
            file.seek(BLOCK_BYTES) and file.read(100)


def test_an_answer_with_another_range_is_refused(web, monkeypatch):
    answer = Handler.reply

    def shifted(self, status, body, byte_range, with_body, cut=False):
        if status == 206 and not byte_range.startswith("bytes=-"):
            self.range = f"bytes 0-{len(body) - 1}/{len(DATA)}"
        answer(self, status, body, byte_range, with_body, cut)

    with open_binary(web.url + "large") as file:
        monkeypatch.setattr(Handler, "reply", shifted)
        file.seek(BLOCK_BYTES)
        with pytest.raises(SourceError, match="cut short or changed"):
            file.read(100)


def test_a_remote_file_opens_again_with_its_options(web):
    file = RemoteFile(web.url + "large", {"headers": {"x-a": "hush-hush"}}, strict=True)
    again = pickle.loads(pickle.dumps(file))
    assert again.read(5, 10) == DATA[5:15] and again._url.storage_options == {"headers": {"x-a": "hush-hush"}}
    assert "hush" not in repr(file) and SeekableFile(again).read(3) == DATA[:3]
