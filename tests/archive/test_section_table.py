import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.damaged_files import scanned
from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES, Entry, crc32c
from smalti.archive.read import section_table
from smalti.archive.read.section_table import scan
from smalti.errors import DamagedArchiveError, LimitExceededError


def made(*payloads):
    """A file of token blocks, and their entries."""
    file = io.BytesIO()
    frames = FrameWriter(file)
    entries = [frames.add(4, payload) for payload in payloads]
    return file.getvalue(), entries


def test_all_is_found():
    data, entries = made(b"one", b"", b"three" * 100)
    assert scanned(data) == (tuple(entries), ())
    assert scanned(b"") == scanned(b"x" * 1000) == scanned(b"\xf5SEC" * 100) == ((), ())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_not_touched_is_found_again(data):
    payloads = [bytes([number]) * (7 * number) for number in range(6)]
    content, entries = made(*payloads)
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 60)))
    put = data.draw(st.sampled_from([b"", bytes(stop - start), b"\xf5SEC", b"\xf5", b"random bytes", content[:stop]]))
    shift = len(put) - (stop - start)
    found = {(entry.ordinal, entry.offset) for entry in scanned(content[:start] + put + content[stop:]).sound}
    for entry in entries:
        if entry.end <= start:
            assert (entry.ordinal, entry.offset) in found
        elif entry.offset >= stop:
            assert (entry.ordinal, entry.offset + shift) in found


def test_a_damaged_payload_is_told_apart():
    data, entries = made(b"first", b"second", b"third")
    place = entries[1].offset + FRAME_BYTES
    flipped = data[:place] + b"S" + data[place + 1 :]
    assert scanned(flipped) == ((entries[0], entries[2]), (entries[1],))
    assert scanned(data[:-2]) == (tuple(entries[:2]), (entries[2],))


@pytest.mark.parametrize("window", [32, 33, 61, 100])
def test_pieces_that_are_read_do_not_matter(monkeypatch, window):
    monkeypatch.setattr(section_table, "_WINDOW_BYTES", window)
    data, entries = made(*[b"\xf5SE" * number for number in range(20)])
    assert scanned(data).sound == tuple(entries)
    cut = entries[9].offset
    assert len(scanned(data[:cut] + data[cut + 1 :]).sound) == 19


def test_a_file_that_is_cut_while_it_is_read_ends_the_scan():
    data, entries = made(b"first", b"second")
    assert scanned(data, len(data) + 5000) == (tuple(entries), ())
    assert scanned(data[:-3], len(data)) == ((entries[0],), (entries[1],))


def test_overlapping_heads_end_the_scan_in_linear_time(monkeypatch):
    """A hostile file: every head claims the rest of the file as its payload."""
    size = 75_000 * FRAME_BYTES
    heads = [
        Entry(4, number, number * FRAME_BYTES, size - (number + 1) * FRAME_BYTES, 0).pack_frame_head()
        for number in range(size // FRAME_BYTES)
    ]
    checked = []

    def counted(data, before=0):
        checked.append(len(data))
        return crc32c(data, before)

    monkeypatch.setattr(section_table, "crc32c", counted)
    with pytest.raises(DamagedArchiveError, match="overlap"):
        scanned(b"".join(heads))
    assert sum(checked) < 6 * size + (1 << 21)


def test_too_many_sections_are_a_limit():
    data, _ = made(*[b""] * 11)
    assert len(scanned(data, max_frames=11).sound) == 11
    with pytest.raises(LimitExceededError, match="index_bytes"):
        scanned(data, max_frames=10)


def test_time_grows_with_the_size_alone():
    """A scan of small sections must not read its window again and again."""
    data, _ = made(*[bytes(50)] * 20_000)
    read = []

    def counted(offset, length):
        read.append(length)
        return data[offset : offset + length]

    assert len(scan(counted, len(data)).sound) == 20_000
    assert sum(read) < 2 * len(data) + (1 << 20)
    noise = np.random.default_rng(0).bytes(1 << 20)
    assert scanned(noise) == ((), ()) and PRELUDE_BYTES == 24
